"""`stream`: how long after a POST its event is with two hundred readers at two processes."""

import argparse
import asyncio
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import uvloop

from benchmarks.realtime.clients import Caller, Stream, open_stream
from benchmarks.realtime.ground import Ground, Watch, ground, milliseconds, report
from benchmarks.realtime.people import House, settle
from benchmarks.runner import Program, say

WRITERS = 20
WARM_UP_SECONDS = 3.0
PATIENCE = 15.0

LOGGED = """
    SELECT pos, object_id || ' ' || (body::jsonb #>> '{data,version}') AS change,
           extract(epoch FROM sequenced_at - occurred_at)::float8 AS to_log
    FROM event_log WHERE pos > $1 AND type = 'product.updated' ORDER BY pos
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--streams", type=int, default=200, help="streams, half at each process (200)")
    parser.add_argument("--rate", type=int, default=100, help="changes per second (100)")
    parser.add_argument("--seconds", type=float, default=60, help="how long (60)")
    parser.add_argument(
        "--wake", choices=["listen", "poll", "both"], default="both", help="EVENTS_WAKE (both)"
    )


def measure(options: argparse.Namespace) -> None:
    """Print a line for each way in which hubs learn of events."""
    for wake in ("listen", "poll") if options.wake == "both" else (options.wake,):
        with ground() as here:
            nodes = [here.serve(f"node-{number}", EVENTS_WAKE=wake) for number in (1, 2)]
            house = asyncio.run(settle(here.url, members=options.streams, products=WRITERS))
            for node in nodes:
                node.wait()
            uvloop.run(_run(here, nodes, house, wake, options))


@dataclass
class Changes:
    """What the writers have sent: when, by product and version, and how long the answers took."""

    sent: dict[str, float] = field(default_factory=dict)
    answered: list[float] = field(default_factory=list)
    late: int = 0
    """Changes that could not begin within 100 ms of their time."""


async def _run(
    here: Ground, nodes: list[Program], house: House, wake: str, options: argparse.Namespace
) -> None:
    versions = dict.fromkeys(house.products, 1)
    await _write(nodes, house, versions, rate=options.rate, seconds=WARM_UP_SECONDS)
    connection = await asyncpg.connect(here.url)
    opening = (
        open_stream(nodes[number % 2].url, member.token) for number, member in enumerate(house.members)
    )
    streams = await asyncio.gather(*opening)
    await asyncio.sleep(1)
    begin = await connection.fetchval("SELECT max(pos) FROM event_log")
    say(f"{wake}: {len(streams)} streams are open")
    watch, cpu = Watch(), [node.cpu() for node in nodes]
    changes = await _write(nodes, house, versions, rate=options.rate, seconds=options.seconds)
    shares = [(node.cpu() - before) / options.seconds for node, before in zip(nodes, cpu, strict=True)]
    await asyncio.sleep(0.2)
    logged = await connection.fetch(LOGGED, begin)
    await connection.close()
    await _until_read(streams, len(logged))
    report(
        "stream",
        watch,
        wake=wake,
        streams=len(streams),
        seconds=options.seconds,
        changes=len(changes.sent),
        late_changes=changes.late,
        node_cores=[round(share, 2) for share in shares],
        answer=milliseconds(changes.answered),
        to_log=milliseconds([row["to_log"] for row in logged]),
        **_judge(streams, changes, logged),
        complaints=here.complaints()[:5],
    )
    for stream in streams:
        stream.leave()


async def _write(
    nodes: list[Program], house: House, versions: dict[str, int], *, rate: int, seconds: float
) -> Changes:
    """Change products at a steady rate over both processes."""
    changes, time = Changes(), asyncio.get_running_loop().time
    begin = time() + 0.1
    interval = len(versions) / rate

    async def change(number: int, product: str) -> None:
        caller = await Caller.connect(nodes[number % 2].url, house.owner.token)
        turn = 0
        while (due := number / rate + turn * interval) < seconds:
            await asyncio.sleep(begin + due - time())
            turn += 1
            now = time()
            changes.late += now - begin - due > 0.1
            changes.sent[f"{product} {versions[product] + 1}"] = now
            body = {"price": 10_000 + versions[product], "version": versions[product]}
            versions[product] = (await caller.send("PATCH", f"/api/products/{product}", body))["version"]
            changes.answered.append(time() - now)
        caller.close()

    async with asyncio.TaskGroup() as group:
        for number, product in enumerate(versions):
            group.create_task(change(number, product))
    return changes


async def _until_read(streams: list[Stream], count: int) -> None:
    """Give the last events some time."""
    until = asyncio.get_running_loop().time() + PATIENCE
    while any(len(stream.positions) < count for stream in streams):
        if asyncio.get_running_loop().time() > until:
            return
        await asyncio.sleep(0.1)


def _judge(streams: list[Stream], changes: Changes, logged: list[Any]) -> dict[str, Any]:
    """Whether everybody got everything once and in order, and how long after its POST."""
    expected = [row["pos"] for row in logged]
    sent = [changes.sent[row["change"]] for row in logged]
    whole = [stream for stream in streams if list(stream.positions) == expected]
    delays = [
        received - began for stream in whole for began, received in zip(sent, stream.times, strict=True)
    ]
    return {
        "logged": len(expected),
        "delivered": sum(len(stream.positions) for stream in streams),
        "whole_streams": len(whole),
        "is_whole": len(whole) == len(streams) and len(expected) == len(changes.sent),
        "receipt": milliseconds(delays) if delays else None,
    }
