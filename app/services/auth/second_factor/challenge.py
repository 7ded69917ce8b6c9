"""Owns the challenge of a sign-in: the answer to a first factor whose account has a second one."""

from datetime import datetime, timedelta
from uuid import UUID

from app.core.crypto import MFA_TOKEN_PREFIX, derive_token, key_ring, read_token
from app.core.database import SystemSession
from app.core.devices import Device
from app.core.errors import Unauthenticated
from app.core.ids import uuid7
from app.models.auth import MfaChallenge
from app.repositories.auth import ChallengeRepository
from app.schemas.auth import MfaRequired
from app.services.auth.first_factor import FirstFactor, as_context

LIFETIME = timedelta(seconds=300)

_USE = "mfa_challenge"


async def start_challenge(
    session: SystemSession, factor: FirstFactor, device: Device, now: datetime
) -> MfaRequired:
    """Keep a first factor until the second one comes; its token is derived from the row's id."""
    row = MfaChallenge(
        id=uuid7(),
        user_id=factor.user_id,
        first_factor=factor.method,
        context=as_context(factor, device),
        expires_at=now + LIFETIME,
        created_at=now,
    )
    await ChallengeRepository(session).add(row)
    return MfaRequired(
        mfa_token=derive_token(key_ring(), MFA_TOKEN_PREFIX, _USE, row.id),
        methods=["totp", "backup_code"],
        expires_in=int(LIFETIME.total_seconds()),
    )


def challenge_id(token: str) -> UUID:
    """The row of a token that this service made; 401 for any other text, without a query."""
    identifier = read_token(key_ring(), MFA_TOKEN_PREFIX, _USE, token)
    if identifier is None:
        raise mfa_token_invalid()
    return identifier


def mfa_token_invalid() -> Unauthenticated:
    """401 for a challenge that is over: used, expired, tried too often, or never made."""
    return Unauthenticated("mfa_token_invalid", "This sign-in is over; begin anew with the first factor.")
