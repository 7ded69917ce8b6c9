"""Second factors for tests; each function commits what it made."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pyotp import TOTP
from sqlalchemy import update

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.auth import MfaFactor, User
from app.repositories.auth import BackupCodeRepository
from app.services.auth.second_factor.backup_codes import hashed, new_codes
from app.services.auth.second_factor.totp import base32, seal_secret, step_of


@dataclass(frozen=True)
class Authenticator:
    """The app on a person's phone."""

    factor_id: UUID
    secret: bytes

    def code(self, steps: int = 0) -> str:
        """The code of the present step, or of one some steps away."""
        return TOTP(base32(self.secret)).generate_otp(step_of(clock.now()) + steps)

    def wrong_code(self) -> str:
        """Six digits that are no code of the steps around."""
        near = {self.code(steps) for steps in range(-4, 5)}
        return next(text for number in range(20) if (text := f"{number:06d}") not in near)


async def make_factor(db: SystemSession, user: User | UUID, *, status: str = "active") -> Authenticator:
    """A second factor of a person, on or waiting for its first code; nothing was used yet."""
    user_id = user.id if isinstance(user, User) else user
    identifier, secret, now = uuid7(), secrets.token_bytes(20), clock.now()
    is_active = status == "active"
    db.add(
        MfaFactor(
            id=identifier,
            user_id=user_id,
            type="totp",
            name="Phone",
            secret_sealed=seal_secret(identifier, secret),
            status=status,
            confirmed_at=now if is_active else None,
            created_at=now,
        )
    )
    if is_active:
        await db.execute(update(User).where(User.id == user_id).values(mfa_enabled_at=now))
    await db.commit()
    return Authenticator(identifier, secret)


async def make_backup_codes(db: SystemSession, user: User | UUID) -> Sequence[str]:
    """Ten unused backup codes of a person."""
    codes = new_codes()
    user_id = user.id if isinstance(user, User) else user
    await BackupCodeRepository(db).replace(user_id, await hashed(codes), clock.now())
    await db.commit()
    return codes
