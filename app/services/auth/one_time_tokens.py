"""Owns e-mailed tokens: making one, which voids the one before, and using it up exactly once."""

import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.core.crypto import (
    EMAIL_TOKEN_PREFIX,
    code_matches,
    encode_base64url,
    key_ring,
    read_token,
)
from app.core.database import Database, SystemSession
from app.core.errors import AppError
from app.core.ids import uuid7
from app.models.auth import OneTimeToken, User
from app.repositories.auth import MOST_ATTEMPTS, OneTimeTokenRepository
from app.services.auth.refusals import remembered, token_expired, token_invalid, token_used

EMAIL_CONFIRM = "email_confirm"

PASSWORD_RESET = "password_reset"  # noqa: S105 - a purpose
MAGIC_LINK = "magic_link"
STEP_UP = "step_up"
AUTH_CODE = "auth_code"
EMAIL_CHANGE = "email_change"
EMAIL_CHANGE_UNDO = "email_change_undo"
TEAM_INVITATION = "team_invitation"
OWNERSHIP_TRANSFER = "ownership_transfer"
ERASURE_CANCEL = "erasure_cancel"
SSO_ROLLBACK = "sso_rollback"

RESCUES = (EMAIL_CHANGE_UNDO, ERASURE_CANCEL, SSO_ROLLBACK)
"""Tokens that take back what an intruder may have done: no act on the account voids them."""

LIFETIMES = {
    EMAIL_CONFIRM: timedelta(hours=24),
    PASSWORD_RESET: timedelta(minutes=30),
    MAGIC_LINK: timedelta(minutes=10),
    STEP_UP: timedelta(minutes=10),
    AUTH_CODE: timedelta(seconds=60),
}
"""How long the token of each purpose is good; the others live as long as what they belong to."""

CODE_LIFETIME = timedelta(minutes=10)
"""How long the code beside the link is good: six digits are guessed sooner than a token."""


async def issue_for_person(
    session: SystemSession,
    purpose: str,
    user: User,
    now: datetime,
    *,
    code_challenge: str | None = None,
    **values: Any,
) -> UUID:
    """Make the one live token of this purpose and person, whose row the caller has locked; answers its id."""
    return await issue(
        session,
        purpose,
        str(user.id),
        now,
        **{"user_id": user.id, "email": user.email, "code_challenge": code_challenge, **values},
    )


async def issue(session: SystemSession, purpose: str, owner_key: str, now: datetime, **values: Any) -> UUID:
    """Make the one live token of this purpose and owner; the one before is voided. Answers its id.

    `values` are columns of the row; without `expires_at` the purpose's lifetime counts.
    """
    tokens = OneTimeTokenRepository(session)
    await tokens.void_live(purpose, owner_key, now)
    given = {"id": uuid7(), "payload": {}, **values}
    if "expires_at" not in given:
        given["expires_at"] = now + LIFETIMES[purpose]
    token = OneTimeToken(purpose=purpose, owner_key=owner_key, created_at=now, **given)
    await tokens.add(token)
    return token.id


def token_id(purpose: str, token: str) -> UUID:
    """The row of a token that this service made; 400 `token_invalid` for any other text, without a query."""
    identifier = read_token(key_ring(), EMAIL_TOKEN_PREFIX, purpose, token)
    if identifier is None:
        raise token_invalid()
    return identifier


def is_live(token: OneTimeToken, now: datetime) -> bool:
    """Whether a token can still be used."""
    return token.consumed_at is None and token.voided_at is None and token.expires_at > now


async def why_dead(session: SystemSession, purpose: str, identifier: UUID, now: datetime) -> AppError:
    """What to answer for a token that could not be used."""
    token = await OneTimeTokenRepository(session).of_purpose(identifier, purpose)
    if token is None:
        return token_invalid()
    is_spent = token.consumed_at is not None or token.voided_at is not None
    return token_used() if is_spent or token.expires_at > now else token_expired()


async def judge_code(
    session: SystemSession, database: Database, purpose: str, canonical: str, code: str, now: datetime
) -> UUID:
    """The row whose code this is. The try is paid for and committed before the code is compared.

    400 `token_invalid` for every failure, whatever the address; the fifth wrong code voids the token.
    """
    async with remembered(session, database) as own:
        tried = await OneTimeTokenRepository(own).pay_attempt(purpose, canonical, now, now - CODE_LIFETIME)
    if tried is None:
        raise token_invalid()
    await _compare(session, database, purpose, tried, code, now)
    return tried[0]


async def judge_code_of(
    session: SystemSession, database: Database, purpose: str, identifier: UUID, code: str, now: datetime
) -> None:
    """The same for a token whose id the caller has, known or not."""
    async with remembered(session, database) as own:
        attempts = await OneTimeTokenRepository(own).pay_attempt_of(identifier, purpose, now)
    if attempts is None:
        raise token_invalid()
    await _compare(session, database, purpose, (identifier, attempts), code, now)


async def _compare(
    session: SystemSession,
    database: Database,
    purpose: str,
    tried: tuple[UUID, int],
    code: str,
    now: datetime,
) -> None:
    identifier, attempts = tried
    if code_matches(key_ring(), purpose, identifier, code):
        return
    if attempts >= MOST_ATTEMPTS:
        await void_token(session, database, identifier, now)
    raise token_invalid()


async def void_owned(session: SystemSession, purpose: str, owner_key: str, now: datetime) -> None:
    """Take the live token of a purpose and an owner out of use, if there is one."""
    await OneTimeTokenRepository(session).void_live(purpose, owner_key, now)


async def void_token(session: SystemSession, database: Database, identifier: UUID, now: datetime) -> None:
    """Take a token out of use, in a transaction of its own that outlives the coming refusal."""
    async with remembered(session, database) as own:
        await OneTimeTokenRepository(own).void(identifier, now)


def verifier_fits(code_verifier: str, code_challenge: str | None) -> bool:
    """Whether a PKCE verifier belongs to a stored S256 challenge (RFC 7636, 4.6)."""
    digest = encode_base64url(hashlib.sha256(code_verifier.encode()).digest())
    return code_challenge is not None and hmac.compare_digest(digest, code_challenge)
