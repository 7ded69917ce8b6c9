"""The audit log in the background: from events to entries, and the nightly care of the chains."""

import logging
import time
from datetime import timedelta
from uuid import UUID

from app.core import clock
from app.core.access import Principal
from app.core.database import Database, SystemSession
from app.core.errors import AppError
from app.core.events import AUDIT
from app.core.metrics import AUDIT_APPEND, AUDIT_PENDING
from app.jobs.handlers import EventRow, handler
from app.jobs.queue import defer, job
from app.services.audit.chaining import append
from app.services.audit.checkpoints import sign_head
from app.services.audit.exporting import close_exports, give_up_export, make_file
from app.services.audit.pruning import prune
from app.services.audit.recording import record
from app.services.audit.resealing import reseal_keys
from app.services.audit.sweeping import every_chain, late_chains, news_of_the_day
from app.services.audit.verifying import tell_verified, verify

LATE = timedelta(seconds=5)
"""An entry that has waited for longer was missed by the job of its event."""

EXPORT_TRIES = 3
EXPORT_PAUSE = timedelta(seconds=30)
CLOSED_AT_ONCE = 100

NIGHTLY = 10_000
"""How many of the newest entries are proved each night."""

CARETAKER = Principal(kind="system", name="audit")

log = logging.getLogger(__name__)


@handler(AUDIT)
async def record_event(session: SystemSession, event: EventRow) -> None:
    """Keep what the class says, and queue a job that chains it unless one waits."""
    organization_id = await record(session, event)
    await _defer_append(session, organization_id)


@job("audit.append", queue="default", priority=5)
async def append_entries(database: Database, *, organization_id: str) -> None:
    """Chain what waits, in small transactions."""
    waited = 1
    while waited:
        began = time.perf_counter()
        async with database.transaction() as session:
            waited, seq = await append(session, UUID(organization_id))
        if waited:
            AUDIT_APPEND.observe(time.perf_counter() - began)
            log.info("Audit chain %s: appended %s entries up to %s", organization_id, waited, seq)


@handler("audit_export")
async def begin_export(session: SystemSession, event: EventRow) -> None:
    """Queue the job that makes the file."""
    data = event.data
    await defer(
        session,
        "audit.export",
        organization_id=data["organization_id"],
        export_id=data["export_id"],
        attempt=1,
    )


@job("audit.export", queue="exports")
async def export_entries(database: Database, *, organization_id: str, export_id: str, attempt: int) -> None:
    """Make a file of entries; what fails is tried three times, and then said to have failed."""
    try:
        await make_file(database, UUID(organization_id), UUID(export_id))
    except Exception as error:
        log.warning("Audit export %s: try %s has failed", export_id, attempt, exc_info=True)
        async with database.transaction() as session:
            if attempt >= EXPORT_TRIES:
                code = error.code if isinstance(error, AppError) else "internal_error"
                await give_up_export(session, UUID(organization_id), UUID(export_id), code)
                return
            await defer(
                session,
                "audit.export",
                at=clock.now() + EXPORT_PAUSE,
                organization_id=organization_id,
                export_id=export_id,
                attempt=attempt + 1,
            )


@job("audit.close_exports", queue="maintenance", cron="7 * * * *")
async def close_old_exports(database: Database) -> None:
    """Hourly: files beyond their time go, and exports that nobody works on any more fail."""
    closed = CLOSED_AT_ONCE
    while closed == CLOSED_AT_ONCE:
        async with database.transaction() as session:
            closed = await close_exports(database, session, CLOSED_AT_ONCE)


@job("audit.sweep", queue="default", cron="* * * * * */20")
async def sweep_inbox(database: Database) -> None:
    """Chain what a job has missed: it had begun before the entry was committed, or its worker died."""
    async with database.transaction() as session:
        count, late = await late_chains(session, clock.now() - LATE)
        AUDIT_PENDING.set(count)
        for organization_id in late:
            await _defer_append(session, organization_id)


@job("audit.nightly", queue="maintenance", cron="15 3 * * *")
async def care_for_chains(database: Database) -> None:
    """Nightly: prove the end of every chain that grew, and sign its head; one after the other."""
    async with database.system(autocommit=True) as session:
        grown = await news_of_the_day(session)
    for organization_id in grown:
        await verify_chain(database, organization_id)
        async with database.transaction(principal=CARETAKER) as session:
            await sign_head(session, organization_id)


async def verify_chain(database: Database, organization_id: UUID) -> None:
    """Prove the newest entries of a chain and tell what was found."""
    async with database.system(autocommit=True) as session:
        proof = await verify(session, organization_id, newest=NIGHTLY)
    async with database.transaction(principal=CARETAKER) as session:
        await tell_verified(session, organization_id, proof)
    if not proof.is_ok:
        log.error("Alert: the audit chain %s is broken at %s", organization_id, proof.first_bad_seq)


@job("audit.prune", queue="maintenance", cron="45 3 * * *")
async def prune_chains(database: Database) -> None:
    """Nightly: delete the entries of every chain that are beyond their keeping time, in small steps."""
    async with database.system(autocommit=True) as session:
        kept = await every_chain(session)
    for organization_id in kept:
        gone = 1
        while gone:
            async with database.transaction(principal=CARETAKER) as session:
                gone = await prune(session, organization_id)


@job("audit.reseal", queue="maintenance", cron="17 4 * * *")
async def reseal_subject_keys(database: Database) -> None:
    """Nightly: seal people's keys with the newest key of the ring, so that an old one may leave it."""
    await reseal_keys(database)


async def _defer_append(session: SystemSession, organization_id: UUID) -> None:
    name = f"audit:{organization_id}"
    await defer(session, "audit.append", lock=name, queueing_lock=name, organization_id=organization_id)
