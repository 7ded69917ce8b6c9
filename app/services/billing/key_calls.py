"""Owns the batches in which the requests of API keys are counted against plans."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import IntegrityError

from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.core.key_calls import KeyCalls
from app.repositories.billing.usage import UsageRepository
from app.services.billing.entitlements import entitlements, upgrade_url
from app.services.billing.periods import meter_period
from app.services.billing.usage import Counter, count

METRIC: Counter = "api_calls"

BATCH_SECONDS = 60.0
"""So long requests are counted in memory; a plan that is used up refuses from the next batch on."""

LAST_SECONDS = 5.0
"""How long the last batch may take, in which the process ends."""

logger = structlog.get_logger(__name__)


class KeyCallMeter:
    """Counts the requests of one process every minute, and what is left of them when it ends."""

    def __init__(self, database: Database, calls: KeyCalls) -> None:
        self._database = database
        self._calls = calls
        self._is_over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, in a task of the running loop."""
        self._task = asyncio.create_task(self._run(), name="key calls")

    async def stop(self) -> None:
        """Count what is left, and end."""
        self._is_over.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._task, LAST_SECONDS)

    async def _run(self) -> None:
        is_last = False
        while not is_last:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_over.wait(), BATCH_SECONDS)
            is_last = self._is_over.is_set()
            await count_calls(self._database, self._calls)


async def count_calls(database: Database, calls: KeyCalls) -> None:
    """Count what came since the last batch, each organisation by itself, and judge who has requests left."""
    for organization_id, requests in calls.take().items():
        try:
            async with database.transaction() as session:
                facts = await _count(session, organization_id, requests)
        except IntegrityError:
            # The organisation was purged meanwhile, and nobody's requests are left to be counted.
            calls.judge(organization_id, None)
        except Exception as error:  # Whatever it was, the other organisations' requests count.
            logger.warning("key_calls_not_counted", requests=requests, error=type(error).__name__)
            calls.give_back(organization_id, requests)
        else:
            calls.judge(organization_id, facts)


async def _count(session: SystemSession, organization_id: UUID, requests: int) -> Mapping[str, Any] | None:
    """Count a batch, also above the limit; when that is reached, what callers are told."""
    if requests:
        await count(session, organization_id, METRIC, requests, f"{METRIC}:{uuid7()}", may_refuse=False)
    plan = await entitlements(session, organization_id)
    limit = plan.limits.get(METRIC)
    if limit is None:
        return None
    period = meter_period(plan.meter_anchor_at, await session.now())
    used = await UsageRepository(session, organization_id).used(METRIC, period.name)
    if used < limit:
        return None
    return {
        "metric": METRIC,
        "limit": limit,
        "used": used,
        "requested": 1,
        "resets_at": period.end.isoformat().replace("+00:00", "Z"),
        "upgrade_url": upgrade_url(),
    }
