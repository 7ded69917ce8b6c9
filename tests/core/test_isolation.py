"""Child processes for risky work: what they may use, and what becomes of those that use more."""

import asyncio
import os
from pathlib import Path

import pytest

from app.core import isolation
from app.core.config import get_settings
from app.core.errors import Unavailable
from app.core.isolated.child import ROOT
from app.core.isolation import TaskFailed, run_isolated
from tests.support.images import decoded, picture

START = f"""
import json, os, sys, time, signal, subprocess
sys.path.insert(0, {str(ROOT)!r})
from app.core.isolated.child import limit
limit(int(sys.argv[2]), int(sys.argv[3]))
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Let the child run some lines of Python, under the limits of every child, in place of a task."""

    def write(lines: str) -> None:
        path = tmp_path / "child.py"
        path.write_text(START + lines)
        monkeypatch.setattr(isolation, "CHILD", path)

    return write


async def run(folder: Path, *, cpu_seconds: int = 5) -> dict[str, object]:
    return await run_isolated("anything", folder, {"a": 1}, cpu_seconds=cpu_seconds)


async def test_task_when_it_is_known(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(picture())
    arguments = {"source": "in", "target": "out", "side": 64, "quality": 80, "max_pixels": 10**7}
    report = await run_isolated("images.square", tmp_path, arguments)
    assert report == {"width": 64, "height": 64}
    assert decoded((tmp_path / "out").read_bytes()).size == (64, 64)


async def test_task_when_nobody_knows_it(tmp_path: Path) -> None:
    with pytest.raises(TaskFailed):
        await run_isolated("os.system", tmp_path, {})


async def test_child_when_it_looks_around(tmp_path: Path, program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEYS", "not for children")
    program(
        "print(json.dumps({'env': sorted(os.environ), 'cwd': os.getcwd(), 'sent': json.load(sys.stdin)}))"
    )
    report = await run(tmp_path)
    assert set(report["env"]) <= {"PATH", "LANG", "LC_CTYPE"}  # type: ignore[call-overload]
    assert report["cwd"] == str(tmp_path)
    assert report["sent"] == {"a": 1}


FAULTS = {
    "crashes": "os.abort()",
    "raises": "raise ValueError",
    "ends with an error": "print('{}'); sys.exit(3)",
    "takes memory": "x = bytearray(2 * 1024**3); print('{}')",
    "writes a large file": "open('big', 'wb').write(b'x' * (301 * 1024**2)); print('{}')",
    "opens many files": "x = [open('/dev/null') for _ in range(100)]; print('{}')",
    "reports too much": "print(json.dumps({'a': 'x' * 2_000_000}))",
    "reports rubbish": "print('rubbish')",
    "reports a list": "print('[]')",
    "reports nothing": "pass",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_child_when_it_misbehaves(tmp_path: Path, program, fault: str) -> None:
    program(FAULTS[fault])
    with pytest.raises(TaskFailed):
        await run(tmp_path)


async def test_child_when_it_computes_for_too_long(tmp_path: Path, program) -> None:
    program("while True: pass")
    async with asyncio.timeout(60):
        with pytest.raises(TaskFailed):
            await run(tmp_path, cpu_seconds=1)


async def test_child_when_it_waits_for_too_long(
    tmp_path: Path, program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed together with what it has started."""
    program(
        "other = subprocess.Popen(['sleep', '600']); open('pid', 'w').write(str(other.pid)); time.sleep(600)"
    )
    noted = tmp_path / "pid"
    for grace in (1, 10, 60):  # On a busy machine it takes a while until the child has begun.
        monkeypatch.setattr(isolation, "GRACE_SECONDS", grace)
        with pytest.raises(TaskFailed, match="too long"):
            await run(tmp_path, cpu_seconds=1)
        if noted.exists() and noted.read_text():
            break
    other = int(noted.read_text())
    async with asyncio.timeout(60):
        while is_running(other):  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0.05)


def is_running(process_id: int) -> bool:
    """Whether a process lives; one that nobody has waited for yet does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except FileNotFoundError:
        return False


async def test_request_when_its_caller_gives_up(tmp_path: Path, program) -> None:
    program("open('pid', 'w').write(str(os.getpid())); time.sleep(600)")
    task = asyncio.ensure_future(run(tmp_path, cpu_seconds=120))
    for _ in range(3000):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_children_when_there_are_too_many(
    tmp_path: Path, program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "isolated_processes", 1)
    monkeypatch.setattr(isolation, "MAX_WAIT", 0.2)
    program("time.sleep(1); print('{}')")
    found = await asyncio.gather(*(run(tmp_path, cpu_seconds=60) for _ in range(2)), return_exceptions=True)
    (refusal,) = [item for item in found if isinstance(item, Exception)]
    assert isinstance(refusal, Unavailable)
    assert (refusal.code, refusal.headers) == ("processing_busy", {"Retry-After": "5"})
    assert {} in found
    program("print('{}')")
    assert await run(tmp_path) == {}
