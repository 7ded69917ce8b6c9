"""Streams while things break: hints, connections, the database, and whole servers."""

import asyncio
import inspect
import itertools
import os
import random
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from fastapi import FastAPI
from httpx import AsyncClient, HTTPError
from sqlalchemy import text

from app.core.config import get_settings
from app.core.database import Database, create_engine
from app.core.embedded import FAST, EmbeddedPostgres
from app.core.events import emit
from app.core.migrations import upgrade
from app.services.realtime import hub as hub_module
from tests.support.personas import Persona, make_owner
from tests.support.service import Service
from tests.support.streams import Followed, Frame, LiveServer, client_of, following, happen

if TYPE_CHECKING:
    from tests.support.exercised import Exercised

CONNECTED = text(
    "SELECT pid FROM pg_stat_activity WHERE application_name = :name AND datname = current_database()"
)
CUT = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE application_name = ANY(:names) AND datname = current_database()"
)


async def pids(database: Database, name: str) -> list[int]:
    async with database.system(autocommit=True) as session:
        return list(await session.scalars(CONNECTED, {"name": name}))


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(90):
        while True:
            found = condition()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.02)


@pytest.mark.commits
async def test_events_come_by_looking_alone_when_nobody_listens(
    app: FastAPI, database: Database, alice: Persona, noticed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "events_wake", "poll")
    server = LiveServer(app, app)
    await server.start()
    try:
        async with client_of(server) as http, following(http, alice.headers) as stream:
            for number in range(5):
                await happen(database, noticed(number=number), user_id=alice.user_id)
                await stream.count(number + 1)
            assert await pids(database, "luneo-listener") == []
        assert stream.numbers == list(range(5))
    finally:
        await server.stop()


@pytest.mark.commits
async def test_hints_and_streams_go_on_when_their_connections_are_cut(
    server: LiveServer,
    http: AsyncClient,
    database: Database,
    alice: Persona,
    noticed: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def is_listening() -> bool:
        return bool(await pids(database, "luneo-listener"))

    await until(is_listening)
    async with following(http, alice.headers) as stream:
        async with database.system(autocommit=True) as session:
            cut = await session.scalar(CUT, {"names": ["luneo-listener", "luneo-hub"]})
        assert cut == 2
        await happen(database, noticed(number=1), user_id=alice.user_id)
        await stream.count(1)
        await until(is_listening)
        await asyncio.sleep(0.3)
        # From now on only a hint brings anything.
        monkeypatch.setattr(hub_module, "BUSY_PAUSE", 600.0)
        await happen(database, noticed(number=2), user_id=alice.user_id)
        await stream.count(2)
        await happen(database, noticed(number=3), user_id=alice.user_id)
        await stream.count(3)
    assert stream.numbers == [1, 2, 3]


@pytest.mark.commits
async def test_streams_start_anew_when_the_log_is_another_one(
    server: LiveServer, http: AsyncClient, database: Database, alice: Persona, noticed: Any
) -> None:
    """As after a restore: another salt, met by a process that was cut off meanwhile."""
    before = server.hub.cursor
    assert before is not None
    async with following(http, alice.headers) as stream:
        async with database.transaction() as session:
            await session.execute(text("UPDATE event_epochs SET salt = 'zzzzzz'"))
        async with database.system(autocommit=True) as session:
            await session.scalar(CUT, {"names": ["luneo-hub"]})
        bye = await stream.end()
    assert bye.data == {"code": "draining", "reconnect": True}
    async with following(http, alice.headers, cursor=str(bye.id)) as again:
        assert again.frames[0].data["reason"] == "unknown_epoch"
        assert again.frames[0].id != before
        await happen(database, noticed(number=1), user_id=alice.user_id)
        await again.count(1)


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A database server that this test may kill."""
    home = Path(tempfile.mkdtemp(prefix="luneo-streams-"))
    home.chmod(0o755)  # The server drops to another account when the tests run as root.
    server = EmbeddedPostgres(home / "postgres", settings=FAST)
    server.start()
    server.create_database("luneo")
    yield server
    server.destroy()
    shutil.rmtree(home, ignore_errors=True)


def kill(server: EmbeddedPostgres) -> None:
    """SIGKILL to the first process of a database server, and wait until none of it is left."""
    first = psutil.Process(int((server.data.resolve() / "postmaster.pid").read_text().split()[0]))
    family = [first, *first.children(recursive=True)]
    os.kill(first.pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=60)


@pytest.fixture
async def own_server(
    application: FastAPI, own_postgres: EmbeddedPostgres, exercised: "Exercised"
) -> AsyncIterator[LiveServer]:
    """The application over that database server."""
    await asyncio.to_thread(upgrade, own_postgres.url("luneo"))
    application.state.database = Database(create_engine(own_postgres.url("luneo"), pool_size=5))
    server = LiveServer(application, exercised.recording(application))
    await server.start()
    yield server
    await server.stop()
    application.state.database = None


@pytest.mark.fault
async def test_stream_goes_on_by_itself_when_the_database_was_killed(
    own_postgres: EmbeddedPostgres, own_server: LiveServer, noticed: Any
) -> None:
    database: Database = own_server.app.state.database
    async with database.system() as session:
        alice = await make_owner(session, "alice")

    async def try_again() -> bool:
        try:
            await happen(database, noticed(number=2), user_id=alice.user_id)
        except Exception:
            return False
        return True

    async with client_of(own_server) as http, following(http, alice.headers) as stream:
        await happen(database, noticed(number=1), user_id=alice.user_id)
        cursor = (await stream.count(1))[0].id
        await asyncio.to_thread(kill, own_postgres)
        refused = await http.get("/api/realtime/stream", headers=alice.headers)
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        await asyncio.sleep(0.3)
        assert not stream.is_over
        await asyncio.to_thread(own_postgres.start)
        await until(try_again)
        await stream.until(lambda: 2 in stream.numbers)
        async with following(http, alice.headers, cursor=str(cursor)) as again:
            await again.until(lambda: 2 in again.numbers)
    assert stream.numbers == [1, 2]


class Reader:
    """A client that follows for ever: whenever its stream ends, it goes on at the next server."""

    def __init__(self, person: Persona, servers: list[Service], first: int) -> None:
        self.person = person
        self.streams: list[Followed] = []
        self._servers = servers
        self._next = first

    @property
    def frames(self) -> list[Frame]:
        """The events of all streams, in the order in which they came."""
        return [frame for stream in self.streams for frame in stream.events]

    @property
    def byes(self) -> list[Frame]:
        return [frame for stream in self.streams for frame in stream.frames if frame.kind == "bye"]

    @property
    def numbers(self) -> list[int]:
        return [frame.number for frame in self.frames]

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            server = self._servers[self._next % len(self._servers)]
            try:
                async with AsyncClient(base_url=server.url, timeout=60, trust_env=False) as http:
                    await self._follow(http)
            except (HTTPError, AssertionError):
                self._next += 1
                await asyncio.sleep(0.05)

    async def _follow(self, http: AsyncClient) -> None:
        seen = [frame.id for stream in self.streams for frame in stream.frames if frame.id]
        resumed = {"Last-Event-ID": seen[-1]} if seen else {}
        async with following(http, {**self.person.headers, **resumed}) as stream:
            assert stream.frames[0].data["mode"] == ("replay" if resumed else "live")
            self.streams.append(stream)
            await stream.until(lambda: stream.is_over, seconds=240)
            raise HTTPError("the stream is over")


class Writers:
    """Emit about 200 events a second, in transactions of all lengths, of which some are rolled back."""

    def __init__(self, database: Database, kind: Any, person: Persona) -> None:
        self.database = database
        self.kind = kind
        self.person = person
        self.committed: list[list[int]] = []
        self.is_stopping = False
        self._draw = random.Random(7)

    @property
    def count(self) -> int:
        return sum(map(len, self.committed))

    async def run(self, count: int) -> None:
        self.committed = [[] for _ in range(count)]
        await asyncio.gather(*(self._write(mine, index) for index, mine in enumerate(self.committed)))

    async def _write(self, mine: list[int], index: int) -> None:
        for number in itertools.count(index * 1_000_000):
            if self.is_stopping:
                return
            is_kept = self._draw.random() > 0.1
            async with self.database.system() as session:
                await emit(session, self.kind(number=number), user_id=self.person.user_id)
                await asyncio.sleep(self._draw.uniform(0, 0.03))
                if is_kept:
                    await session.commit()
                    mine.append(number)
            await asyncio.sleep(self._draw.uniform(0, 0.03))


@pytest.fixture
async def servers(database: Database, tmp_path: Path) -> AsyncIterator[list[Service]]:
    """Two servers over the test's database, as processes."""
    settings = get_settings()
    environment = {
        "ENVIRONMENT": "test",
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": database.engine.url.render_as_string(hide_password=False),
        "SECRET_KEYS": settings.key_ring_text(),
        "PUBLIC_URL": settings.api_url,
        "MAX_STREAMS": "100",
        "LIMIT_STREAM_OPEN": "10000/1m",
    }
    starting = (asyncio.to_thread(Service, **environment) for _ in range(2))
    running = list(await asyncio.gather(*starting))
    yield running
    for service in running:
        if service.process.returncode is None:
            await asyncio.to_thread(service.stop, signal.SIGKILL)


@pytest.mark.commits
@pytest.mark.fault
async def test_nothing_is_lost_doubled_or_disordered_when_servers_are_killed_and_drained(
    database: Database, servers: list[Service], alice: Persona, noticed: Any
) -> None:
    readers = [Reader(alice, servers, first=number % 2) for number in range(12)]
    following_on = [asyncio.create_task(reader.run()) for reader in readers]
    await until(lambda: all(reader.streams for reader in readers))
    writers = Writers(database, noticed, alice)
    writing = asyncio.create_task(writers.run(8))
    await until(lambda: writers.count > 150)
    await asyncio.to_thread(servers[0].stop, signal.SIGKILL)
    after = writers.count
    await until(lambda: writers.count > after + 150)
    writers.is_stopping = True
    await writing
    wanted = sorted(itertools.chain(*writers.committed))
    await until(lambda: all(len(reader.numbers) >= len(wanted) for reader in readers))
    code, _ = await asyncio.to_thread(servers[1].stop, signal.SIGTERM)
    assert code == 0
    await until(lambda: all(reader.byes and reader.streams[-1].is_over for reader in readers))
    for task in following_on:
        task.cancel()
    await asyncio.gather(*following_on, return_exceptions=True)
    for reader in readers:
        positions = [frame.position for frame in reader.frames]
        assert positions == sorted(set(positions))
        assert sorted(reader.numbers) == wanted
        for mine in writers.committed:
            assert [number for number in reader.numbers if number in set(mine)] == mine
        assert [bye.data for bye in reader.byes] == [{"code": "draining", "reconnect": True}]
        assert 500 <= (reader.byes[0].retry or 0) <= 5000
    assert sorted(len(reader.streams) for reader in readers) == [1] * 6 + [2] * 6
