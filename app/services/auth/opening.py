"""Owns the opening of sessions, whatever the first factor was, and the answer with their tokens."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.core.access import Principal
from app.core.config import get_settings
from app.core.crypto import issue_access_token, key_ring, make_refresh_token, seal, unseal
from app.core.database import SystemSession
from app.core.devices import Device
from app.core.events import emit
from app.core.ids import uuid7
from app.models.auth import User, UserSession
from app.repositories.auth import PeopleRepository, SessionCard, SessionRepository
from app.schemas.auth import SessionOpened, SignedInOrganization, SignedInUser, SignInAnswer
from app.services.auth.events import SignedIn
from app.services.auth.recipients import seen
from app.services.auth.refusals import invalid_credentials, no_organization, unusable
from app.services.files.addresses import avatar_url

SESSION_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstFactor:
    """What was proved: who it is, by which method, and (by a password) which state of the password it was."""

    user_id: UUID
    method: str
    amr: tuple[str, ...]
    password_changed_at: datetime | None = None
    is_remembered: bool = False


async def open_session(
    session: SystemSession, factor: FirstFactor, device: Device, now: datetime
) -> SignInAnswer:
    """Open a session for a proved first factor, in the caller's transaction; the tokens that belong to it.

    The account is locked and judged again, because it may have changed since the proof: 403 when it may not
    be entered or has no organisation to begin in, 401 when the password was changed meanwhile. Every way to
    sign in ends here, so a second factor is asked between that judgement and the new row.
    """
    people = PeopleRepository(session)
    user = await people.get(factor.user_id, lock=True)
    if user is None:
        raise invalid_credentials()
    if (refusal := unusable(user)) is not None:
        raise refusal
    changed_at = await people.password_changed_at(user.id)
    if factor.password_changed_at is not None and factor.password_changed_at != changed_at:
        raise invalid_credentials()
    sessions = SessionRepository(session)
    known = await sessions.acquaintance(user.id, key_hash=device.key_hash, name=device.name, now=now)
    row = _new_session(factor, device, now, await _home(people, user))
    await sessions.add(row)
    user.last_sign_in_at = now
    card = await sessions.card(row)
    session.info["principal"] = _principal(row)
    await emit(
        session,
        SignedIn(
            user_id=user.id,
            session_id=row.id,
            method=row.auth_method,
            aal=row.aal,
            is_new_device=not known.knows_device,
        ),
        private={**seen(device, now), "is_first": not known.has_sessions},
    )
    return opened(row, card, now)


def opened(row: UserSession, card: SessionCard, now: datetime) -> SessionOpened:
    """The answer with a session's tokens; the same counter gives the same refresh token."""
    settings = get_settings()
    ring = key_ring()
    user = card.user
    organization = card.organization
    return SessionOpened(
        access_token=issue_access_token(
            ring,
            user_id=row.user_id,
            session_id=row.id,
            issuer=settings.api_url,
            now=now,
            seconds=settings.access_token_seconds,
        ),
        expires_in=settings.access_token_seconds,
        expires_at=now.replace(microsecond=0) + timedelta(seconds=settings.access_token_seconds),
        refresh_token=make_refresh_token(session_key(row), row.id, row.refresh_counter),
        refresh_expires_at=min(row.expires_at, now + timedelta(seconds=row.idle_seconds)),
        session_id=row.id,
        user=SignedInUser(
            id=user.id,
            email=user.email,
            full_name=card.full_name,
            avatar_url=avatar_url(card.avatar_file_id),
        ),
        organization=SignedInOrganization(
            id=organization.id, name=organization.name, slug=organization.slug, role=card.role
        )
        if organization is not None and card.role is not None
        else None,
    )


def session_key(row: UserSession) -> bytes:
    """The key of a session's refresh tokens; SealBroken when it cannot be opened."""
    return unseal(key_ring(), row.refresh_key_sealed, context=_context(row.id))


def _context(session_id: UUID) -> str:
    return f"sessions.refresh_key_sealed:{session_id}"


async def _home(people: PeopleRepository, user: User) -> UUID:
    organization_id = await people.home(user.id, user.last_organization_id, aal=1)
    if organization_id is None:
        raise no_organization()
    return organization_id


def _new_session(factor: FirstFactor, device: Device, now: datetime, organization_id: UUID) -> UserSession:
    settings = get_settings()
    remembered = factor.is_remembered
    idle = settings.session_remember_idle_seconds if remembered else settings.session_idle_seconds
    longest = settings.session_remember_max_seconds if remembered else settings.session_max_seconds
    identifier = uuid7()
    return UserSession(
        id=identifier,
        user_id=factor.user_id,
        organization_id=organization_id,
        auth_method=factor.method,
        amr=list(factor.amr),
        aal=1,
        refresh_key_sealed=seal(
            key_ring(), secrets.token_bytes(SESSION_KEY_BYTES), context=_context(identifier)
        ),
        refresh_counter=0,
        device_key_hash=device.key_hash,
        ip_address=device.ip_address,
        user_agent=device.user_agent,
        device_name=device.name,
        device_type=device.type,
        browser=device.browser,
        os=device.os,
        location=device.location,
        is_remembered=remembered,
        idle_seconds=idle,
        last_activity_at=now,
        step_up_at=now,
        expires_at=now + timedelta(seconds=longest),
        created_at=now,
    )


def _principal(row: UserSession) -> Principal:
    """The person who has just signed in, as the actor of what this transaction tells."""
    return Principal(
        kind="user",
        user_id=row.user_id,
        organization_id=row.organization_id,
        session_id=row.id,
        aal=row.aal,
        auth_method=row.auth_method,
        step_up_at=row.step_up_at,
    )
