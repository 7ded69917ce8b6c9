"""Owns the check of a second factor: paid for first, judged outside of any transaction, used once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NoReturn
from uuid import UUID

import structlog

from app.core.config import get_settings
from app.core.crypto import key_ring, mac
from app.core.database import Database, ScopedSession, SystemSession
from app.core.devices import Device
from app.core.errors import TooManyRequests, Unauthenticated
from app.core.events import emit
from app.core.limits import LimitRule, parse_limit
from app.core.passwords import verify_password
from app.repositories.auth import BackupCodeRepository, FactorRepository, PeopleRepository, TryRepository
from app.services.auth.recipients import moment, seen
from app.services.auth.refusals import remembered
from app.services.auth.second_factor.backup_codes import split
from app.services.auth.second_factor.events import BackupCodeUsed, MfaFailed
from app.services.auth.second_factor.totp import matching_step

logger = structlog.get_logger(__name__)

Method = Literal["totp", "backup_code"]


@dataclass(frozen=True, slots=True)
class Proof:
    """A code that fits and is not used yet: the row to use up, and for an authenticator the step."""

    user_id: UUID
    method: Method
    row_id: UUID
    step: int = -1
    challenge_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class FactorChecked:
    """The second factor was right and is used up; after a backup code, how many are left."""

    method: Method
    backup_codes_remaining: int | None = None


def with_second_factor(amr: tuple[str, ...]) -> tuple[str, ...]:
    """Authentication methods (RFC 8176) with our second factor among them."""
    return tuple(dict.fromkeys((*amr, "otp", "mfa")))


async def has_active_factor(session: ScopedSession, user_id: UUID) -> bool:
    """Whether this person has a second factor that must be asked for."""
    return await FactorRepository(session).has_active(user_id)


async def check_factor(
    session: SystemSession,
    database: Database,
    user_id: UUID,
    *,
    code: str | None = None,
    backup_code: str | None = None,
    now: datetime,
    device: Device | None = None,
    limit: str | None = None,
) -> FactorChecked:
    """Check a second factor and use it up in `session`, which also locks the person's row.

    Call it before anything else is done in `session`: its transaction is given up, because the try is paid
    for and committed first. 401 `mfa_code_invalid`; 429 `too_many_attempts` when `limit` is reached, the
    rule of the page that asks, by default `LIMIT_MFA_ACCOUNT`. `device` is what the mail tells of.
    """
    proof = await judge_factor(
        session, database, user_id, code=code, backup_code=backup_code, now=now, limit=limit
    )
    return await accept_factor(session, database, proof, now, device=device)


async def judge_factor(
    session: SystemSession,
    database: Database,
    user_id: UUID,
    *,
    code: str | None = None,
    backup_code: str | None = None,
    now: datetime,
    limit: str | None = None,
) -> Proof:
    """The first half of `check_factor`: pay, compare; nothing is used up, and no transaction is open."""
    async with remembered(session, database) as own:
        await pay_try(own, user_id, now, limit=limit)
    proof = await compare(database, user_id, code=code, backup_code=backup_code, now=now)
    if proof is None:
        await refuse(session, database, user_id)
    return proof


async def accept_factor(
    session: SystemSession, database: Database, proof: Proof, now: datetime, *, device: Device | None = None
) -> FactorChecked:
    """The second half: use the code up in the caller's transaction; 401 when another request was faster.

    The person's row is locked first, as everywhere before factors are changed.
    """
    await PeopleRepository(session).get(proof.user_id, lock=True)
    codes = BackupCodeRepository(session)
    if proof.method == "totp":
        is_won = await FactorRepository(session).use_step(proof.row_id, proof.step, now)
    else:
        is_won = await codes.use(proof.row_id, now)
    if not is_won:
        await refuse(session, database, proof.user_id, proof.challenge_id)
    await give_try_back(session, proof.user_id)
    if proof.method == "totp":
        return FactorChecked("totp")
    remaining = await codes.remaining(proof.user_id)
    facts = seen(device, now) if device else {"device": None, "place": None, "time": moment(now)}
    await emit(session, BackupCodeUsed(user_id=proof.user_id, remaining=remaining), private=facts)
    return FactorChecked("backup_code", remaining)


async def pay_try(own: SystemSession, user_id: UUID, now: datetime, *, limit: str | None = None) -> None:
    """Count one try of an account before it is judged; 429 when it has failed too often.

    `limit` is the rule of the page that asks, by default `LIMIT_MFA_ACCOUNT`; all pages share one count.
    """
    rule: LimitRule = parse_limit(limit or get_settings().limit_mfa_account)
    until = await TryRepository(own).pay(
        _tries_key(user_id), now, most=rule.count, window=timedelta(seconds=rule.window_seconds)
    )
    if until is not None:
        seconds = max(1, int((until - now).total_seconds()) + 1)
        raise TooManyRequests(
            "too_many_attempts",
            f"Too many wrong codes; try again in {seconds} seconds.",
            headers={"Retry-After": str(seconds)},
        )


async def give_try_back(session: SystemSession, user_id: UUID) -> None:
    """Take back the try that was paid for, because its code was right; earlier failures stay counted."""
    await TryRepository(session).give_back(_tries_key(user_id))


async def compare(
    database: Database, user_id: UUID, *, code: str | None, backup_code: str | None, now: datetime
) -> Proof | None:
    """What the code proves, or None when it is wrong or used. An unknown backup code costs as much time."""
    if code is not None:
        async with database.system(autocommit=True) as session:
            factor = await FactorRepository(session).active(user_id)
        step = matching_step(factor, code, now) if factor is not None else None
        return Proof(user_id, "totp", factor.id, step) if factor is not None and step is not None else None
    selector, secret = split(backup_code or "")
    async with database.system(autocommit=True) as session:
        row = await BackupCodeRepository(session).by_selector(user_id, selector)
    verified = await verify_password(secret, row.verifier_hash if row is not None else None)
    return Proof(user_id, "backup_code", row.id) if row is not None and verified.ok else None


async def refuse(
    session: SystemSession, database: Database, user_id: UUID, challenge_id: UUID | None = None
) -> NoReturn:
    """Note a wrong code and answer 401; the try was paid for before."""
    async with remembered(session, database) as own:
        await note_failure(own, user_id, challenge_id)
    raise code_invalid()


async def note_failure(own: SystemSession, user_id: UUID, challenge_id: UUID | None = None) -> None:
    """Tell of a wrong code, in a transaction that outlives the refusal."""
    await emit(own, MfaFailed(user_id=user_id, challenge_id=challenge_id))
    logger.info("mfa_failed", user_id=str(user_id), outcome="mfa_code_invalid")


def code_invalid() -> Unauthenticated:
    """401 for a second factor that is wrong, or was used already."""
    return Unauthenticated(
        "mfa_code_invalid", "This code is wrong or was used already; wait for the next one."
    )


def _tries_key(user_id: UUID) -> bytes:
    return mac(key_ring(), "throttle", f"mfa:{user_id}".encode())
