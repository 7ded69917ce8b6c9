"""Files and their objects: no row without an object, no object for good without a row."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from app.clients.storage.opening import object_store
from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.errors import Unavailable
from app.core.ids import uuid7
from app.core.metrics import STORAGE_MISSING
from app.jobs.app import load_areas
from app.jobs.queue import JOBS
from app.models.auth import User
from app.models.files import StorageDeletion, StorageUsage, StoredFile
from app.models.team import Organization
from app.services.files import collecting, storing
from app.services.files.buckets import AVATARS, FileOwner
from app.services.files.serving import bytes_of
from app.services.files.storing import FileService, Placed
from tests.factories.files import make_file
from tests.support.personas import Persona

DAY = timedelta(hours=24, minutes=1)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of this test's own."""
    monkeypatch.setattr(get_settings(), "storage_url", f"file://{tmp_path}/objects")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"hello")
    return path


async def place(database: Database, source: Path, who: Persona) -> Placed:
    return await FileService(database).place(
        source,
        bucket=AVATARS,
        owner=FileOwner(user_id=who.user_id),
        extension="webp",
        media_type="image/webp",
    )


async def record(database: Database, placed: Placed) -> StoredFile:
    async with database.transaction() as session:
        return await FileService(database).record(session, placed, file_name="avatar.webp")


async def deletions(db: SystemSession) -> dict[str, StorageDeletion]:
    statement = select(StorageDeletion).execution_options(populate_existing=True)
    return {row.storage_key: row for row in (await db.execute(statement)).scalars()}


async def objects() -> set[str]:
    return {item.key async for item in object_store().list("")}


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_file_when_it_is_stored(
    database: Database, db: SystemSession, alice: Persona, source: Path
) -> None:
    placed = await place(database, source, alice)
    lease = (await deletions(db))[placed.key]
    assert timedelta(hours=23) < lease.due_at - clock.now() < DAY
    file = await record(database, placed)
    assert await deletions(db) == {}
    assert b"".join([piece async for piece in bytes_of(file, 1, 4)]) == b"ell"


async def test_file_when_its_row_is_never_written(
    database: Database, db: SystemSession, alice: Persona, source: Path
) -> None:
    placed = await place(database, source, alice)
    assert await collecting.collect_garbage(database) == 0
    assert await objects() == {placed.key}
    with clock.travel(DAY):
        assert await collecting.collect_garbage(database) == 1
    assert (await objects(), await deletions(db)) == (set(), {})


async def test_file_when_its_cause_is_rolled_back(
    database: Database, db: SystemSession, alice: Persona, source: Path
) -> None:
    placed = await place(database, source, alice)
    async with database.system() as session:
        await FileService(database).record(session, placed, file_name="avatar.webp")
        await session.rollback()
    assert set(await deletions(db)) == {placed.key}


async def test_file_when_it_is_released(database: Database, db: SystemSession, alice: Persona) -> None:
    file = await make_file(db, owner=alice)
    async with database.transaction() as session:
        assert await FileService(database).release(session, file.id)
        assert not await FileService(database).release(session, uuid7())
    assert await objects() == {file.storage_key}
    with clock.travel(DAY):
        assert await collecting.collect_garbage(database) == 1
    assert await objects() == set()


@pytest.mark.parametrize("model", [User, Organization])
async def test_files_when_their_owner_goes(
    database: Database, db: SystemSession, charlie: Persona, model: type
) -> None:
    """A cascade tells nobody but the triggers."""
    bucket = "avatars" if model is User else "attachments"
    file = await make_file(db, owner=charlie, bucket=bucket)
    await db.execute(update(User).values(last_organization_id=None))
    await db.execute(update(Organization).values(created_by=None))
    await db.execute(delete(Organization).where(Organization.id == charlie.organization_id))
    if model is User:
        assert await deletions(db) == {}
        await db.execute(delete(User).where(User.id == charlie.user_id))
    await db.commit()
    assert set(await deletions(db)) == {file.storage_key}


async def test_object_when_a_row_has_it_again(
    database: Database, db: SystemSession, alice: Persona, source: Path
) -> None:
    first = await record(database, await place(database, source, alice))
    second = await record(database, await place(database, source, alice))
    assert first.storage_key == second.storage_key
    async with database.transaction() as session:
        await FileService(database).release(session, first.id)
    assert set(await deletions(db)) == {second.storage_key}
    with clock.travel(DAY):
        assert await collecting.collect_garbage(database) == 0
    assert await deletions(db) == {}
    assert await objects() == {second.storage_key}


async def claim(db: SystemSession, key: str, *, minutes: int = 0) -> None:
    """Let a collector be at work on a key."""
    claimed_at = clock.now() - timedelta(minutes=minutes)
    await db.execute(
        update(StorageDeletion)
        .where(StorageDeletion.storage_key == key)
        .values(due_at=claimed_at, claimed_at=claimed_at)
    )
    await db.commit()


async def test_key_when_its_object_is_being_deleted(
    database: Database,
    db: SystemSession,
    alice: Persona,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storing, "PATIENCE", 0.3)
    placed = await place(database, source, alice)
    await claim(db, placed.key)
    with pytest.raises(Unavailable, match="storage_busy") as raised:
        await place(database, source, alice)
    assert raised.value.headers == {"Retry-After": "2"}
    with pytest.raises(Unavailable, match="storage_busy"):
        await record(database, placed)
    assert await db.scalar(select(func.count()).select_from(StoredFile)) == 0


async def test_claim_when_its_collector_is_dead(
    database: Database, db: SystemSession, alice: Persona, source: Path
) -> None:
    placed = await place(database, source, alice)
    await claim(db, placed.key, minutes=14)
    assert await collecting.collect_garbage(database) == 0
    await claim(db, placed.key, minutes=16)
    assert await collecting.collect_garbage(database) == 1
    assert await objects() == set()


async def test_claim_when_the_store_is_away(
    database: Database,
    db: SystemSession,
    alice: Persona,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    placed = await place(database, source, alice)
    here = get_settings().storage_url
    away = {
        "storage_url": "s3://shop",
        "s3_endpoint": "http://127.0.0.1:9",
        "s3_access_key_id": "AKIA",
        "s3_secret_access_key": "secret",
    }
    for name, value in away.items():
        monkeypatch.setattr(get_settings(), name, value)
    with clock.travel(DAY):
        assert await collecting.collect_garbage(database) == 0
        row = (await deletions(db))[placed.key]
        assert (row.attempt_count, row.claimed_at is not None) == (1, True)
        assert row.last_error
        monkeypatch.setattr(get_settings(), "storage_url", here)
        assert await collecting.collect_garbage(database) == 0
        with clock.travel(timedelta(minutes=16)):
            assert await collecting.collect_garbage(database) == 1
    assert (await objects(), await deletions(db)) == (set(), {})


async def usage(db: SystemSession, who: Persona) -> tuple[int, int] | None:
    row = await db.get(StorageUsage, who.organization_id, populate_existing=True)
    return (row.bytes_used, row.file_count) if row else None


async def test_usage_when_files_come_and_go(database: Database, db: SystemSession, alice: Persona) -> None:
    first = await make_file(db, owner=alice, bucket="attachments", data=b"x" * 70)
    await make_file(db, owner=alice, bucket="ar-models", data=b"x" * 30)
    await make_file(db, owner=alice, bucket="exports", data=b"x" * 5)
    await make_file(db, owner=alice, bucket="avatars", data=b"x" * 5)
    assert await usage(db, alice) == (100, 2)
    await db.delete(first)
    await db.commit()
    assert await usage(db, alice) == (30, 1)


async def test_usage_when_it_is_recounted(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    await make_file(db, owner=alice, bucket="attachments", data=b"x" * 70)
    await make_file(db, owner=charlie, bucket="attachments", data=b"x" * 9)
    assert await collecting.recount(database) == 0
    await db.execute(
        update(StorageUsage)
        .where(StorageUsage.organization_id == alice.organization_id)
        .values(bytes_used=1, file_count=7)
    )
    await db.execute(delete(StorageUsage).where(StorageUsage.organization_id == charlie.organization_id))
    await db.commit()
    assert await collecting.recount(database) == 2
    assert await usage(db, alice) == (70, 1)
    assert await usage(db, charlie) == (9, 1)
    assert await collecting.recount(database) == 0


async def test_usage_when_rows_are_gone_without_a_trace(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    db.add(StorageUsage(organization_id=alice.organization_id, bytes_used=5, file_count=1))
    await db.commit()
    assert await collecting.recount(database) == 1
    assert await usage(db, alice) == (0, 0)


async def test_store_when_it_is_verified(
    database: Database, db: SystemSession, alice: Persona, source: Path
) -> None:
    """Strays are given to the collector when they are old enough; what is leased or has a row stays."""
    await make_file(db, owner=alice)
    leased = await place(database, source, alice)
    await object_store().put("probes/stray.txt", pieces(b"x"), "text/plain")
    assert await collecting.verify(database) == (0, 0)
    with clock.travel(timedelta(hours=49)):
        assert await collecting.verify(database) == (1, 0)
        assert set(await deletions(db)) == {leased.key, "probes/stray.txt"}
        assert await collecting.collect_garbage(database) == 2
    assert await object_store().stat("probes/stray.txt") is None


async def test_store_when_it_lacks_objects(
    database: Database, db: SystemSession, alice: Persona, caplog: pytest.LogCaptureFixture
) -> None:
    gone = await make_file(db, owner=alice)
    cut = await make_file(db, owner=alice)
    await make_file(db, owner=alice)
    await object_store().delete(gone.storage_key)
    await object_store().put(cut.storage_key, pieces(b"x"), "image/webp")
    assert await collecting.verify(database) == (0, 2)
    assert STORAGE_MISSING._value.get() == 2


async def test_jobs_when_they_run(
    database: Database, db: SystemSession, alice: Persona, source: Path
) -> None:
    """A day after it was placed without a row, a file is gone; nothing else is wrong, and nothing is done."""
    load_areas()
    await make_file(db, owner=alice, bucket="attachments")
    placed = await place(database, source, alice)
    with clock.travel(DAY):
        for name in ("files.collect_garbage", "files.verify", "files.recount"):
            assert JOBS[name].cron is not None
            await JOBS[name].run(database)
    assert await object_store().stat(placed.key) is None
    assert len(await objects()) == 1
    assert await usage(db, alice) == (1000, 1)


async def test_rows_when_a_stranger_looks(
    database: Database, db: SystemSession, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    personal = await make_file(db, owner=alice, bucket="avatars", is_public=False)
    shared = await make_file(db, owner=alice, bucket="attachments")
    public = await make_file(db, owner=alice, bucket="covers")
    every = {personal.id, shared.id, public.id}
    seen = {}
    for who in (alice, bob, charlie):
        async with database.owner(who.principal) as session:
            seen[who.email] = set((await session.scalars(select(StoredFile.id))).all())
    assert seen == {
        alice.email: every,
        bob.email: {shared.id, public.id},
        charlie.email: {public.id},
    }
    async with database.owner(charlie.principal) as session:
        assert not await FileService(database).release(session, shared.id)


CRASH = """
import asyncio, os, signal, sys
from pathlib import Path
from uuid import UUID
import app.models.registry
from app.core.database import Database, create_engine
from app.services.files.buckets import AVATARS, FileOwner
from app.services.files.storing import FileService

async def main():
    database = Database(create_engine(sys.argv[1]))
    await FileService(database).place(
        Path(sys.argv[2]), bucket=AVATARS, owner=FileOwner(user_id=UUID(sys.argv[3])),
        extension="webp", media_type="image/webp",
    )
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.commits
@pytest.mark.fault
async def test_object_when_its_process_is_killed_before_the_row(
    database: Database, db: SystemSession, alice: Persona, source: Path, tmp_path: Path
) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CRASH, url, str(source), str(alice.user_id)),
        cwd=Path(__file__).resolve().parents[2],
        env={
            "PATH": "/usr/bin:/bin",
            "ENVIRONMENT": "test",
            "DATA_DIR": str(tmp_path),
            "STORAGE_URL": str(get_settings().storage_url),
        },
    )
    assert await process.wait() == -signal.SIGKILL
    (key,) = await objects()
    assert set(await deletions(db)) == {key}
    assert await db.scalar(select(func.count()).select_from(StoredFile)) == 0
    with clock.travel(DAY):
        assert await collecting.collect_garbage(database) == 1
    assert await objects() == set()


@pytest.mark.commits
async def test_collectors_when_several_work_at_once(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    for _ in range(30):
        await db.delete(await make_file(db, owner=alice))
    await db.commit()
    with clock.travel(DAY):
        found = await asyncio.gather(*(collecting.collect_garbage(database) for _ in range(5)))
    assert sum(found) == 30
    assert (await objects(), await deletions(db)) == (set(), {})


@pytest.mark.commits
async def test_object_when_it_is_stored_and_collected_at_once(
    database: Database, db: SystemSession, alice: Persona, source: Path
) -> None:
    """However the two meet, a row that is there has its object."""
    old = await record(database, await place(database, source, alice))
    async with database.transaction() as session:
        await FileService(database).release(session, old.id)

    async def store() -> StoredFile | Unavailable:
        try:
            return await record(database, await place(database, source, alice))
        except Unavailable as refusal:
            return refusal

    with clock.travel(DAY):
        found = await asyncio.gather(
            *(store() for _ in range(6)), *(collecting.collect_garbage(database) for _ in range(6))
        )
    rows = [item for item in found if isinstance(item, StoredFile)]
    assert rows
    assert await objects() == {rows[0].storage_key}
    assert await object_store().stat(rows[0].storage_key) == 5
