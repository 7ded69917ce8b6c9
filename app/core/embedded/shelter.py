"""The shelter: where root keeps what a server must reach, since it cannot run as root.

Root's own directories and most temporary ones are closed to other users, and a project may well lie in one.
"""

import shutil
import tempfile
from pathlib import Path

from app.core.embedded.locks import is_locked, lock_exclusive

_SHELTER = Path("/var/lib/luneo-postgres")


def shelter() -> Path:
    """The directory of all that is sheltered, made when it is missing."""
    _SHELTER.mkdir(parents=True, exist_ok=True)
    _SHELTER.chmod(0o755)
    return _SHELTER


def move_in(data: Path, *, scratch: bool) -> None:
    """Make `data`, absent or empty so far, a link to a new directory in the shelter.

    Who deletes the link leaves the directory behind. With `scratch` a later call deletes it then; data that
    is worth something is never deleted here.
    """
    with (shelter() / "lock").open("a") as lock:
        lock_exclusive(lock.fileno())
        _sweep()
        home = Path(tempfile.mkdtemp(dir=_SHELTER, prefix="scratch-" if scratch else "data-"))
        _origin(home).write_text(str(data))
        if data.is_symlink():
            data.unlink()
        elif data.exists():
            data.rmdir()
        data.symlink_to(home)


def move_out(data: Path) -> None:
    """Delete the link `data` and the directory that it leads to; nothing when `data` is no link."""
    if data.is_symlink():
        home = data.resolve()
        data.unlink()
        shutil.rmtree(home, ignore_errors=True)
        _origin(home).unlink(missing_ok=True)


def _origin(home: Path) -> Path:
    return home.with_name(f"{home.name}.origin")


def _sweep() -> None:
    """Delete scratch directories that no link leads to and no server uses any more."""
    for origin in _SHELTER.glob("scratch-*.origin"):
        home = origin.with_suffix("")
        if Path(origin.read_text()).resolve() != home and not is_locked(home):
            shutil.rmtree(home, ignore_errors=True)
            origin.unlink()
