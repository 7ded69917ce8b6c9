"""Owns what people do with a second factor that is on: look at it, make new backup codes, turn it off."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.errors import Conflict
from app.core.events import emit
from app.repositories.auth import (
    BackupCodeRepository,
    DemandRepository,
    FactorRepository,
    PeopleRepository,
)
from app.schemas.auth import SecondFactor
from app.schemas.auth.two_factor import (
    BackupCodes,
    DemandingOrganization,
    FactorRead,
    RenewBackupCodes,
    TwoFactor,
)
from app.services.auth.own_caller import OwnCaller
from app.services.auth.recipients import seen
from app.services.auth.refusals import session_revoked
from app.services.auth.second_factor import accept_factor, check_factor, judge_factor
from app.services.auth.second_factor.backup_codes import hashed, new_codes
from app.services.auth.two_factor import events
from app.services.auth.two_factor.rules import PENDING_FOR, not_enabled, tries_limit


class KeepingService:
    """Shows, renews and removes the caller's second factor."""

    def __init__(self, caller: OwnCaller) -> None:
        self.caller = caller
        self.session = caller.session

    async def read(self) -> TwoFactor:
        """How the caller's second factor stands; never a secret or a code."""
        user_id = self.caller.user_id
        factors = FactorRepository(self.session)
        active = await factors.active(user_id)
        pending = await factors.pending(user_id, clock.now() - PENDING_FOR)
        return TwoFactor(
            enabled=active is not None,
            factors=[FactorRead.model_validate(active)] if active is not None else [],
            pending=pending is not None,
            backup_codes_remaining=await BackupCodeRepository(self.session).remaining(user_id),
            required_by=await self._required_by(),
        )

    async def renew_codes(self, body: RenewBackupCodes) -> BackupCodes:
        """Ten new backup codes in place of all the old ones.

        401 `mfa_code_invalid`, 409 `two_factor_not_enabled`, 429 `too_many_attempts`.
        """
        now = clock.now()
        await self._active()
        database, user_id = self.caller.database, self.caller.user_id
        proof = await judge_factor(
            self.session, database, user_id, code=body.code, now=now, limit=tries_limit()
        )
        codes = new_codes()
        hashes = await hashed(codes)
        await accept_factor(self.session, database, proof, now)
        await BackupCodeRepository(self.session).replace(user_id, hashes, now)
        await emit(
            self.session,
            events.BackupCodesRegenerated(user_id=user_id),
            private=seen(self.caller.device, now),
        )
        return BackupCodes(backup_codes=codes)

    async def disable(self, body: SecondFactor) -> None:
        """Turn the second factor off and forget its codes; the session stays.

        401 `mfa_code_invalid`, 409 `two_factor_not_enabled`, 409 `mfa_required_by_organization` while an
        organisation demands one, 429 `too_many_attempts`.
        """
        now = clock.now()
        factor_id = await self._active()
        await self._refuse_if_required()
        await check_factor(
            self.session,
            self.caller.database,
            self.caller.user_id,
            code=body.code,
            backup_code=body.backup_code,
            now=now,
            device=self.caller.device,
            limit=tries_limit(),
        )
        # The check began a new transaction, in which an organisation may demand what it did not before.
        await self._refuse_if_required()
        user = await PeopleRepository(self.session).get(self.caller.user_id, lock=True)
        if user is None:
            raise session_revoked()
        user.mfa_enabled_at = None
        await FactorRepository(self.session).delete_all(user.id)
        await emit(
            self.session,
            events.TwoFactorDisabled(user_id=user.id, factor_id=factor_id),
            private=seen(self.caller.device, now),
        )

    async def _active(self) -> UUID:
        factor = await FactorRepository(self.session).active(self.caller.user_id)
        if factor is None:
            raise not_enabled()
        return factor.id

    async def _required_by(self) -> list[DemandingOrganization]:
        found = await DemandRepository(self.session).organizations(self.caller.user_id)
        return [DemandingOrganization(id=identifier, name=name) for identifier, name in found]

    async def _refuse_if_required(self) -> None:
        required_by = await self._required_by()
        if required_by:
            raise Conflict(
                "mfa_required_by_organization",
                "An organisation of yours demands a second factor; leave it first, or ask its owner.",
                organizations=[organization.model_dump(mode="json") for organization in required_by],
            )


Keeping = Annotated[KeepingService, Depends()]
