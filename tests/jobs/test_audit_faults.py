"""A worker that is killed between an event's handler and the chain loses no entry, and doubles none."""

import asyncio
from datetime import timedelta
from multiprocessing.context import ForkServerProcess

import pytest
from sqlalchemy import func, select, text

from app.core.database import Database, SystemSession
from app.core.events import emit
from app.jobs import upkeep
from app.models.audit import GENESIS, AuditHead, AuditInbox
from app.services.audit.verifying import verify
from app.services.auth.events import SignedOut
from tests.support.audit import entries, hash_apart
from tests.support.personas import Persona
from tests.support.worker_process import start_worker

pytestmark = [pytest.mark.fault, pytest.mark.commits]

EVENTS = 20
WAITING_FOR_HEAD = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%audit_heads%'"
    " AND datname = current_database()"
)


async def end(process: ForkServerProcess) -> None:
    process.kill()
    await asyncio.to_thread(process.join)


async def test_entries_when_the_worker_is_killed_before_they_have_their_place(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    """The head is held, so that the worker has handled events and waits with its append when it is killed."""
    chain = alice.organization_id
    url = database.engine.url.render_as_string(hide_password=False)
    db.add(AuditHead(organization_id=chain, head_hash=GENESIS, base_hash=GENESIS))
    await db.commit()
    async with database.transaction(principal=alice.principal) as session:
        for _ in range(EVENTS):
            await emit(session, SignedOut(user_id=alice.user_id, scope="local"))
    async with database.system() as holder:
        await holder.execute(select(AuditHead).where(AuditHead.organization_id == chain).with_for_update())
        first = start_worker(url)
        async with asyncio.timeout(120):
            while not (await db.scalar(WAITING_FOR_HEAD) and await waiting(db)):
                await db.rollback()
                await asyncio.sleep(0.02)
        assert await entries(db, of=chain) == []
        await end(first)
    await upkeep.rescue_jobs(database, silent_for=timedelta(0))
    second = start_worker(url)
    async with asyncio.timeout(120):
        while len(await entries(db, of=chain)) < EVENTS:
            await db.rollback()
            await asyncio.sleep(0.05)
    second.terminate()
    await asyncio.to_thread(second.join)
    rows = await entries(db, of=chain)
    assert [row.seq for row in rows] == list(range(1, EVENTS + 1))
    assert len({row.id for row in rows}) == EVENTS
    assert all(row.entry_hash == hash_apart(row) for row in rows)
    assert await waiting(db) == 0
    await db.rollback()
    async with database.system(autocommit=True) as session:
        assert (await verify(session, chain)).is_ok


async def waiting(db: SystemSession) -> int:
    return int(await db.scalar(select(func.count()).select_from(AuditInbox)) or 0)
