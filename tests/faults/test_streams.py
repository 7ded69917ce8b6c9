"""Streams of two processes over one database while one of them, or the database, is killed under load."""

import asyncio
import itertools
import json
import os
import random
import shutil
import signal
import socket
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from httpx import AsyncClient, HTTPError

from app.core.config import get_settings
from app.core.database import Database, create_engine
from app.core.embedded import DURABLE, EmbeddedPostgres
from app.core.events import emit_all
from app.core.ids import uuid7
from app.core.migrations import upgrade
from app.services.products.events import ProductUpdated
from tests.support.personas import Persona, make_colleague, make_owner
from tests.support.server import UNLIMITED
from tests.support.service import Service
from tests.support.streams import STREAM, Followed, Frame, following

pytestmark = pytest.mark.fault

METRICS_TOKEN = "metrics-of-the-fault-tests"
WRITERS = 10
EVENTS_EACH = 10
"""Of one transaction; each writer makes ten of them a second."""


class Pair:
    """Two service processes over one database server, all of which may be killed."""

    def __init__(self, home: Path) -> None:
        self.postgres = EmbeddedPostgres(home / "postgres", settings=DURABLE)
        self.postgres.start()
        self.postgres.create_database("luneo")
        self.url = self.postgres.url("luneo")
        upgrade(self.url)
        self.services: list[Service] = []
        self._environment = {
            "ENVIRONMENT": "test",
            "DATA_DIR": str(home / "data"),
            "DATABASE_URL": self.url,
            "SECRET_KEYS": get_settings().key_ring_text(),
            "PUBLIC_URL": get_settings().api_url,
            "METRICS_TOKEN": METRICS_TOKEN,
            "MAX_STREAMS": "100",
            "LIMIT_STREAM_OPEN": "10000/1m",
            **UNLIMITED,
        }

    def start(self) -> None:
        """Start what does not run."""
        self.services = [one for one in self.services if one.process.returncode is None]
        while len(self.services) < 2:
            self.services.append(Service(**self._environment))

    def kill_database(self) -> None:
        """SIGKILL to the database server's first process, and wait until none of it is left."""
        first = psutil.Process(int((self.postgres.data.resolve() / "postmaster.pid").read_text().split()[0]))
        family = [first, *first.children(recursive=True)]
        os.kill(first.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=60)
        assert alive == []

    def destroy(self) -> None:
        for service in self.services:
            if service.process.returncode is None:
                service.stop(signal.SIGKILL)
        self.postgres.destroy()


@pytest.fixture(scope="module")
def one_pair() -> Iterator[Pair]:
    # Not pytest's own directory, which the account that the database server drops to could not enter.
    home = Path(tempfile.mkdtemp(prefix="luneo-pair-"))
    home.chmod(0o755)
    made = Pair(home)
    try:
        yield made
    finally:
        made.destroy()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def pair(one_pair: Pair) -> Pair:
    one_pair.start()
    return one_pair


@pytest.fixture
async def database(pair: Pair) -> AsyncIterator[Database]:
    """The database of the pair, for this process."""
    made = Database(create_engine(pair.url, pool_size=WRITERS + 2))
    yield made
    await made.dispose()


async def make_people(database: Database, *names: str) -> list[Persona]:
    """An owner, and colleagues who may look."""
    async with database.system() as session:
        owner = await make_owner(session, names[0])
        return [owner, *[await make_colleague(session, owner, name) for name in names[1:]]]


class Follower:
    """A client that follows for ever: whenever its stream ends, it goes on at the other server."""

    def __init__(self, person: Persona, pair: Pair, first: int) -> None:
        self.person = person
        self.parts: list[Followed] = []
        self.refusals: list[str] = []
        self._servers = list(pair.services)
        self._next = first

    @property
    def events(self) -> list[Frame]:
        """All that was received, in the order in which it came."""
        return [frame for part in self.parts for frame in part.events]

    @property
    def changes(self) -> list[tuple[str, int]]:
        """Of which product, and to which version."""
        told = [frame.data["data"] for frame in self.events if frame.kind == "product.updated"]
        return [(data["product_id"], data["version"]) for data in told]

    async def run(self) -> None:
        """Follow until cancelled, or until the server says that there is no way back."""
        while not self._is_sent_away():
            server = self._servers[self._next % len(self._servers)]
            try:
                async with AsyncClient(base_url=server.url, timeout=60, trust_env=False) as http:
                    await self._follow(http)
            except HTTPError:
                await asyncio.sleep(0.05)
            except AssertionError as error:
                self.refusals.append(str(error)[:3])
                if self.refusals[-1] == "401":
                    return
                await asyncio.sleep(0.05)
            self._next += 1

    async def _follow(self, http: AsyncClient) -> None:
        seen = [frame.id for part in self.parts for frame in part.frames if frame.id]
        resumed = {"Last-Event-ID": str(seen[-1])} if seen else {}
        async with following(http, {**self.person.headers, **resumed}) as stream:
            assert stream.frames[0].data["mode"] == ("replay" if resumed else "live")
            self.parts.append(stream)
            with suppress(AssertionError):
                await stream.until(lambda: stream.is_over, seconds=240)

    def _is_sent_away(self) -> bool:
        last = self.parts[-1].frames[-1] if self.parts else None
        return last is not None and last.kind == "bye" and not last.data["reconnect"]


class Writers:
    """Emit up to a thousand events a second, ten in a transaction, and roll some back."""

    def __init__(self, database: Database, organization_id: UUID) -> None:
        self.database = database
        self.organization_id = organization_id
        self.committed: dict[str, list[int]] = {}
        self.is_stopping = False

    @property
    def count(self) -> int:
        return sum(map(len, self.committed.values()))

    async def run(self) -> None:
        await asyncio.gather(*(self._write(random.Random(seed)) for seed in range(WRITERS)))

    async def _write(self, draw: random.Random) -> None:
        product_id = uuid7()
        mine = self.committed.setdefault(str(product_id), [])
        versions = itertools.count(1)
        due = time.monotonic() + draw.uniform(0, 0.1)
        while not self.is_stopping:
            await asyncio.sleep(due - time.monotonic())
            due += 0.1
            numbers = list(itertools.islice(versions, EVENTS_EACH))
            async with self.database.system() as session:
                for some in (numbers[:5], numbers[5:]):
                    batch = [changed(product_id, number) for number in some]
                    await emit_all(session, batch, organization_id=self.organization_id)
                    await asyncio.sleep(draw.uniform(0, 0.02))
                if draw.random() > 0.1:
                    await session.commit()
                    mine += numbers


def changed(product_id: UUID, version: int, name: str = "Sac") -> ProductUpdated:
    """An event that everybody in the organisation may read."""
    return ProductUpdated(
        product_id=product_id,
        sku="SAC",
        slug="sac",
        name=name,
        status="active",
        price=100,
        currency="EUR",
        stock=1,
        reserved=0,
        available=1,
        version=version,
        changed=["price"],
    )


async def until(condition: Any, *, seconds: float = 90) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)


def assert_whole(follower: Follower, committed: dict[str, list[int]]) -> None:
    """All that was committed came, once and in order, and nothing else."""
    positions = [frame.position for frame in follower.events]
    assert positions == sorted(set(positions))
    received: dict[str, list[int]] = {product_id: [] for product_id in committed}
    for product_id, version in follower.changes:
        received[product_id].append(version)
    assert received == committed


async def test_streams_when_a_server_is_killed_under_a_thousand_events_a_second(
    pair: Pair, database: Database
) -> None:
    alice, bob, dora = await make_people(database, "alice", "bob", "dora")
    staying = [Follower(person, pair, first) for person in (alice, bob) for first in (0, 1)]
    leaving = [Follower(dora, pair, first) for first in (0, 1)]
    tasks = [asyncio.create_task(follower.run()) for follower in (*staying, *leaving)]
    await until(lambda: all(follower.parts for follower in (*staying, *leaving)))
    writers = Writers(database, alice.organization_id)
    writing = asyncio.create_task(writers.run())
    await until(lambda: writers.count > 1000)
    async with AsyncClient(base_url=pair.services[1].url, timeout=60, trust_env=False) as http:
        gone = await http.delete(f"/api/settings/sessions/{dora.session_id}", headers=dora.headers)
    assert gone.status_code == 204, gone.text
    await until(lambda: all(task.done() for task in tasks[len(staying) :]))
    before = writers.count
    await until(lambda: writers.count > before + 1000)
    await asyncio.to_thread(pair.services[0].stop, signal.SIGKILL)
    before = writers.count
    await until(lambda: writers.count > before + 1500)
    writers.is_stopping = True
    await writing
    await until(lambda: all(len(follower.changes) >= writers.count for follower in staying))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for follower in staying:
        assert_whole(follower, writers.committed)
        assert {frame.kind for frame in follower.events} == {"product.updated"}
    assert sorted(len(follower.parts) for follower in staying) == [1, 1, 2, 2]
    for follower in leaving:
        # What had happened before came, then that the session has ended, and from then on nothing.
        assert [frame.kind for frame in follower.parts[-1].frames[-2:]] == ["session.revoked", "bye"]
        whole = [frame.position for frame in staying[0].events]
        end = follower.events[-1].position
        assert [frame.position for frame in follower.events[:-1]] == [one for one in whole if one < end]
        assert follower.refusals == []
    returning = Follower(dora, pair, 1)
    await asyncio.wait_for(returning.run(), 60)
    assert (returning.refusals, returning.parts) == (["401"], [])


class Sleeper:
    """A client that opens a stream and reads nothing until it is told to."""

    def __init__(self, service: Service, person: Persona) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.socket.connect(("127.0.0.1", service.port))
        head = (
            f"GET {STREAM} HTTP/1.1\r\nHost: test\r\nAuthorization: {person.headers['Authorization']}\r\n\r\n"
        )
        self.socket.sendall(head.encode())

    def read(self, count: int) -> list[int]:
        """The versions that the first so many events tell, read to the last of them; blocks."""
        versions: list[int] = []
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024 * 1024)
        self.socket.settimeout(60)
        with self.socket.makefile("rb") as lines:
            while len(versions) < count:
                line = lines.readline()
                assert line, f"the stream ended after {len(versions)} events"
                if line.startswith(b"data: ") and b'"product.updated"' in line:
                    versions.append(json.loads(line[6:])["data"]["version"])
        return versions


async def metric(service: Service, name: str) -> float:
    """The present value of a metric without labels."""
    async with AsyncClient(base_url=service.url, timeout=60, trust_env=False) as http:
        answer = await http.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    return next(float(line.split()[1]) for line in answer.text.splitlines() if line.startswith(f"{name} "))


@asynccontextmanager
async def asleep(service: Service, person: Persona, count: int) -> AsyncIterator[list[Sleeper]]:
    """Clients that do not read; their streams are open."""
    before = await metric(service, "luneo_streams_open")
    sleepers = [Sleeper(service, person) for _ in range(count)]
    try:
        async with asyncio.timeout(60):
            while await metric(service, "luneo_streams_open") < before + count:  # noqa: ASYNC110 - nobody says
                await asyncio.sleep(0.02)
        yield sleepers
    finally:
        for sleeper in sleepers:
            sleeper.socket.close()


async def test_readers_when_they_stop_reading_and_go_on(pair: Pair, database: Database) -> None:
    """What waits for them is bounded; the ten megabytes that each of them misses are not kept for it."""
    count, sleepers_count, filling = 500, 5, "x" * 20_000
    service = pair.services[1]
    (alice,) = await make_people(database, "amelie")
    process = psutil.Process(service.process.pid)

    async def wave(begin: int, quick: Followed) -> int:
        """Let events happen, and answer by how many bytes the process has grown once they were read."""
        before = process.memory_full_info().uss
        for number in range(begin, begin + count, 50):
            batch = [changed(alice.user_id, version, filling) for version in range(number, number + 50)]
            async with database.system() as session:
                await emit_all(session, batch, organization_id=alice.organization_id)
                await session.commit()
        await quick.until(lambda: len(quick.events) >= begin + count)
        return int(process.memory_full_info().uss - before)

    async with (
        AsyncClient(base_url=service.url, timeout=60, trust_env=False) as http,
        following(http, alice.headers) as quick,
    ):
        kept_for_all = await wave(0, quick)
        async with asleep(service, alice, sleepers_count) as sleepers:
            grown = await wave(count, quick)
            assert await metric(service, "luneo_streams_lagging") == sleepers_count
            assert grown - kept_for_all < sleepers_count * count * len(filling) / 2, (grown, kept_for_all)
            reading = [asyncio.to_thread(sleeper.read, count) for sleeper in sleepers]
            assert await asyncio.gather(*reading) == [list(range(count, 2 * count))] * sleepers_count
            assert await metric(service, "luneo_streams_lagging") == 0


class Customer:
    """Changes one product again and again, whatever is answered."""

    def __init__(self, http: AsyncClient, product: dict[str, Any]) -> None:
        self.http = http
        self.product_id = str(product["id"])
        self.version = int(product["version"])
        self.answers: Counter[int] = Counter()
        self.row = 0
        """So many of the newest requests have succeeded."""
        self.is_leaving = False

    async def run(self) -> None:
        """Until it is told to leave."""
        while not self.is_leaving:
            body = {"price": random.randrange(1, 10_000), "version": self.version}
            answer = await self.http.patch(f"/api/products/{self.product_id}", json=body)
            self.answers[answer.status_code] += 1
            self.row = self.row + 1 if answer.status_code == 200 else 0
            if answer.status_code == 409:
                # The answer to a change was lost that had been committed.
                answer = await self.http.get(f"/api/products/{self.product_id}")
            if answer.status_code == 200:
                self.version = answer.json()["version"]
            await asyncio.sleep(0.02)


async def test_streams_and_requests_when_the_database_is_killed_and_comes_back(
    pair: Pair, database: Database
) -> None:
    (alice,) = await make_people(database, "astrid")
    followers = [Follower(alice, pair, first) for first in (0, 1)]
    tasks = [asyncio.create_task(follower.run()) for follower in followers]
    await until(lambda: all(follower.parts for follower in followers))
    customers = []
    for number in range(6):
        url = pair.services[number % 2].url
        http = AsyncClient(base_url=url, headers=alice.headers, timeout=60, trust_env=False)
        body = {"name": f"Bag {number}", "price": 100, "currency": "EUR", "status": "active"}
        customers.append(Customer(http, (await http.post("/api/products", json=body)).json()))
    running = [asyncio.create_task(customer.run()) for customer in customers]
    await until(lambda: all(customer.row > 10 for customer in customers))
    await asyncio.to_thread(pair.kill_database)
    await until(lambda: all(customer.answers[503] for customer in customers))
    await asyncio.to_thread(pair.postgres.start)
    await until(lambda: all(customer.row > 10 for customer in customers))
    for customer in customers:
        customer.is_leaving = True
    await asyncio.gather(*running)
    for customer in customers:
        assert set(customer.answers) <= {200, 409, 503}, customer.answers
        await customer.http.aclose()
    async with database.system(autocommit=True) as session:
        connection = await session.connection()
        rows = await connection.exec_driver_sql("SELECT id::text, version FROM products")
        versions = {row.id: row.version for row in rows}
    # Each change that is in the table was told of, once, in order, over the streams that were open all along.
    wanted = {one.product_id: list(range(2, versions[one.product_id] + 1)) for one in customers}
    count = sum(map(len, wanted.values()))
    await until(lambda: all(len(follower.changes) >= count for follower in followers))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for follower in followers:
        assert_whole(follower, wanted)
        assert len(follower.parts) == 1
