"""Measures the service against the floor and prints how they compare: `python -m benchmarks.runner`."""

import argparse
import asyncio
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.comparing import Measurement, Verdict, judge, table
from benchmarks.workloads import WORKLOADS, Workload, check, write_requests

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("floor", "service")
NO_LIMIT = "999999999/1m"
PATIENCE = 60

POSTGRES = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "shared_buffers": "512MB",
    "synchronous_commit": "off",
    "wal_level": "minimal",
}
"""The disk is left out: it is the same for both, and hides what the programs cost."""


@dataclass(frozen=True)
class Mode:
    """How much is done."""

    owners: int
    orders: int
    rounds: int
    seconds: float
    warm_up: float


MODES = {
    "quick": Mode(owners=100, orders=20_000, rounds=5, seconds=1, warm_up=1),
    "full": Mode(owners=1_000, orders=200_000, rounds=7, seconds=4, warm_up=3),
}


class Program:
    """A server process on loopback."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.port = _free_port()
        filled = [part.format(port=self.port) for part in command]
        with log.open("wb") as output:
            self.process = psutil.Popen(
                filled,
                cwd=ROOT,
                env={**_plain(), **environment, "PORT": str(self.port)},
                stdout=output,
                stderr=output,
            )
        self.log = log

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        """Wait until it listens."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise SystemExit(f"{self.name} did not start:\n{self.log.read_text()[-3000:]}")

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def stop(self) -> None:
        """End it, as an operator would, unless it has ended by itself."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except psutil.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def main() -> int:
    """Seed, start, measure, print."""
    options = _options()
    if shutil.which("wrk") is None:
        sys.stderr.write("The load is made by wrk, which is missing: apt-get install wrk\n")
        return 2
    mode = MODES[options.mode]
    # Asked before anything of ours runs: it says how busy others keep the machine.
    machine = _machine()
    with ExitStack() as stack:
        home = options.data or Path(stack.enter_context(scratch()))
        home.mkdir(parents=True, exist_ok=True)
        # PostgreSQL runs as another account where this is run by root, and has to reach its directory.
        home.chmod(0o755)
        configure(home)
        url = stack.enter_context(database(home, mode))
        say(f"{mode.owners} owners, {mode.orders} orders, {mode.rounds} rounds of {mode.seconds} s")
        programs = [stack.enter_context(running(name, url, home)) for name in PROGRAMS]
        workloads = [w for w in WORKLOADS if w.name in options.only]
        files = {w.name: home / f"{w.name}.requests" for w in workloads}
        write_requests(url, files)
        for program in programs:
            program.wait()
        for workload in workloads:
            check(workload, files[workload.name], *(program.url for program in programs))
        say("both programs give the same answers")
        verdicts = _measure(workloads, files, programs, mode, options.connections)
    report: dict[str, Any] = {"date": time.strftime("%Y-%m-%d %H:%M"), "machine": machine}
    report |= {"mode": options.mode, "connections": options.connections}
    report["workloads"] = [verdict.as_dict() for verdict in verdicts]
    sys.stdout.write(table(verdicts) + "\n" + json.dumps(report, indent=2) + "\n")
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if all(verdict.is_met for verdict in verdicts) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runner", description=__doc__)
    parser.add_argument("mode", nargs="?", choices=sorted(MODES), default="quick")
    parser.add_argument("--connections", type=int, default=16, help="connections of wrk (16)")
    parser.add_argument("--data", type=Path, help="directory whose data are kept and used again")
    parser.add_argument("--json", type=Path, help="file for the report, besides standard output")
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="workloads")
    return parser.parse_args()


def _measure(
    workloads: list[Workload], files: dict[str, Path], programs: list[Program], mode: Mode, connections: int
) -> list[Verdict]:
    """Rounds of A B A B, so that whatever else the machine does meets both alike."""
    verdicts = []
    for workload in workloads:
        file = files[workload.name]
        for program in programs:
            _load(program, file, mode.warm_up, connections)
        found: dict[str, list[Measurement]] = {program.name: [] for program in programs}
        for _ in range(mode.rounds):
            for program in programs:
                found[program.name].append(_load(program, file, mode.seconds, connections))
        verdicts.append(judge(workload, found["floor"], found["service"]))
        say(verdicts[-1].line())
    return verdicts


def _load(program: Program, file: Path, seconds: float, connections: int) -> Measurement:
    """What one run of wrk finds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    command += ["-s", str(ROOT / "benchmarks" / "load.lua"), program.url, "--", str(file)]
    before = program.cpu()
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + PATIENCE, check=True)  # noqa: S603
    used = program.cpu() - before
    found: dict[str, Any] = json.loads(done.stderr)
    if found["refused"] or found["broken"]:
        raise SystemExit(f"{program.name}: {found}\n{program.log.read_text()[-3000:]}")
    return Measurement(
        rate=found["requests"] / found["seconds"],
        cpu_us=used / found["requests"] * 1e6,
        p50_us=found["p50"],
        p99_us=found["p99"],
    )


def configure(home: Path) -> None:
    """Settle the settings that this process and the service share."""
    from app.core.config import use_settings  # noqa: PLC0415 - the settings name the directory of this run

    use_settings(environment="test", data_dir=home / "service", public_url="http://127.0.0.1")


@contextmanager
def database(home: Path, mode: Mode) -> Iterator[str]:
    """The address of a filled database in a real PostgreSQL behind a Unix socket."""
    from app.core.embedded import EmbeddedPostgres  # noqa: PLC0415 - as above
    from app.core.migrations import code_heads, upgrade  # noqa: PLC0415 - as above
    from benchmarks.seeding import seed  # noqa: PLC0415 - as above

    server = EmbeddedPostgres(home / "postgres", settings=POSTGRES, die_with_parent=True)
    server.start()
    try:
        heads = "_".join(sorted(head.replace("-", "_") for head in code_heads()))
        name = f"load_{mode.owners}_{mode.orders}_{heads}".lower()[:63]
        url = server.url(name, driver="")
        filled = home / f"{name}.filled"
        if not filled.exists():
            server.create_database(name)
            upgrade(server.url(name))
            began = time.monotonic()
            asyncio.run(seed(url, owners=mode.owners, orders=mode.orders))
            say(f"seeded in {time.monotonic() - began:.0f} s")
            filled.touch()
        yield url
    finally:
        server.stop()


@contextmanager
def running(name: str, url: str, home: Path) -> Iterator[Program]:
    program = Program(name, *_started_by(name, url, home), home / f"{name}.log")
    try:
        yield program
    finally:
        program.stop()


def _started_by(name: str, url: str, home: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a program."""
    from app.core.crypto import key_ring  # noqa: PLC0415 - the settings name the directory of this run

    if name == "floor":
        command = [sys.executable, "-m", "uvicorn", "benchmarks.floor:app", "--port", "{port}"]
        command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        key = key_ring().derive("jwt", key_ring().newest).hex()
        return command, {"FLOOR_KEY": key, "FLOOR_DATABASE_URL": url}
    # Everything is on, but no caller meets a limit and no line is written per request.
    limits = {f"LIMIT_{name}": NO_LIMIT for name in ("SESSION", "ORDERS_READ", "ORDERS_CREATE")}
    return [sys.executable, "-m", "benchmarks.service", "serve"], {
        "ENVIRONMENT": "test",
        "DATA_DIR": str(home / "service"),
        "DATABASE_URL": url,
        "PUBLIC_URL": "http://127.0.0.1",
        "LOG_LEVEL": "WARNING",
        "WORKER": "external",
        **limits,
    }


@contextmanager
def scratch() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="luneo-bench-") as folder:
        yield folder


def _plain() -> dict[str, str]:
    """The environment of this process without settings of the service."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _machine() -> str:
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} CPUs, Python {platform.python_version()}, load {load:.1f} before"


def say(line: str) -> None:
    """Tell how far it is, apart from the result."""
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
