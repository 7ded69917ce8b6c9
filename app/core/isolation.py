"""Runs a risky task in a child process: no secret, no database, little memory, little time."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import structlog

from app.core.config import get_settings
from app.core.errors import Unavailable

CHILD = Path(__file__).parent / "isolated" / "child.py"
PATH = "/usr/local/bin:/usr/bin:/bin"

CPU_SECONDS = 20
GRACE_SECONDS = 10
"""How much longer than its CPU time a task may take by the clock on the wall."""

MAX_REPORT = 1024 * 1024
MAX_WAIT = 30.0

logger = structlog.get_logger(__name__)

_slots: dict[int, asyncio.Semaphore] = {}
"""How many children may run, by their number: the setting does not change while a process lives."""

_turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
"""Those who have children at the moment, or wait for one, by their word."""


class TaskFailed(Exception):
    """The child crashed, was killed, or used up what it may: whatever it was given is not good."""


async def run_isolated(
    task: str,
    folder: Path,
    arguments: dict[str, Any],
    *,
    cpu_seconds: int = CPU_SECONDS,
    whose: str | None = None,
    patience: float | None = None,
) -> dict[str, Any]:
    """Run a task of `app/core/isolated` in `folder`; answers its report.

    Of the tasks of one `whose` one runs at a time, so that nobody takes every slot from the others.
    TaskFailed; 503 `processing_busy` when every slot was taken for `patience` seconds (half a minute unless
    it is said), or the one of `whose`.
    """
    settings = get_settings()
    patience = MAX_WAIT if patience is None else patience
    async with _turn(whose, patience), _slot(settings.isolated_processes, patience):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(CHILD), task, str(settings.isolated_memory_mb), str(cpu_seconds)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=folder,
            env={"PATH": PATH, "LANG": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(cpu_seconds + GRACE_SECONDS):
                output = await _talk(process, json.dumps(arguments).encode())
                status = await process.wait() if len(output) <= MAX_REPORT else None
        except TimeoutError:
            raise _failed(task, "it took too long") from None
        finally:
            await _end(process)
    if status != 0 or len(output) > MAX_REPORT:
        raise _failed(task, f"it ended with {status} after {len(output)} bytes")
    try:
        report = json.loads(output)
    except ValueError:
        raise _failed(task, "its report is not JSON") from None
    if not isinstance(report, dict):
        raise _failed(task, "its report is no object")
    return report


async def _talk(process: asyncio.subprocess.Process, sent: bytes) -> bytes:
    """Hand the arguments over and read the report, of which no more is kept than it may be long."""
    assert process.stdin is not None  # noqa: S101 - it was asked for
    assert process.stdout is not None  # noqa: S101 - as above
    with contextlib.suppress(ConnectionError):
        process.stdin.write(sent)
        await process.stdin.drain()
    process.stdin.close()
    output = b""
    while len(output) <= MAX_REPORT and (piece := await process.stdout.read(64 * 1024)):
        output += piece
    return output


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the child and whatever it has started; it has a group of its own."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert process.stdout is not None  # noqa: S101 - it was asked for
    # Nobody is told of its end before its pipe is empty.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_SECONDS):
            while await process.stdout.read(64 * 1024):
                pass
            await process.wait()


@asynccontextmanager
async def _turn(whose: str | None, patience: float = MAX_WAIT) -> AsyncIterator[None]:
    if whose is None:
        yield
        return
    async with _taken(_turns.setdefault(whose, asyncio.Semaphore(1)), patience):
        yield


@asynccontextmanager
async def _slot(count: int, patience: float = MAX_WAIT) -> AsyncIterator[None]:
    async with _taken(_slots.setdefault(count, asyncio.Semaphore(count)), patience):
        yield


@asynccontextmanager
async def _taken(slots: asyncio.Semaphore, patience: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(patience):
            await slots.acquire()
    except TimeoutError:
        raise Unavailable(
            "processing_busy",
            "Too many files are being looked at; repeat in a moment.",
            headers={"Retry-After": "5"},
        ) from None
    try:
        yield
    finally:
        slots.release()


def _failed(task: str, why: str) -> TaskFailed:
    logger.warning("isolated_task_failed", task=task, why=why)
    return TaskFailed(f"{task}: {why}")
