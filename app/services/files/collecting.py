"""Owns the end of objects: what no row has is deleted, what nobody knows is found, usage is counted anew."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

import structlog

from app.clients.storage import StorageUnavailable, StoredObject
from app.clients.storage.opening import object_store
from app.core import clock
from app.core.database import Database
from app.core.metrics import STORAGE_MISSING
from app.repositories.files import DeletionRepository, FileRepository, UsageRepository

BATCH = 500
ABANDONED = timedelta(minutes=15)
"""A collector that has not finished a key by then is dead; another one takes it up."""

STRAY_AGE = timedelta(hours=48)
"""Twice as long as a lease: whatever is younger may still get its row."""

logger = structlog.get_logger(__name__)


async def collect_garbage(database: Database) -> int:
    """Delete up to BATCH due objects that no row has; how many. One that fails is taken up again later."""
    now = clock.now()
    async with database.transaction() as session:
        await DeletionRepository(session).drop_used(now)
    async with database.transaction() as session:
        keys = await DeletionRepository(session).claim(now, abandoned_before=now - ABANDONED, limit=BATCH)
    deleted = 0
    for key in keys:
        # While a key is claimed nobody stores under it, so the object is the old one.
        try:
            await object_store().delete(key)
        except StorageUnavailable as error:
            await _note_failure(database, key, repr(error.__cause__))
            continue
        async with database.transaction() as session:
            await DeletionRepository(session).finish(key)
        deleted += 1
    return deleted


async def _note_failure(database: Database, key: str, error: str) -> None:
    async with database.transaction() as session:
        await DeletionRepository(session).note_failure(key, error)


async def verify(database: Database) -> tuple[int, int]:
    """Compare store and rows both ways; how many strays were found, and how many objects are missing."""
    now = clock.now()
    await object_store().tidy(now - STRAY_AGE)
    strays = await _find_strays(database, now)
    missing = await _find_missing(database)
    STORAGE_MISSING.set(missing)
    if missing:
        logger.error("Alert: the store lacks objects of files", missing=missing)
    return strays, missing


async def _find_strays(database: Database, now: datetime) -> int:
    """Let objects be deleted that neither a row nor a lease knows."""
    found = 0
    async for batch in _in_batches(object_store().list("")):
        keys = [item.key for item in batch if item.modified_at < now - STRAY_AGE]
        async with database.transaction() as session:
            deletions = DeletionRepository(session)
            known = await FileRepository(session).keys_in_use(keys) | await deletions.listed(keys)
            unknown = [key for key in keys if key not in known]
            if unknown:
                await deletions.add_strays(unknown, now)
        found += len(unknown)
    if found:
        logger.warning("storage_strays", count=found)
    return found


async def _in_batches(items: AsyncIterator[StoredObject]) -> AsyncIterator[list[StoredObject]]:
    batch: list[StoredObject] = []
    async for item in items:
        batch.append(item)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _find_missing(database: Database) -> int:
    """Log every file whose object is not there, or has another size."""
    last, missing = None, 0
    while True:
        async with database.system(autocommit=True) as session:
            rows = await FileRepository(session).after(last, BATCH)
        if not rows:
            return missing
        gone = [key for _, key, size in rows if await object_store().stat(key) != size]
        missing += await _log_missing(database, gone)
        last = rows[-1][0]


async def _log_missing(database: Database, keys: Sequence[str]) -> int:
    """Those that still have a row: a file may have been deleted while we looked."""
    if not keys:
        return 0
    async with database.system(autocommit=True) as session:
        used = await FileRepository(session).keys_in_use(keys)
    for key in sorted(used):
        logger.error("object_missing", key=key)
    return len(used)


async def recount(database: Database) -> int:
    """Correct the usage of organisations where it is not what their rows add up to; of how many."""
    async with database.system(autocommit=True) as session:
        differing = await UsageRepository(session).differing()
    for organization_id in differing:
        logger.error("storage_usage_differs", organization_id=str(organization_id))
        async with database.transaction() as session:
            await UsageRepository(session).recount(organization_id)
    return len(differing)
