"""`commits`: what an event costs the transaction that emits it, and what a NOTIFY in each would cost."""

import argparse
import asyncio
import re
import subprocess
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg

from app.core.database import Database, create_engine
from app.core.embedded.programs import find_programs
from app.core.events import EventOutbox, emit
from app.core.ids import uuid7
from app.services.products.events import ProductUpdated
from benchmarks.realtime.ground import Ground, Watch, ground, report
from benchmarks.runner import say

ROWS = 10_000
"""Rows that are read and changed; so many that clients seldom wait for each other's."""

TABLES = f"""
    CREATE TABLE bench_rows (id int PRIMARY KEY, value int NOT NULL, text text NOT NULL);
    CREATE TABLE bench_changes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, row_id int, value int);
    INSERT INTO bench_rows SELECT n, 0, repeat('x', 200) FROM generate_series(1, {ROWS}) AS n;
    CREATE TABLE bench_event AS SELECT * FROM event_outbox WITH NO DATA;
    ALTER TABLE bench_event DROP COLUMN id;
"""

WORK = f"""
\\set id random(1, {ROWS})
BEGIN;
SELECT value, text FROM bench_rows WHERE id = :id;
UPDATE bench_rows SET value = value + 1 WHERE id = :id;
INSERT INTO bench_changes (row_id, value) VALUES (:id, 1);
"""

EMIT = "INSERT INTO event_outbox ({columns}) SELECT {values} FROM bench_event;\n"
NOTIFY = "SELECT pg_notify('bench_changes', :id::text);\n"
TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)

LEFT = "SELECT count(*) FROM event_outbox"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 64], help="clients at once (8 64)")
    parser.add_argument("--disk-ms", type=int, default=0, help="how much longer a commit takes on disk (0)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the three kinds (5)")
    parser.add_argument("--seconds", type=int, default=4, help="seconds of each kind in a round (4)")


def measure(options: argparse.Namespace) -> None:
    """Print a line for each number of clients: transactions per second, medians of the rounds."""
    slow = {"commit_delay": str(options.disk_ms * 1000), "commit_siblings": "0"} if options.disk_ms else {}
    with ground(**slow) as here:
        node = here.serve("node")
        scripts = asyncio.run(_prepare(here))
        node.wait()
        for clients in options.clients:
            asyncio.run(_compare(here, scripts, clients, options))


async def _prepare(here: Ground) -> dict[str, Path]:
    """The tables, and the transaction of each kind as a script of pgbench."""
    connection = await asyncpg.connect(here.url)
    await connection.execute(TABLES)
    await _draw_event(here)
    names = [
        column.name for column in EventOutbox.__table__.columns if column.name not in ("id", "occurred_at")
    ]
    values = ["uuidv7()" if name == "event_id" else name for name in names]
    emitting = EMIT.format(columns=", ".join(names), values=", ".join(values))
    await connection.execute("ANALYZE")
    await connection.close()
    kinds = {
        "plain": WORK,
        "emit": WORK + emitting,
        "notify": WORK + emitting + NOTIFY,
    }
    scripts = {}
    for kind, text in kinds.items():
        scripts[kind] = here.home / f"{kind}.sql"
        scripts[kind].write_text(text + "COMMIT;\n")
    return scripts


async def _draw_event(here: Ground) -> None:
    """Keep one row as `emit` makes it, for the scripts to insert."""
    event = ProductUpdated(
        product_id=uuid7(),
        sku="SAC-1",
        slug="sac-1",
        name="Sac de voyage",
        status="active",
        price=12_000,
        currency="EUR",
        stock=100,
        reserved=3,
        available=97,
        version=7,
        changed=["price"],
    )
    database = Database(create_engine(here.url, pool_size=1))
    async with database.transaction() as session:
        event_id: UUID = await emit(session, event, organization_id=uuid7())
        kept = await session.connection()
        names = ", ".join(column.name for column in EventOutbox.__table__.columns if column.name != "id")
        await kept.exec_driver_sql(
            f"INSERT INTO bench_event ({names}) SELECT {names} FROM event_outbox WHERE event_id = '{event_id}'"
        )
    await database.dispose()


async def _compare(here: Ground, scripts: dict[str, Path], clients: int, options: argparse.Namespace) -> None:
    """Rounds of one kind after the other, so that whatever else the machine does meets all alike."""
    listener = await asyncpg.connect(here.url)
    await listener.add_listener("bench_changes", lambda *_: None)
    watch = Watch()
    found: dict[str, list[float]] = {kind: [] for kind in scripts}
    drained = []
    for _ in range(options.rounds):
        for kind, script in scripts.items():
            rate = await asyncio.to_thread(_run, here, script, clients, options.seconds)
            found[kind].append(rate)
            drained.append(await _drain(listener))
            say(f"{clients} clients, {kind}: {rate:.0f}/s, the log {drained[-1]:.2f} s behind")
    await listener.close()
    rates = {kind: median(values) for kind, values in found.items()}
    ratios = {kind: _ratio(found["emit"], found[kind]) for kind in ("plain", "notify")}
    report(
        "commits",
        watch,
        clients=clients,
        disk_ms=options.disk_ms,
        rounds=options.rounds,
        per_second={kind: round(rate) for kind, rate in rates.items()},
        emit_to_plain=ratios["plain"],
        emit_to_notify=ratios["notify"],
        drained_s=round(max(drained), 2),
        complaints=here.complaints()[:5],
    )


def _ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """The ratio of each round: their median, and the ends."""
    ratios = sorted(mine / other for mine, other in zip(ours, theirs, strict=True))
    ends = {"median": median(ratios), "least": ratios[0], "most": ratios[-1]}
    return {name: round(value, 2) for name, value in ends.items()}


def _run(here: Ground, script: Path, clients: int, seconds: int) -> float:
    """Transactions per second of one run of pgbench."""
    command = [str(find_programs() / "pgbench"), "-n", "-M", "prepared", "-f", str(script)]
    command += ["-c", str(clients), "-j", "1", "-T", str(seconds), here.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)  # noqa: S603
    rate = TPS.search(done.stdout)
    if rate is None:
        raise SystemExit(done.stdout + done.stderr)
    return float(rate[1])


async def _drain(connection: "asyncpg.Connection[Any]") -> float:
    """Wait until the sequencer has taken everything; how long that took, in seconds."""
    time = asyncio.get_running_loop().time
    began = time()
    while await connection.fetchval(LEFT):
        if time() - began > 60:
            raise SystemExit("the sequencer does not keep up")
        await asyncio.sleep(0.02)
    return time() - began
