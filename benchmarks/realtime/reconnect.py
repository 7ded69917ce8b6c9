"""`reconnect`: what it takes when a thousand streams of a killed process come back to another one at once."""

import argparse
import asyncio
import json
import re
from collections import Counter
from uuid import UUID

import asyncpg
import uvloop

from app.core.ids import uuid7
from benchmarks.realtime.clients import RefusedError, Stream, open_stream
from benchmarks.realtime.ground import Ground, Watch, ground, milliseconds, report
from benchmarks.realtime.people import House, settle
from benchmarks.runner import Program, say

OPENED_TOGETHER = 50
TRIES = 20
NODE = "bench_node"
"""The role of the process that is returned to: the database server writes down its statements."""

RECORD = re.compile(rf"^{NODE} .*?(?=^\w+ |\Z)", re.MULTILINE | re.DOTALL)

KINDS = {
    "replay": re.compile(r"FROM unnest\(CAST\(.*event_log l", re.DOTALL),
    "opening": re.compile(r"resume_floor AS floor"),
    "access": re.compile(r"FROM sessions s"),
    "follow": re.compile(r"event_log\.pos > "),
    "sequencer": re.compile(r"sequence_events|sequenced_at - occurred_at"),
    "queue": re.compile(r"procrastinate"),
    "settings": re.compile(r"statement: (SET|BEGIN|COMMIT|ROLLBACK|SELECT 1|show)", re.IGNORECASE),
}
"""What a statement is for, by words in it."""

EMIT = """
    INSERT INTO event_outbox (event_id, type, audience, topic, organization_id, actor_type, body)
      SELECT event_id, 'product.updated', 'organization', 'org:' || $2::uuid, $2::uuid, 'system', $3
      FROM unnest($1::uuid[]) AS e (event_id)
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--streams", type=int, default=1000, help="streams that return (1000)")
    parser.add_argument("--missed", type=int, default=200, help="events that each has missed (200)")


def measure(options: argparse.Namespace) -> None:
    """Print one line."""
    with ground(log_line_prefix="%u ") as here:
        asyncio.run(_make_role(here))
        most = {"MAX_STREAMS_PER_PROCESS": str(options.streams)}
        nodes = [here.serve("left", **most), here.serve("returned-to", role=NODE, **most)]
        house = asyncio.run(settle(here.url, members=options.streams, products=1))
        for node in nodes:
            node.wait()
        uvloop.run(_run(here, nodes, house, options))


async def _make_role(here: Ground) -> None:
    connection = await asyncpg.connect(here.url)
    await connection.execute(f"CREATE ROLE {NODE} LOGIN SUPERUSER")
    await connection.execute(f"ALTER ROLE {NODE} SET log_statement = 'all'")
    await connection.close()


async def _run(here: Ground, nodes: list[Program], house: House, options: argparse.Namespace) -> None:
    before, after = nodes
    connection = await asyncpg.connect(here.url)
    await _emit(connection, house, 10)
    streams: list[Stream] = []
    for begin in range(0, len(house.members), OPENED_TOGETHER):
        some = house.members[begin : begin + OPENED_TOGETHER]
        streams += await asyncio.gather(*(open_stream(before.url, member.token) for member in some))
    say(f"{len(streams)} streams are open")
    await _emit(connection, house, 20)
    await asyncio.sleep(1)
    before.process.kill()
    before.process.wait()
    await _emit(connection, house, options.missed)
    await asyncio.sleep(1)
    written, watch, cpu = here.database_log.stat().st_size, Watch(), after.cpu()
    time = asyncio.get_running_loop().time
    began = time()
    refusals: Counter[int] = Counter()
    returning = [
        _come_back(after.url, member.token, stream.cursor, refusals)
        for member, stream in zip(house.members, streams, strict=True)
    ]
    returned = await asyncio.gather(*returning)
    seconds = time() - began
    expected = [row["pos"] for row in await connection.fetch("SELECT pos FROM event_log ORDER BY pos")]
    await connection.close()
    whole = [
        [*old.positions, *new.positions] == expected[10:]
        for old, (new, _) in zip(streams, returned, strict=True)
    ]
    report(
        "reconnect",
        watch,
        streams=len(streams),
        missed_each=options.missed,
        whole_streams=sum(whole),
        refusals=refusals,
        all_synced_s=round(seconds, 2),
        synced=milliseconds([at - began for _, at in returned]),
        node_cpu_s=round(after.cpu() - cpu, 2),
        statements=_count(here, written),
        complaints=here.complaints()[:5],
    )
    for stream, _ in returned:
        stream.leave()


async def _come_back(url: str, token: str, cursor: str, refusals: Counter[int]) -> tuple[Stream, float]:
    """The stream once it is synced, and when that was; whoever is refused tries again after a second."""
    for _ in range(TRIES):
        try:
            stream = await open_stream(url, token, cursor)
            await stream.until("synced")
        except RefusedError as error:
            refusals[error.args[0]] += 1
            await asyncio.sleep(1)
        else:
            return stream, asyncio.get_running_loop().time()
    raise SystemExit(f"a stream was not let in: {refusals}")


async def _emit(connection: asyncpg.Connection, house: House, count: int) -> None:
    """Let events of the organisation happen, and be in the log."""
    body = {
        "id": str(uuid7()),
        "type": "product.updated",
        "data": {"name": "Sac de voyage", "text": "x" * 500},
    }
    event_ids: list[UUID] = [uuid7() for _ in range(count)]
    await connection.execute(EMIT, event_ids, house.organization_id, json.dumps(body))
    while await connection.fetchval("SELECT count(*) FROM event_outbox"):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.02)


def _count(here: Ground, begin: int) -> dict[str, int]:
    """The statements of the process since that place in the server's log, by what they are for."""
    with here.database_log.open("rb") as log:
        log.seek(begin)
        text = log.read().decode()
    counted: Counter[str] = Counter({"replay": 0})
    for record in RECORD.findall(text):
        if " LOG:  statement: " in record or " LOG:  execute " in record:
            kind = next((kind for kind, words in KINDS.items() if words.search(record)), "other")
            counted[kind] += 1
    return dict(counted)
