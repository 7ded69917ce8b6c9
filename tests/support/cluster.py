"""The embedded cluster of a test run: one server, one migrated template, a clone for whoever needs one."""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil

from app.core.embedded import FAST, EmbeddedPostgres
from app.core.migrations import upgrade

TEMPLATE = "luneo_template"

MEMORY = Path("/dev/shm")  # noqa: S108 - the place is shared, the directory in it is the run's own
ROOM = 6 * 1024**3
"""Bytes that must be free in memory for the cluster to lie there; a run takes a tenth of them."""


def _quick_directory() -> Path:
    """Memory where there is much of it: a clone is a thousand files, and a disk takes ten times as long."""
    try:
        place = os.statvfs(MEMORY)
        free = psutil.virtual_memory().available
    except OSError:
        return Path(tempfile.gettempdir())
    is_roomy = min(place.f_bavail * place.f_frsize, free) > ROOM
    if is_roomy and not place.f_flag & os.ST_NOEXEC and os.access(MEMORY, os.W_OK | os.X_OK):
        return MEMORY
    return Path(tempfile.gettempdir())


class Cluster:
    """Shared by all workers of a run; whoever stops last ends the server and removes its files."""

    def __init__(self) -> None:
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
        self.home = _quick_directory() / f"luneo-tests-{run}"
        self.home.mkdir(exist_ok=True)
        self.home.chmod(0o755)  # The server drops to another account when the tests run as root.
        self.server = EmbeddedPostgres(self.home / "postgres", settings=FAST, die_with_parent=False)

    def start(self) -> None:
        self.server.start()
        with self._alone():
            if not (self.home / "template.ready").exists():
                self.server.create_database(TEMPLATE)
                upgrade(self.server.url(TEMPLATE))
                (self.home / "template.ready").touch()

    def stop(self) -> None:
        self.server.stop()
        if not self.server.is_running:
            shutil.rmtree(self.home, ignore_errors=True)

    def url(self, name: str) -> str:
        return self.server.url(name)

    async def clone(self, name: str, template: str = TEMPLATE) -> str:
        """A new database like the template; answers its URL."""
        await self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.url(name)

    async def drop(self, name: str) -> None:
        await self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server.url("postgres", driver=""))
        try:
            # Two clones of one template at once disturb each other; both simply queue.
            for _ in range(1200):
                try:
                    await connection.execute(statement)
                except asyncpg.ObjectInUseError:
                    await asyncio.sleep(0.05)
                else:
                    return
            raise TimeoutError(statement)
        finally:
            await connection.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.home / "template.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
