"""People, organisations, memberships and sessions for tests; each function commits what it made."""

import hashlib
import secrets
from datetime import timedelta
from uuid import UUID

from app.core import clock
from app.core.config import get_settings
from app.core.crypto import issue_access_token, key_ring, make_refresh_token, seal, unseal
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.core.mail_addresses import parse_address
from app.core.passwords import hash_password
from app.models.auth import Password, User, UserSession
from app.models.settings import Profile
from app.models.team import Organization, TeamMember


async def make_user(
    db: SystemSession,
    *,
    email: str | None = None,
    full_name: str | None = None,
    confirmed: bool = True,
    password: str | None = None,
) -> User:
    """A person with a profile and a personal organisation of their own; a password only when given."""
    address = parse_address(email or f"person-{secrets.token_hex(6)}@example.test")
    now = clock.now()
    user = User(
        id=uuid7(),
        email=address.address,
        email_canonical=address.canonical,
        email_confirmed_at=now if confirmed else None,
    )
    db.add(user)
    await db.flush()
    db.add(Profile(user_id=user.id, full_name=full_name))
    if password is not None:
        db.add(Password(user_id=user.id, hash=await hash_password(password), changed_at=now))
    organization = await _organization(
        db, user, kind="personal", name=full_name or "Personal", source="signup"
    )
    user.last_organization_id = organization.id
    await db.commit()
    return user


async def make_organization(
    db: SystemSession, *, owner: User | None = None, name: str = "Maison Test"
) -> Organization:
    """A team organisation, owned by `owner` or by somebody new."""
    owner = owner or await make_user(db)
    organization = await _organization(db, owner, kind="team", name=name, source="creation")
    await db.commit()
    return organization


async def make_member(
    db: SystemSession,
    organization: Organization,
    role: str = "viewer",
    *,
    user: User | None = None,
    email: str | None = None,
    status: str = "active",
) -> TeamMember:
    """A membership of `user`, or of somebody new (with that address), in a built-in role."""
    user = user or await make_user(db, email=email)
    member = TeamMember(
        organization_id=organization.id,
        id=uuid7(),
        user_id=user.id,
        role=role,
        status=status,
        source="invitation",
        joined_at=clock.now(),
    )
    db.add(member)
    await db.commit()
    return member


async def make_session(
    db: SystemSession,
    user: User | UUID,
    *,
    organization: Organization | None = None,
    organization_id: UUID | None = None,
    aal: int = 1,
    step_up: bool = True,
    device_key: str | None = None,
) -> UserSession:
    """A live session of a person, in the given organisation or in the one that they used last."""
    now = clock.now()
    settings = get_settings()
    identifier = uuid7()
    person = user if isinstance(user, User) else await db.get_one(User, user)
    active_id = organization.id if organization else organization_id or person.last_organization_id
    assert active_id is not None
    session = UserSession(
        id=identifier,
        user_id=person.id,
        organization_id=active_id,
        auth_method="password",
        amr=["pwd"] if aal == 1 else ["pwd", "otp", "mfa"],
        aal=aal,
        refresh_key_sealed=seal(
            key_ring(), secrets.token_bytes(32), context=f"sessions.refresh_key_sealed:{identifier}"
        ),
        device_key_hash=hashlib.sha256(device_key.encode()).digest() if device_key else None,
        is_remembered=False,
        idle_seconds=settings.session_idle_seconds,
        last_activity_at=now,
        step_up_at=now if step_up else None,
        expires_at=now + timedelta(seconds=settings.session_max_seconds),
        created_at=now,
    )
    db.add(session)
    await db.commit()
    return session


def access_token_of(session: UserSession) -> str:
    """A fresh access token of a session."""
    settings = get_settings()
    return issue_access_token(
        key_ring(),
        user_id=session.user_id,
        session_id=session.id,
        issuer=settings.api_url,
        now=clock.now(),
        seconds=settings.access_token_seconds,
    )


def refresh_token_of(session: UserSession, counter: int | None = None) -> str:
    """The refresh token of a session at its present counter, or at another one."""
    context = f"sessions.refresh_key_sealed:{session.id}"
    key = unseal(key_ring(), session.refresh_key_sealed, context=context)
    return make_refresh_token(key, session.id, session.refresh_counter if counter is None else counter)


async def _organization(db: SystemSession, owner: User, *, kind: str, name: str, source: str) -> Organization:
    identifier = uuid7()
    organization = Organization(
        id=identifier, name=name, slug=f"org-{identifier.hex}", kind=kind, created_by=owner.id
    )
    db.add(organization)
    await db.flush()
    db.add(
        TeamMember(
            organization_id=organization.id,
            id=uuid7(),
            user_id=owner.id,
            role="owner",
            source=source,
            joined_at=clock.now(),
        )
    )
    await db.flush()
    return organization
