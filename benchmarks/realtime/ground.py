"""Where realtime is measured: one PostgreSQL, service processes over it, and who else uses the machine."""

import base64
import json
import platform
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from app.core.config import use_settings
from app.core.embedded import DURABLE, EmbeddedPostgres
from app.core.migrations import upgrade
from app.core.runtime import DATABASE
from benchmarks.runner import NO_LIMIT, Program

UNLIMITED = {
    f"LIMIT_{name}": NO_LIMIT
    for name in ("SESSION", "PRODUCTS_READ", "PRODUCTS_WRITE", "STREAM_OPEN", "STREAM_OPEN_IP")
}
"""The load is made by few callers, and no single one may make so much."""


QUIET_SECONDS = 3.0
QUIET_CORES = 0.2

KEYS = f"b1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
"""The key ring of this run, in all its processes."""


class Ground:
    """A database server and the processes over it, in one directory; ends only what it has started."""

    def __init__(self, home: Path, server: EmbeddedPostgres) -> None:
        self.home = home
        self.server = server
        self.programs: list[Program] = []

    @property
    def url(self) -> str:
        """The address of the database, for asyncpg and for libpq."""
        return self.server.url(DATABASE, driver="")

    @property
    def database_log(self) -> Path:
        """What the database server writes."""
        return self.home / "postgres.log"

    def serve(self, name: str, *, role: str = "postgres", **environment: str) -> Program:
        """Start a `serve` process that works as a role of the database; `wait()` for it."""
        url = self.server.url(DATABASE).replace("//postgres@", f"//{role}@")
        settings = {
            "ENVIRONMENT": "test",
            "DATA_DIR": str(self.home / "service"),
            "DATABASE_URL": url,
            "PUBLIC_URL": "http://127.0.0.1",
            "SECRET_KEYS": KEYS,
            "LOG_LEVEL": "WARNING",
            **UNLIMITED,
            **environment,
        }
        log = self.home / f"{name}.log"
        program = Program(name, [sys.executable, "-m", "app", "serve"], settings, log)
        self.programs.append(program)
        return program

    def complaints(self) -> list[str]:
        """What the processes have written, which is nothing when all went well."""
        lines = [line for program in self.programs for line in program.log.read_text().splitlines()]
        return [line[:300] for line in lines if "is ready at" not in line and "Stopping" not in line]

    def stop(self) -> None:
        """End the processes that still run."""
        for program in self.programs:
            program.stop()


@contextmanager
def ground(**settings: str) -> Iterator[Ground]:
    """A fresh database, migrated and durable, in a server with these parameters besides."""
    with tempfile.TemporaryDirectory(prefix="luneo-realtime-") as folder:
        home = Path(folder)
        # PostgreSQL runs as another account where this is run by root, and has to reach its directory.
        home.chmod(0o755)
        here = {"data_dir": home / "service", "public_url": "http://127.0.0.1", "secret_keys": KEYS}
        use_settings(environment="test", **here)
        server = EmbeddedPostgres(home / "postgres", settings={**DURABLE, **settings}, die_with_parent=True)
        made = Ground(home, server)
        server.start()
        try:
            server.create_database(DATABASE)
            upgrade(server.url(DATABASE))
            yield made
        finally:
            made.stop()
            server.destroy()


class Watch:
    """What the processors of the machine have done since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy = _busy()
        self._own = _own()

    def shares(self) -> dict[str, float]:
        """Cores that were busy on average: with all of this measurement, and with anything else."""
        seconds = time.monotonic() - self._began
        own = _own() - self._own
        strangers = _busy() - self._busy - own
        return {
            "own_cores": round(own / seconds, 2),
            "strangers_cores": round(max(strangers, 0) / seconds, 2),
        }


def wait_for_quiet(patience: float) -> None:
    """Wait, at most so many seconds, until others leave the machine alone for a moment."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        watch = Watch()
        time.sleep(QUIET_SECONDS)
        if watch.shares()["strangers_cores"] < QUIET_CORES:
            return


def _busy() -> float:
    """Seconds that all processors were busy since the machine started, those taken by its host included."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def _own() -> float:
    """Seconds of CPU of this process and of all that it has started, ended ones included."""
    me = psutil.Process()
    seconds = 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all values does not exceed; `values` are in ascending order."""
    return values[min(len(values) - 1, int(len(values) * share))]


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """How long something took, in milliseconds."""
    ordered = sorted(seconds)
    shares = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "max_ms": 1.0}
    return {name: round(percentile(ordered, share) * 1000, 1) for name, share in shares.items()}


def report(command: str, watch: Watch, **figures: Any) -> None:
    """Print one line of JSON."""
    machine = {"cpus": psutil.cpu_count(), "python": platform.python_version()}
    line = {"command": command, "at": time.strftime("%Y-%m-%d %H:%M"), **machine, **figures, **watch.shares()}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
