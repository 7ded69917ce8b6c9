"""Owns identities: giving one to a person, so that one of two who want it gets it."""

from datetime import datetime
from uuid import UUID

from app.core.database import SystemSession
from app.core.devices import Device
from app.core.errors import Conflict
from app.core.events import emit
from app.models.auth import Identity
from app.repositories.auth import IdentityRepository
from app.services.auth.external.events import IdentityLinked
from app.services.auth.first_factor import IdentityToLink
from app.services.auth.recipients import seen


async def use_identity(
    session: SystemSession, user_id: UUID, identity: IdentityToLink, device: Device, now: datetime
) -> None:
    """Note that a person came in by this identity, which becomes theirs if nobody has it yet.

    409 `identity_in_use` when somebody else has it, 409 `identity_already_linked` when the person has another
    one of this provider.
    """
    identities = IdentityRepository(session)
    known = await identities.by_subject(identity.provider, identity.provider_subject)
    if known is None or known.user_id != user_id:
        await link_identity(session, user_id, identity, device, now)
    await identities.note_use(
        user_id,
        identity.provider,
        now,
        email=identity.email,
        is_email_verified=identity.is_email_verified,
    )


async def link_identity(
    session: SystemSession,
    user_id: UUID,
    identity: IdentityToLink,
    device: Device,
    now: datetime,
    *,
    is_mailed: bool = True,
) -> Identity:
    """Give a person an identity that is nobody's yet, and tell of it; 409 as above."""
    identities = IdentityRepository(session)
    linked = await identities.add_unless_taken(
        user_id=user_id,
        provider=identity.provider,
        provider_subject=identity.provider_subject,
        email=identity.email,
        is_email_verified=identity.is_email_verified,
        now=now,
    )
    if linked is None:
        holder = await identities.by_subject(identity.provider, identity.provider_subject)
        raise identity_in_use() if holder and holder.user_id != user_id else identity_already_linked()
    private = {**seen(device, now), "is_mailed": is_mailed}
    await emit(session, IdentityLinked(user_id=user_id, provider=identity.provider), private=private)
    return linked


def identity_in_use() -> Conflict:
    """409 for a provider's account that opens somebody else's account."""
    return Conflict(
        "identity_in_use",
        "That account at the provider is linked to another account here; unlink it there first.",
    )


def identity_already_linked() -> Conflict:
    """409 for a second account at the same provider."""
    return Conflict(
        "identity_already_linked", "Your account is linked at this provider already; unlink that one first."
    )
