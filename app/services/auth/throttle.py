"""Owns the throttle of password sign-in: who is counted, who is locked out, and in which order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from app.core.crypto import key_ring, mac
from app.core.database import Database, SystemSession
from app.core.devices import Device
from app.core.errors import TooManyRequests
from app.core.events import emit
from app.models.auth import SignInThrottle
from app.repositories.auth import SessionRepository, ThrottleRepository
from app.services.auth.events import Locked, SignInFailed
from app.services.auth.recipients import seen
from app.services.auth.refusals import remembered

logger = structlog.get_logger(__name__)

MOST_WAITING = 20
"""Tries of one identifier that may wait in this process for the one that is being judged."""

LOCKS = {10: timedelta(minutes=15), 20: timedelta(minutes=30), 30: timedelta(hours=1)}
LATER_LOCK = timedelta(hours=4)
LOCKED_FOR_GOOD = 100
"""From this many failures in a row only a reset or a magic link opens the account (NIST SP 800-63B)."""

FORGOTTEN_AFTER = timedelta(hours=24)


@dataclass(slots=True)
class _Queue:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


_queues: dict[bytes, _Queue] = {}


def throttle_key(canonical: str, device_key: bytes | None = None) -> bytes:
    """The key under which tries for an address are counted; a device the account knows has its own."""
    data = canonical.encode()
    return mac(key_ring(), "throttle", data if device_key is None else data + b"\x00" + device_key)


async def counter_of(
    session: SystemSession, canonical: str, user_id: UUID | None, device: Device, now: datetime
) -> tuple[bytes, SignInThrottle | None]:
    """The key and the row that count this device's tries for an address, whether or not anybody has it."""
    is_known = await SessionRepository(session).knows_device(user_id, device.key_hash, now)
    key = throttle_key(canonical, device.key_hash if is_known else None)
    return key, await ThrottleRepository(session).row(key)


@asynccontextmanager
async def one_at_a_time(key: bytes) -> AsyncIterator[None]:
    """Judge the tries of one identifier one after another in this process; 429 when too many are waiting."""
    queue = _queues.setdefault(key, _Queue())
    if queue.users > MOST_WAITING:
        raise TooManyRequests(
            "too_many_attempts",
            "Too many sign-ins for this address at once; try again in a second.",
            headers={"Retry-After": "1"},
        )
    queue.users += 1
    try:
        async with queue.lock:
            yield
    finally:
        queue.users -= 1
        if queue.users == 0:
            del _queues[key]


def refuse_if_locked(counter: SignInThrottle | None, now: datetime) -> None:
    """429 while the identifier is locked, whether or not anybody has it and the password is right."""
    if counter is None:
        return
    if counter.failed_count >= LOCKED_FOR_GOOD:
        seconds = int(LATER_LOCK.total_seconds())
        detail = "Too many failed sign-ins; only a reset of the password opens this account."
    elif counter.locked_until is not None and counter.locked_until > now:
        seconds = int((counter.locked_until - now).total_seconds()) + 1
        detail = f"Too many failed sign-ins; try again in {seconds} seconds."
    else:
        return
    raise TooManyRequests("too_many_attempts", detail, headers={"Retry-After": str(seconds)})


async def record_failure(
    session: SystemSession,
    database: Database,
    key: bytes,
    device: Device,
    now: datetime,
    *,
    user_id: UUID | None,
    reason: str,
) -> None:
    """Count a failed try, and say when it locks; committed before this returns."""
    async with remembered(session, database) as own:
        counter = await ThrottleRepository(own).count_failure(
            key,
            now,
            forgotten_before=now - FORGOTTEN_AFTER,
            kept_from=LOCKED_FOR_GOOD,
            locks=LOCKS,
            later=LATER_LOCK,
        )
        is_for_good = counter.failed_count >= LOCKED_FOR_GOOD
        until = None if is_for_good else counter.locked_until
        is_new_lock = counter.failed_count % 10 == 0 and counter.failed_count <= LOCKED_FOR_GOOD
        await emit(own, SignInFailed(user_id=user_id, reason=reason))
        if is_new_lock:
            await emit(own, Locked(user_id=user_id, until=until), private=seen(device, now))
    logger.info(
        "sign_in_failed",
        user_id=str(user_id) if user_id else None,
        identifier=key.hex()[:8],
        outcome="locked" if is_new_lock else reason,
    )


async def record_refusal(
    session: SystemSession, database: Database, key: bytes, *, user_id: UUID, reason: str
) -> None:
    """Note a right password of an account that may not be entered: the row of failures ends with it."""
    async with remembered(session, database) as own:
        await ThrottleRepository(own).clear(key)
        await emit(own, SignInFailed(user_id=user_id, reason=reason))
    logger.info("sign_in_failed", user_id=str(user_id), identifier=key.hex()[:8], outcome=reason)


async def every_key(
    session: SystemSession, canonical: str, user_id: UUID, now: datetime
) -> tuple[bytes, ...]:
    """All keys that count tries for an account: that of its address, and those of the devices it knows."""
    devices = await SessionRepository(session).device_keys(user_id, now)
    return throttle_key(canonical), *(throttle_key(canonical, key) for key in devices)


async def forgive(session: SystemSession, canonical: str, user_id: UUID, now: datetime) -> None:
    """Forget the failures of an account whose mailbox was proved, those of its devices, too."""
    await ThrottleRepository(session).clear_all(await every_key(session, canonical, user_id, now))
