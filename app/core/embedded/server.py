"""The embedded PostgreSQL 18: starts, shares and stops a private server over one data directory.

Beside the data directory `NAME` stand `NAME.lock` (locked while a process starts or stops the server),
`NAME.lease` (locked shared by every process that uses it) and `NAME.log`. The server's own processes hold a
lock on the data directory itself. A killed process leaves no lock behind, so nothing that misleads.
"""

import contextlib
import glob
import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psutil

from app.core.embedded.locks import is_locked, lock_shared, try_lock
from app.core.embedded.programs import (
    MAJOR,
    Account,
    EmbeddedPostgresError,
    account_for,
    death_signal,
    find_programs,
    reachable_programs,
    run,
    succeeds,
    surroundings,
)
from app.core.embedded.shelter import move_in, move_out

FAST: dict[str, str] = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "shared_buffers": "256MB",
    "synchronous_commit": "off",
    "wal_level": "minimal",
}
"""Settings for tests: quick, and worthless after a crash of the machine."""

DURABLE: dict[str, str] = {"max_connections": "200", "shared_buffers": "128MB"}
"""Settings for data that is to be kept."""

_SUPERUSER = "postgres"
_PORT = 5432  # Part of the socket's name; nothing listens on the network.
_SOCKET = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_LIMIT = 100  # A socket's address holds 108 bytes on Linux and 104 on macOS, with a closing NUL.
_POLL = 0.02
_ORPHAN_PATIENCE = 2.0
# Not tempfile.gettempdir(): every process has to find the same directory, whatever its TMPDIR says.
_SHORT_SOCKETS = Path("/tmp")  # noqa: S108  # Each directory made in it is checked for its owner.

_left_to_others: list[subprocess.Popen[bytes]] = []
"""Servers of ours that others still use. Python would warn of a child that is forgotten while it runs."""


class EmbeddedPostgres:
    """One private PostgreSQL server over one data directory, reached through a Unix socket only.

    Any number of objects, in any number of processes, may share a data directory. The methods block, so call
    them from a thread where an event loop runs.
    """

    def __init__(
        self, data: Path, *, settings: Mapping[str, str] = DURABLE, die_with_parent: bool = False
    ) -> None:
        """Describe the server; nothing is started.

        `settings` are server parameters and count when this object is the one that starts the server. With
        `die_with_parent` (Linux; elsewhere without effect) the server shuts down when the process that
        started it is gone, however it went.
        """
        self.data = data.absolute().parent.resolve() / data.name
        self._settings = dict(settings)
        self._die_with_parent = die_with_parent
        self._process: subprocess.Popen[bytes] | None = None
        self._lease: IO[str] | None = None

    @property
    def is_running(self) -> bool:
        """Whether a server over this data directory accepts connections."""
        return self._postmaster() is not None and self._pid_file()[-1:] == ["ready"]

    def url(self, database: str = _SUPERUSER, driver: str = "asyncpg") -> str:
        """Return the address of a database for SQLAlchemy, or for libpq when `driver` is empty."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        host = quote(str(self._sockets()))
        # The port is named because clients would otherwise take it from PGPORT.
        return f"{scheme}://{_SUPERUSER}@/{quote(database, safe='')}?host={host}&port={_PORT}"

    def start(self, timeout: float = 120.0) -> None:
        """Make sure that the server runs, and hold a lease on it until `stop()`.

        Of several starters at once one starts it and the others find it running. Raises
        EmbeddedPostgresError when it cannot run here or is not ready after `timeout` seconds.
        """
        if self._die_with_parent and threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "Start in the main thread: with die_with_parent the server follows its thread."
            )
        deadline = time.monotonic() + timeout
        programs = find_programs()
        with self._exclusively(deadline):
            lease = self._lease or self._beside("lease").open("a")
            try:
                lock_shared(lease.fileno())
                self._wait(lambda: self.is_running or not self._is_occupied(), deadline)
                if not self.is_running:
                    account = account_for(self._home())
                    programs = reachable_programs(programs, account, deadline)
                    self._move_within_reach(account, deadline)
                    self._initialise(programs, account, deadline)
                    self._launch(programs, account, deadline)
            except BaseException:
                lease.close()
                self._lease = None
                raise
            self._lease = lease

    def stop(self, timeout: float = 30.0, *, force: bool = False) -> None:
        """Give the lease back and shut the server down, unless others hold one; with `force` even then.

        Raises EmbeddedPostgresError when the server has not left after `timeout` seconds.
        """
        if not self._lease and not self._has_child() and not self._beside("lock").exists():
            return
        deadline = time.monotonic() + timeout
        with self._exclusively(deadline):
            if self._lease:
                self._lease.close()
                self._lease = None
            if not force and is_locked(self._beside("lease")):
                if self._process:
                    _left_to_others.append(self._process)
                return
            # Where the data directory has been deleted, our own child is still known.
            server = self._postmaster() or self._process
            if server:
                with contextlib.suppress(psutil.NoSuchProcess):
                    server.send_signal(signal.SIGINT)
            self._wait(lambda: not self._is_occupied() and not self._has_child(), deadline)
            self._process = None

    def destroy(self) -> None:
        """Stop the server, whoever uses it, and delete its data and all that stands beside it."""
        self.stop(force=True)
        if self._sockets() != self.data:
            shutil.rmtree(self._sockets(), ignore_errors=True)
        move_out(self.data)
        shutil.rmtree(self.data, ignore_errors=True)
        for suffix in ("lease", "log", "lock"):
            self._beside(suffix).unlink(missing_ok=True)

    def create_database(self, name: str) -> None:
        """Create a database unless it exists; `name` is a lower-case ASCII identifier (else ValueError)."""
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
            raise ValueError(f"Not a database name: {name!r}")
        deadline = time.monotonic() + 60
        programs = find_programs()
        server = self.url(driver="")
        with self._exclusively(deadline):
            listing: list[str | Path] = [
                programs / "psql",
                "-XAt",
                "-c",
                "SELECT datname FROM pg_database",
                server,
            ]
            if name not in run(listing, None, deadline).splitlines():
                run([programs / "createdb", "--maintenance-db", server, name], None, deadline)

    def _beside(self, suffix: str) -> Path:
        return self.data.with_name(f"{self.data.name}.{suffix}")

    def _home(self) -> Path:
        """The data directory itself, where `data` may be a link to it."""
        return self.data.resolve()

    def _is_scratch(self) -> bool:
        """Whether the data would not survive a crash of the machine anyway."""
        return self._settings.get("fsync") == "off"

    def _sockets(self) -> Path:
        """The directory of the socket: the data directory, unless its path would not do in an address."""
        for path in (self.data, self._home()):
            plain = re.fullmatch(r"[A-Za-z0-9._/-]+", str(path))
            if not plain or len(str(path / _SOCKET)) > _SOCKET_PATH_LIMIT:
                digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
                return _SHORT_SOCKETS / f"luneo-postgres-{digest}"
        return self.data

    @contextlib.contextmanager
    def _exclusively(self, deadline: float) -> Iterator[None]:
        """Keep every other process from starting or stopping this server meanwhile."""
        try:
            self.data.parent.mkdir(parents=True, exist_ok=True)
            with self._beside("lock").open("a") as lock:
                while not try_lock(lock.fileno()):
                    if time.monotonic() > deadline:
                        raise EmbeddedPostgresError(f"another process is starting or stopping {self.data}")
                    time.sleep(_POLL)
                yield
        except (OSError, psutil.Error) as error:
            raise EmbeddedPostgresError(str(error)) from error

    def _pid_file(self) -> list[str]:
        """The lines of postmaster.pid: the process id first, in a complete file the state last."""
        try:
            return [line.strip() for line in (self._home() / "postmaster.pid").read_text().splitlines()]
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []

    def _postmaster(self) -> psutil.Process | None:
        """The live server process. A process of the same id that is not ours does not count."""
        if self._process:
            self._process.poll()  # A child that has died stays a zombie until it is asked after.
        lines = self._pid_file()
        if not lines or not lines[0].isdigit():
            return None
        try:
            process = psutil.Process(int(lines[0]))
        except psutil.Error:
            return None
        return process if self._is_ours(process) else None

    def _has_child(self) -> bool:
        """Whether a server that this object started still lives."""
        return self._process is not None and self._process.poll() is None

    def _is_ours(self, process: psutil.Process) -> bool:
        """Whether this is a PostgreSQL process that lives in our data directory."""
        try:
            return bool(process.name() == "postgres" and process.cwd() == str(self._home()))
        except (psutil.Error, OSError):
            return False

    def _is_occupied(self) -> bool:
        """Whether any process of a server is left, be it in another container with the same volume."""
        return self._postmaster() is not None or is_locked(self._home())

    def _wait(self, done: Callable[[], bool], deadline: float) -> None:
        """Wait until `done`. Processes that outlive a killed postmaster for long are told to quit.

        They leave by themselves once idle, but a long query would hold the data directory until its end.
        """
        patience = time.monotonic() + _ORPHAN_PATIENCE
        while not done():
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"a server in {self.data} is neither ready nor gone in time")
            if time.monotonic() > patience and self._pid_file() and not self._postmaster():
                for process in filter(self._is_ours, psutil.process_iter()):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.send_signal(signal.SIGQUIT)
            time.sleep(_POLL)

    def _move_within_reach(self, account: Account | None, deadline: float) -> None:
        """Make the data directory a link into the shelter where the account cannot enter its parent."""
        parent = self._home().parent
        if account is None or succeeds(["/bin/sh", "-c", 'cd "$0"', parent], account, deadline):
            return
        if self.data.is_dir() and any(self.data.iterdir()):
            raise EmbeddedPostgresError(f"user {account.uid} must be able to enter {parent}")
        move_in(self.data, scratch=self._is_scratch())

    def _initialise(self, programs: Path, account: Account | None, deadline: float) -> None:
        """Make the data directory unless it is there, whole and of our version.

        It is made under another name and renamed when it is complete, so that it never stands half made.
        """
        home = self._home()
        # The database template0 has this fixed id and comes last but one. A directory without it was left by
        # an initdb that was interrupted; it is put aside, since to delete it is not ours.
        if (home / "PG_VERSION").exists() and (home / "base" / "4").exists():
            version = (home / "PG_VERSION").read_text().strip()
            if version != MAJOR:
                raise EmbeddedPostgresError(f"{home} was made by PostgreSQL {version}, this is {MAJOR}")
            return
        if (home / "PG_VERSION").exists():
            home.rename(home.with_name(f"{home.name}.incomplete-{time.time_ns()}"))
        elif home.exists() and any(home.iterdir()):
            raise EmbeddedPostgresError(f"{home} holds other files")
        prefix = f".{home.name}.new-"
        for leftover in home.parent.glob(f"{glob.escape(prefix)}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(dir=home.parent, prefix=prefix))
        try:
            if account:
                os.chown(draft, account.uid, account.gid)
            command: list[str | Path] = [programs / "initdb", "-D", draft, "-U", _SUPERUSER, "-E", "UTF8"]
            command += ["--auth-local=trust", "--auth-host=reject", "--no-instructions"]
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if self._is_scratch():
                command += ["--no-sync", "--no-data-checksums"]
            run(command, account, deadline)
            draft.rename(home)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _launch(self, programs: Path, account: Account | None, deadline: float) -> None:
        """Start the server in a session of its own, so that Ctrl-C reaches the service and not the server."""
        home = self._home()
        sockets = self._make_sockets(account)
        # The lock on the data directory says that no server is left. The process ids in these files may
        # belong to somebody else by now, and PostgreSQL would take that one for a server.
        (home / "postmaster.pid").unlink(missing_ok=True)
        (sockets / f"{_SOCKET}.lock").unlink(missing_ok=True)
        command: list[str | Path] = [programs / "postgres", "-D", home, "-k", sockets]
        for key, value in {"listen_addresses": "", **self._settings}.items():
            command += ["-c", f"{key}={value}"]
        directory = os.open(home, os.O_RDONLY)
        try:
            if not try_lock(directory):
                raise EmbeddedPostgresError(f"another server has taken {home}")
            with self._beside("log").open("ab") as log:
                written = log.tell()
                process = subprocess.Popen(  # noqa: S603  # The command is made here, from no input.
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=[directory],  # The lock lives as long as the server or any child of it.
                    preexec_fn=death_signal() if self._die_with_parent else None,  # noqa: PLW1509  # See there.
                    **surroundings(account),
                )
        finally:
            os.close(directory)
        if self._process:
            self._process.wait()  # The one before is dead, or this one could not have taken the lock.
        self._process = process
        try:
            self._wait(lambda: process.poll() is not None or self.is_running, deadline)
        except BaseException:
            process.send_signal(signal.SIGINT)
            raise
        if process.poll() is not None:
            with self._beside("log").open("rb") as log:
                log.seek(written)
                reason = log.read().decode(errors="replace").strip()
            raise EmbeddedPostgresError(f"the server left with {process.returncode}: {reason[-2000:]}")

    def _make_sockets(self, account: Account | None) -> Path:
        """Make the directory of the socket, closed to others; return its real path."""
        sockets = self._sockets()
        if sockets == self.data:
            return self._home()
        with contextlib.suppress(FileExistsError):
            sockets.mkdir(mode=0o700)
            if account:
                os.chown(sockets, account.uid, account.gid)
        state = sockets.lstat()
        owner = account.uid if account else os.geteuid()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != owner or state.st_mode & 0o077:
            raise EmbeddedPostgresError(f"{sockets} is not a directory that user {owner} alone can enter")
        return sockets
