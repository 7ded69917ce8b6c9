"""Owns how long entries are kept, and how the oldest go without a break in the chain."""

from datetime import datetime, timedelta
from uuid import UUID

from app.core import clock
from app.core.config import get_settings
from app.core.database import ScopedSession, SystemSession
from app.core.events import emit
from app.repositories.audit import ChainRepository
from app.services.audit.events import AuditPruned
from app.services.billing.entitlements import entitlements

STEP = 10_000
"""Entries that one transaction deletes at most, because it holds the head's lock."""


async def shown_days(session: ScopedSession, organization_id: UUID) -> int | None:
    """How many days back the plan shows entries; None: all."""
    return (await entitlements(session, organization_id)).limits.get("audit_days")


async def shown_since(session: ScopedSession, organization_id: UUID) -> datetime | None:
    """From when on the plan shows entries; None: all."""
    days = await shown_days(session, organization_id)
    return None if days is None else clock.now() - timedelta(days=days)


async def prune(session: SystemSession, organization_id: UUID) -> int:
    """Delete up to STEP of the oldest entries, beyond the keeping time, and move the base behind them.

    They are kept for AUDIT_KEEP_DAYS, and as long as the plan shows them when that is longer. Answers how
    many went.
    """
    shown = await shown_days(session, organization_id)
    if shown is None:
        return 0
    before = clock.now() - timedelta(days=max(shown, get_settings().audit_keep_days))
    chain = ChainRepository(session, organization_id)
    await chain.lock_head()
    last = await chain.prunable(before, STEP)
    if last is None:
        return 0
    rows = await chain.prune(last.seq, last.entry_hash)
    await emit(session, AuditPruned(up_to_seq=last.seq, rows=rows), organization_id=organization_id)
    return rows
