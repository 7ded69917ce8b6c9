"""Owns the exchange of an `auth_code` for a session: once, and by the browser that began."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.crypto import AUTH_CODE_PREFIX, key_ring, read_token
from app.core.database import Database, DatabaseOf, SystemSession, Unscoped
from app.core.devices import CallingDevice
from app.core.errors import AppError, Conflict, Forbidden
from app.core.events import emit
from app.models.auth import OneTimeToken
from app.repositories.auth import (
    ChallengeRepository,
    ExternalSignInRepository,
    OneTimeTokenRepository,
    PeopleRepository,
)
from app.schemas.auth import SessionOpened, SignInAnswer
from app.schemas.auth.oauth import AuthCodeExchange
from app.services.auth.accounts import end_sessions
from app.services.auth.events import SignInFailed
from app.services.auth.external.trips import SIGN_IN
from app.services.auth.first_factor import FirstFactor, IdentityToLink
from app.services.auth.one_time_tokens import AUTH_CODE, verifier_fits, void_token, why_dead
from app.services.auth.opening import open_session
from app.services.auth.refusals import remembered, token_invalid, verifier_invalid
from app.services.auth.second_factor.challenge import challenge_id

METHOD = "oauth"
AMR = ("fed",)
"""A provider's word, whatever it asked for itself."""

REUSED = "auth_code_reused"


def code_id(auth_code: str) -> UUID:
    """The row of a code that this service made; 400 `token_invalid` for any other text, without a query."""
    identifier = read_token(key_ring(), AUTH_CODE_PREFIX, AUTH_CODE, auth_code)
    if identifier is None:
        raise token_invalid()
    return identifier


async def proved_code(
    session: SystemSession,
    database: Database,
    identifier: UUID,
    code_verifier: str,
    now: datetime,
    *,
    intent: str,
    user_id: UUID | None = None,
) -> OneTimeToken:
    """The code's row, whatever its state, for who has the verifier of the browser that began.

    400 `token_invalid` for a code of another intent or of another person, 401 `verifier_invalid`, which ends
    the code: somebody else holds it.
    """
    token = await OneTimeTokenRepository(session).of_purpose(identifier, AUTH_CODE)
    if token is None or token.user_id is None or token.payload.get("intent") != intent:
        raise token_invalid()
    if user_id not in (None, token.user_id):
        raise token_invalid()
    if not verifier_fits(code_verifier, token.code_challenge):
        await void_token(session, database, identifier, now)
        raise verifier_invalid()
    return token


def kept_identity(token: OneTimeToken) -> IdentityToLink:
    """The identity that a code stands for."""
    return IdentityToLink(**token.payload["identity"])


class ExchangeService:
    """Opens sessions for codes."""

    def __init__(self, session: Unscoped, database: DatabaseOf, device: CallingDevice) -> None:
        self.session = session
        self.database: Database = database
        self.device = device

    async def exchange(self, body: AuthCodeExchange) -> SignInAnswer:
        """Use a code up and sign its person in.

        400 `token_invalid`, 401 `verifier_invalid`, 403 for an account that may not be entered, 410
        `token_expired`, and 410 `token_used`, which ends the session that the code had opened.
        """
        now = clock.now()
        identifier = code_id(body.auth_code)
        token = await proved_code(
            self.session, self.database, identifier, body.code_verifier, now, intent=SIGN_IN
        )
        assert token.user_id is not None  # noqa: S101 - judged just now
        # The person is locked before the code, as everywhere; two orders could deadlock.
        await PeopleRepository(self.session).get(token.user_id, lock=True)
        used = await OneTimeTokenRepository(self.session).consume(identifier, AUTH_CODE, now)
        if used is None:
            raise await self._spent(identifier, now)
        factor = FirstFactor(
            user_id=token.user_id,
            method=METHOD,
            amr=AMR,
            is_remembered=used.payload["remember"] is True,
            identity=kept_identity(used),
        )
        try:
            answer = await open_session(self.session, factor, self.device, now)
        except (Forbidden, Conflict) as refusal:
            await self._note_refusal(identifier, factor.user_id, refusal.code, now)
            raise
        if isinstance(answer, SessionOpened):
            opened = {"session_id": str(answer.session_id)}
        else:
            assert answer.mfa_token is not None  # noqa: S101 - only a repeated answer has none
            opened = {"challenge_id": str(challenge_id(answer.mfa_token))}
        used.payload = {**used.payload, **opened}
        return answer

    async def _note_refusal(self, identifier: UUID, user_id: UUID, reason: str, now: datetime) -> None:
        """The code is used up all the same, and the person's log says what happened."""
        async with remembered(self.session, self.database) as own:
            await OneTimeTokenRepository(own).consume(identifier, AUTH_CODE, now)
            await emit(own, SignInFailed(user_id=user_id, reason=reason))

    async def _spent(self, identifier: UUID, now: datetime) -> AppError:
        """What to answer for a code that could not be used; what it had opened is closed (RFC 6749, 10.5)."""
        async with remembered(self.session, self.database) as own:
            token = await OneTimeTokenRepository(own).of_purpose(identifier, AUTH_CODE)
            if token is not None and token.consumed_at is not None and token.user_id is not None:
                await self._close(own, token.user_id, token, now)
            return await why_dead(own, AUTH_CODE, identifier, now)

    async def _close(self, own: SystemSession, user_id: UUID, token: OneTimeToken, now: datetime) -> None:
        session_id, challenge = token.payload.get("session_id"), token.payload.get("challenge_id")
        if session_id is None and challenge is not None:
            challenges = ChallengeRepository(own)
            if await challenges.consume(UUID(challenge), now):
                return
            session_id = await ExternalSignInRepository(own).session_after(UUID(challenge))
        if session_id is None:
            return
        await end_sessions(own, user_id, only=UUID(str(session_id)), reason=REUSED, now=now)


Exchanges = Annotated[ExchangeService, Depends()]
