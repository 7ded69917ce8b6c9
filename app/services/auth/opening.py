"""Owns the opening and replacing of sessions, and the answer with their tokens."""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from app.core.access import Principal
from app.core.config import get_settings
from app.core.crypto import issue_access_token, key_ring, make_refresh_token, seal, unseal
from app.core.database import ScopedSession, SystemSession
from app.core.devices import Device
from app.core.events import emit
from app.core.ids import uuid7
from app.models.auth import User, UserSession
from app.repositories.auth import PeopleRepository, SessionCard, SessionRepository, ThrottleRepository
from app.schemas.auth import SessionOpened, SignedInOrganization, SignedInUser, SignInAnswer
from app.services.auth.events import SessionRevoked, SignedIn
from app.services.auth.external.linking import use_identity
from app.services.auth.first_factor import Aal, FirstFactor, IdentityToLink
from app.services.auth.recipients import seen
from app.services.auth.refusals import invalid_credentials, no_organization, session_revoked, unusable
from app.services.auth.second_factor import has_active_factor, with_second_factor
from app.services.auth.second_factor.challenge import start_challenge
from app.services.files.addresses import avatar_url

__all__ = [
    "FirstFactor",
    "IdentityToLink",
    "open_after_challenge",
    "open_session",
    "opened",
    "replace_session",
    "session_key",
]

SESSION_KEY_BYTES = 32
REPLACED = "replaced"


async def open_session(
    session: SystemSession, factor: FirstFactor, device: Device, now: datetime
) -> SignInAnswer:
    """Open a session for a proved first factor, in the caller's transaction; the tokens that belong to it.

    An account with a second factor gets a challenge instead, unless the provider vouches for one. The
    account is locked and judged again, because it may have changed since the proof: 403 when it may not be
    entered or has no organisation to begin in, 401 when the password was changed meanwhile. Every way to
    sign in ends here.
    """
    user = await _judged(session, factor)
    if factor.aal == 1 and await has_active_factor(session, user.id):
        return await start_challenge(session, factor, device, now)
    return await _open(session, user, factor, device, now)


async def open_after_challenge(
    session: SystemSession, factor: FirstFactor, device: Device, now: datetime
) -> SessionOpened:
    """Open the session of a first factor whose second one was right, too; the refusals are the same."""
    proved = replace(factor, aal=2, amr=with_second_factor(factor.amr))
    return await _open(session, await _judged(session, factor), proved, device, now)


async def replace_session(
    session: ScopedSession,
    principal: Principal,
    device: Device,
    now: datetime,
    *,
    aal: Aal | None = None,
    amr: tuple[str, ...] | None = None,
) -> SessionOpened:
    """Put a new session in the place of the caller's, in the caller's transaction; the new pair of tokens.

    The new row has a new id and takes over method, device key, organisation, single sign-on scope and
    lifetime; the old one is revoked (ASVS 5.0, 7.2.4). A given `aal` means that a second factor was proved
    just now; `amr` follows from it. The caller has locked the person. 401 `session_revoked` when the session
    was ended meanwhile.
    """
    assert principal.session_id is not None  # noqa: S101 - a person's session is what is replaced
    sessions = SessionRepository(session)
    old = await sessions.get(principal.session_id, lock=True)
    if old is None or old.revoked_at is not None:
        raise session_revoked()
    row = _successor(old, device, now)
    if aal is not None:
        row.aal, row.step_up_at = aal, now
    if amr is not None or aal == 2:
        row.amr = list(amr or with_second_factor(tuple(old.amr)))
    await sessions.add(row)
    old.revoked_at, old.revoked_reason, old.replaced_by = now, REPLACED, row.id
    await session.flush()
    await emit(session, SessionRevoked(user_id=old.user_id, session_id=old.id, reason=REPLACED))
    return opened(row, await sessions.card(row), now)


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


async def _judged(session: SystemSession, factor: FirstFactor) -> User:
    """The person, locked, if they may still come in by what was proved."""
    people = PeopleRepository(session)
    user = await people.get(factor.user_id, lock=True)
    if user is None:
        raise invalid_credentials()
    if (refusal := unusable(user)) is not None:
        raise refusal
    proved = factor.password_changed_at
    if proved is not None and proved != await people.password_changed_at(user.id):
        raise invalid_credentials()
    return user


async def _open(
    session: SystemSession, user: User, factor: FirstFactor, device: Device, now: datetime
) -> SessionOpened:
    """Insert the session, and tell."""
    sessions = SessionRepository(session)
    known = await sessions.acquaintance(user.id, key_hash=device.key_hash, name=device.name, now=now)
    row = _new_session(factor, device, now, await _home(session, user, factor))
    await sessions.add(row)
    user.last_sign_in_at = now
    if factor.throttle_keys:
        await ThrottleRepository(session).clear_all(factor.throttle_keys)
    if factor.identity is not None:
        await use_identity(session, user.id, factor.identity, device, now)
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


async def _home(session: SystemSession, user: User, factor: FirstFactor) -> UUID:
    """Where the session begins: in the wanted organisation if it can be entered."""
    if factor.sso_organization_id is not None:
        return factor.sso_organization_id
    wanted = factor.organization_id or user.last_organization_id
    organization_id = await PeopleRepository(session).home(user.id, wanted, aal=factor.aal)
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
        aal=factor.aal,
        sso_organization_id=factor.sso_organization_id,
        refresh_key_sealed=_new_key(identifier),
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
        # Single sign-on alone is no recent check of ours.
        step_up_at=None if factor.method == "sso" and factor.aal == 1 else now,
        expires_at=now + timedelta(seconds=longest),
        created_at=now,
    )


def _successor(old: UserSession, device: Device, now: datetime) -> UserSession:
    """A session like the old one, with an id and a key of its own, seen on the calling device."""
    identifier = uuid7()
    return UserSession(
        id=identifier,
        user_id=old.user_id,
        organization_id=old.organization_id,
        auth_method=old.auth_method,
        amr=list(old.amr),
        aal=old.aal,
        sso_organization_id=old.sso_organization_id,
        refresh_key_sealed=_new_key(identifier),
        refresh_counter=0,
        device_key_hash=old.device_key_hash,
        ip_address=device.ip_address,
        user_agent=device.user_agent,
        device_name=device.name,
        device_type=device.type,
        browser=device.browser,
        os=device.os,
        location=device.location,
        is_remembered=old.is_remembered,
        idle_seconds=old.idle_seconds,
        last_activity_at=now,
        step_up_at=old.step_up_at,
        expires_at=old.expires_at,
        created_at=now,
    )


def _new_key(session_id: UUID) -> bytes:
    return seal(key_ring(), secrets.token_bytes(SESSION_KEY_BYTES), context=_context(session_id))


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
