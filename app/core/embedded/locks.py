"""Locks between processes, on files and directories; the kernel frees them with their holder."""

import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def try_lock(descriptor: int) -> bool:
    """Lock a file exclusively; return False when another holds a lock on it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether anybody holds a lock on this file or directory."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


def lock_exclusive(descriptor: int) -> None:
    """Lock a file alone, and wait while another holds a lock on it."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def lock_shared(descriptor: int) -> None:
    """Lock a file together with others, and wait while one holds it exclusively."""
    fcntl.flock(descriptor, fcntl.LOCK_SH)
