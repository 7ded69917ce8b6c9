"""Owns the second half of a sign-in: a challenge and a code become a session."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.database import DatabaseOf, Unscoped
from app.core.devices import CallingDevice
from app.models.auth import MfaChallenge
from app.repositories.auth import ChallengeRepository, PeopleRepository
from app.schemas.auth import SessionOpened, SessionOpenedByBackupCode, VerifyMfa
from app.services.auth.first_factor import device_key_hash, of_context
from app.services.auth.opening import open_after_challenge
from app.services.auth.refusals import remembered
from app.services.auth.second_factor.challenge import challenge_id, mfa_token_invalid
from app.services.auth.second_factor.checking import (
    FactorChecked,
    accept_factor,
    compare,
    pay_try,
    refuse,
)


class MfaService:
    """Judges second factors of people who are signing in."""

    def __init__(self, session: Unscoped, database: DatabaseOf, device: CallingDevice) -> None:
        self.session = session
        self.database = database
        self.device = device

    async def verify(self, body: VerifyMfa) -> SessionOpened:
        """Open the session of a challenge for a right code.

        401 `mfa_token_invalid` for a challenge that is over, 401 `mfa_code_invalid`, 429 `too_many_attempts`;
        the refusals of `open_session`, because the account may have changed since the first factor.
        """
        now = clock.now()
        identifier = challenge_id(body.mfa_token)
        challenge = await self._pay(identifier, now)
        user_id = challenge.user_id
        proof = await compare(self.database, user_id, code=body.code, backup_code=body.backup_code, now=now)
        if proof is None:
            await refuse(self.session, self.database, user_id, identifier)
        # The person is locked before the challenge, as everywhere; two orders could deadlock.
        await PeopleRepository(self.session).get(user_id, lock=True)
        if not await ChallengeRepository(self.session).consume(identifier, now):
            raise mfa_token_invalid()
        checked = await accept_factor(
            self.session, self.database, replace(proof, challenge_id=identifier), now, device=self.device
        )
        return await self._open(challenge, checked, now)

    async def _pay(self, identifier: UUID, now: datetime) -> MfaChallenge:
        """Pay for the try at the challenge and at the account, both or neither."""
        async with remembered(self.session, self.database) as own:
            challenge = await ChallengeRepository(own).pay(identifier, now)
            if challenge is None:
                raise mfa_token_invalid()
            await pay_try(own, challenge.user_id, now)
        return challenge

    async def _open(self, challenge: MfaChallenge, checked: FactorChecked, now: datetime) -> SessionOpened:
        factor = of_context(challenge.user_id, challenge.first_factor, challenge.context)
        # The device is the one that brought the first factor, even if this request does not name it.
        known = device_key_hash(challenge.context) or self.device.key_hash
        device = replace(self.device, key_hash=known)
        opened = await open_after_challenge(self.session, factor, device, now)
        if checked.backup_codes_remaining is None:
            return opened
        return SessionOpenedByBackupCode(
            **dict(opened), backup_codes_remaining=checked.backup_codes_remaining
        )


MfaVerifications = Annotated[MfaService, Depends()]
