"""Whether the process can serve: database, migrations, key ring; what waits too long, and the store."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog

from app.clients.storage.opening import StorageNotConfigured, object_store
from app.core.config import Settings, get_settings
from app.core.crypto import KeyRing, SealBroken, key_ring, unseal
from app.core.database import Database, DatabaseOf
from app.core.errors import AppError
from app.repositories.health import HealthRepository, Lag
from app.schemas.health import CheckResult, Readiness
from app.services.files.probing import probe
from app.services.notifications.senders import configured

logger = structlog.get_logger(__name__)

CHECK_SECONDS = 2.0
KEPT_SECONDS = 5.0
"""How long a result is answered again, so that many probes cost one look."""

STORAGE_KEPT_SECONDS = 60.0
"""The same of the store, which is written to."""

OUTBOX_SECONDS = 30
JOB_SECONDS = 60

PASS = CheckResult(status="pass", output=None)

_kept: WeakKeyDictionary[Database, tuple[float, Readiness]] = WeakKeyDictionary()
_kept_storage: dict[str, tuple[float, CheckResult]] = {}


class HealthService:
    """Looks at what the process needs."""

    def __init__(self, database: DatabaseOf) -> None:
        self.database = database

    async def readiness(self) -> Readiness:
        """Whether requests should come here, found at most five seconds ago."""
        found = _kept.get(self.database)
        if found is None or found[0] + KEPT_SECONDS < time.monotonic():
            found = time.monotonic(), await self._look()
            _kept[self.database] = found
        return found[1]

    async def _look(self) -> Readiness:
        """Ask one thing after the other: while the database is away, nothing else can be known."""
        checks = {"database": await self._ask(_reach)}
        if checks["database"].status == "pass":
            checks["migrations"] = await self._ask(_migrations)
        if checks.get("migrations", checks["database"]).status == "pass":
            checks["keys"] = await self._ask(_keys)
            checks["work"] = await self._ask(_work)
        checks["storage"] = await check_storage()
        checks["mail"] = check_mail(get_settings())
        statuses = {check.status for check in checks.values()}
        worst = next(status for status in ("fail", "warn", "pass") if status in statuses)
        return Readiness(status=worst, checks={name: [check] for name, check in checks.items()})

    async def _ask(self, check: Callable[[HealthRepository], Awaitable[CheckResult]]) -> CheckResult:
        try:
            async with asyncio.timeout(CHECK_SECONDS), self.database.system(autocommit=True) as session:
                return await check(HealthRepository(session))
        except Exception as error:  # Whatever it is, the answer says that it failed.
            # The text of the error may name addresses, which strangers need not know.
            logger.warning("check_failed", check=check.__name__.strip("_"), error=repr(error))
            return CheckResult(status="fail", output="The database does not answer.")


async def _reach(health: HealthRepository) -> CheckResult:
    await health.server()
    return PASS


async def _migrations(health: HealthRepository) -> CheckResult:
    if await health.is_migrated():
        return PASS
    return CheckResult(status="fail", output="The database lacks migrations of this release.")


async def _keys(health: HealthRepository) -> CheckResult:
    newest = await health.newest_sealed()
    if newest is None or opens(key_ring(), *newest):
        return PASS
    return CheckResult(status="fail", output="The key ring does not open what was sealed last.")


def opens(ring: KeyRing, session_id: UUID, sealed: bytes) -> bool:
    """Whether the ring opens a session's refresh key.

    The newest one serves as the canary: it needs no table of its own, and it is one that people depend on.
    """
    try:
        unseal(ring, sealed, context=f"sessions.refresh_key_sealed:{session_id}")
    except SealBroken:
        return False
    return True


async def _work(health: HealthRepository) -> CheckResult:
    output = delays(await health.lag())
    return CheckResult(status="warn", output=output) if output else PASS


def delays(lag: Lag) -> str | None:
    """What waits longer than it should, in a sentence; None when nothing does."""
    late = []
    if (lag.outbox_seconds or 0) > OUTBOX_SECONDS:
        late.append(f"events have been waiting for {lag.outbox_seconds:.0f} s")
    if (lag.job_seconds or 0) > JOB_SECONDS:
        late.append(f"due jobs have been waiting for {lag.job_seconds:.0f} s")
    return f"No worker keeps up: {' and '.join(late)}." if late else None


async def check_storage() -> CheckResult:
    """Whether the store works, found at most a minute ago; without it all but uploads and files goes on."""
    found = _kept_storage.get("storage")
    if found is None or found[0] + STORAGE_KEPT_SECONDS < time.monotonic():
        found = time.monotonic(), await _look_at_storage()
        _kept_storage["storage"] = found
    return found[1]


async def _look_at_storage() -> CheckResult:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await probe(object_store())
    except (AppError, OSError, StorageNotConfigured) as error:
        logger.warning("check_failed", check="storage", error=repr(error))
        return CheckResult(status="warn", output="The store of files does not answer.")
    return PASS


def check_mail(settings: Settings) -> CheckResult:
    """Whether mails leave the machine; only production needs them to."""
    if settings.environment == "production" and not configured(settings):
        return CheckResult(
            status="warn",
            output="No mail is sent: set SMTP_URL, BREVO_API_KEY or SENDGRID_API_KEY, and MAIL_PROVIDERS.",
        )
    return PASS
