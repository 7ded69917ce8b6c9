"""`sequence`: whether the log is whole, in order and quick, also beside a transaction that stays open."""

import argparse
import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg
import uvloop

from app.core.ids import uuid7
from benchmarks.realtime.ground import Ground, Watch, ground, milliseconds, report
from benchmarks.runner import say

WRITERS = 24
LONGEST_PAUSE = 0.03
ROLLED_BACK = 0.1
ROOMS = 12
PATIENCE = 20.0

TABLES = f"""
    CREATE TABLE bench_rooms (id int PRIMARY KEY, seq bigint NOT NULL);
    INSERT INTO bench_rooms SELECT n, 0 FROM generate_series(0, {ROOMS - 1}) AS n;
"""

EMIT = """
    INSERT INTO event_outbox (event_id, type, audience, topic, actor_type, body)
      VALUES ($1, 'bench.written', 'internal', 'internal', 'system', $2)
"""

NEXT_IN_ROOM = "UPDATE bench_rooms SET seq = seq + 1 WHERE id = $1 RETURNING seq"
FOLLOW = "SELECT pos, event_id FROM event_log WHERE pos > $1 ORDER BY pos LIMIT 1000"
LOG = "SELECT pos, event_id FROM event_log ORDER BY pos"
LEFT = "SELECT count(*) FROM event_outbox"

KINDS = {
    "none": None,
    "reading": "SELECT count(*) FROM bench_rooms",
    "writing": "INSERT INTO bench_rooms VALUES (-1, 0)",
}
"""What the transaction that stays open has done first; one that writes holds back the sequencer's floor."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--seconds", type=float, default=35, help="how long each run writes (35)")
    parser.add_argument("--open", type=float, default=30, help="how long the transaction stays open (30)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="transactions (all)")


def measure(options: argparse.Namespace) -> None:
    """Print a line for each kind of transaction that stays open meanwhile."""
    for kind in options.kinds:
        with ground() as here:
            nodes = [here.serve(f"node-{number}") for number in (1, 2)]
            for node in nodes:
                node.wait()
            uvloop.run(_run(here, kind, options))


@dataclass
class Written:
    """What the writers know: the events of each writer in order, of each room, and of lost transactions."""

    committed: dict[UUID, float] = field(default_factory=dict)
    by_writer: dict[int, list[UUID]] = field(default_factory=dict)
    by_room: dict[int, list[tuple[int, UUID]]] = field(default_factory=dict)
    rolled_back: set[UUID] = field(default_factory=set)


class Follower:
    """Reads the log as a hub does, from its last position on; notes when it saw what."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self.connection = connection
        self.seen: list[tuple[int, UUID]] = []
        self.times: dict[UUID, float] = {}
        self._hint = asyncio.Event()
        self._time = asyncio.get_running_loop().time

    async def follow(self) -> None:
        """Until it is cancelled."""
        await self.connection.add_listener("luneo_events", lambda *_: self._hint.set())
        while True:
            self._hint.clear()
            rows = await self.connection.fetch(FOLLOW, self.seen[-1][0] if self.seen else 0)
            now = self._time()
            for pos, event_id in rows:
                self.seen.append((pos, event_id))
                self.times[event_id] = now
            if len(rows) < 1000:
                await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(0.02):
                await self._hint.wait()
        except TimeoutError:
            pass


async def _run(here: Ground, kind: str, options: argparse.Namespace) -> None:
    watcher, reading = [await asyncpg.connect(here.url) for _ in range(2)]
    await watcher.execute(TABLES)
    follower, written = Follower(reading), Written()
    following = asyncio.create_task(follower.follow())
    time = asyncio.get_running_loop().time
    say(f"{kind}: writing for {options.seconds:.0f} s")
    watch, end = Watch(), time() + options.seconds
    async with asyncio.TaskGroup() as group:
        if KINDS[kind]:
            group.create_task(_stay_open(here, kind, options.open, written))
        for writer in range(WRITERS):
            group.create_task(_write(here, writer, written, lambda: time() > end))
    await _settle(watcher, follower, written)
    following.cancel()
    log = [tuple(row) for row in await watcher.fetch(LOG)]
    delays = [follower.times[one] - at for one, at in written.committed.items() if one in follower.times]
    report(
        "sequence",
        watch,
        open_transaction=kind,
        seconds=options.seconds,
        events=len(written.committed),
        per_second=round(len(written.committed) / options.seconds),
        commit_to_seen=milliseconds(delays),
        **_judge(log, follower, written),
        complaints=here.complaints()[:5],
    )


async def _write(here: Ground, writer: int, written: Written, is_over: Callable[[], bool]) -> None:
    """Transactions of two events with a pause between; the second is that of a room, under its row lock."""
    draw, time = random.Random(writer), asyncio.get_running_loop().time  # noqa: S311 - no secret
    connection = await asyncpg.connect(here.url)
    mine = written.by_writer.setdefault(writer, [])
    while not is_over():
        first, second, room = uuid7(), uuid7(), draw.randrange(ROOMS)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(EMIT, first, "{}")
        await asyncio.sleep(draw.uniform(0, LONGEST_PAUSE))
        seq = await connection.fetchval(NEXT_IN_ROOM, room)
        await connection.execute(EMIT, second, "{}")
        if draw.random() < ROLLED_BACK:
            await transaction.rollback()
            written.rolled_back |= {first, second}
            continue
        await transaction.commit()
        written.committed |= dict.fromkeys((first, second), time())
        mine += [first, second]
        written.by_room.setdefault(room, []).append((seq, second))
    await connection.close()


async def _stay_open(here: Ground, kind: str, seconds: float, written: Written) -> None:
    """Do something, emit nothing for long, then emit and commit."""
    connection = await asyncpg.connect(here.url)
    event_id = uuid7()
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute(str(KINDS[kind]))
        if kind == "writing":
            await connection.execute(EMIT, event_id, "{}")
        await asyncio.sleep(seconds)
    if kind == "writing":
        written.committed[event_id] = asyncio.get_running_loop().time()
    await connection.close()


async def _settle(connection: "asyncpg.Connection[Any]", follower: Follower, written: Written) -> None:
    """Wait until the outbox is empty and the follower has seen all."""
    until = asyncio.get_running_loop().time() + PATIENCE
    while await connection.fetchval(LEFT) or len(follower.seen) < len(written.committed):
        if asyncio.get_running_loop().time() > until:
            return
        await asyncio.sleep(0.05)


def _judge(log: list[tuple[int, UUID]], follower: Follower, written: Written) -> dict[str, int]:
    """How often the log broke a promise: all zero when it kept them."""
    place = {event_id: pos for pos, event_id in log}
    errors = 0
    for mine in written.by_writer.values():
        places = [place.get(event_id, 0) for event_id in mine]
        errors += sum(later <= earlier for earlier, later in pairwise(places))
    for room in written.by_room.values():
        places = [place.get(event_id, 0) for _, event_id in sorted(room)]
        errors += sum(later <= earlier for earlier, later in pairwise(places))
    return {
        "lost": len(written.committed.keys() - place.keys()),
        "doubled": len(log) - len(place),
        "rolled_back_seen": len(written.rolled_back & place.keys()),
        "not_seen_by_follower": len(set(log) - set(follower.seen)),
        "out_of_order": errors + (follower.seen != sorted(follower.seen)),
    }
