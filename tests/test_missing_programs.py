"""A machine with nothing but Python and make runs the suite all the same, and is told what was left out."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

CHECKS = """
import pytest

@pytest.fixture
def redis_server():
    raise RuntimeError("there is no such program")

@pytest.fixture
def limiter(redis_server):
    return redis_server

def test_redis(limiter): pass

@pytest.mark.needs("chromium")
def test_page():
    raise RuntimeError("there is no such program")

def test_anything(): pass
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Three tests, two of which start a program that cannot be found."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = needs(program): starts a program\n")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.support.programs"]\n')
    (tmp_path / "test_things.py").write_text(CHECKS)
    return tmp_path


def run(suite: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=suite,
        env={
            **environment,
            "PATH": str(suite),
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_run_when_programs_are_missing(suite: Path) -> None:
    done = run(suite)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 2 deselected" in done.stdout
    for program in ("chromium", "redis-server"):
        assert f"Left out: the tests that start {program}" in done.stdout


def test_run_when_every_test_is_demanded(suite: Path) -> None:
    done = run(suite, "--every-test")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed, 1 error" in done.stdout.replace("1 failed, ", "")


def test_ci_when_it_runs_demands_every_test() -> None:
    assert "--every-test" in (ROOT / ".ci" / "run").read_text()


def test_tests_when_they_steer_a_browser_say_so() -> None:
    steering = [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"^from tests\.support\.(?:browser|chromium) import", path.read_text(), re.MULTILINE)
    ]
    assert len(steering) >= 3
    assert [path for path in steering if 'needs("chromium")' not in path.read_text()] == []
