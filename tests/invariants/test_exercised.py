"""Invariant: every route is exercised with success somewhere in the suite, or the full run fails.

What holds it is the plugin `tests/support/exercised.py`; these tests run it on a small suite of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from httpx import ASGITransport, AsyncClient

from tests.support.exercised import Exercised

ROOT = Path(__file__).resolve().parents[2]

CONFTEST = """
import asyncio
from types import SimpleNamespace
import pytest

pytest_plugins = ["tests.support.exercised"]

async def app(scope, receive, send):
    scope["route"] = SimpleNamespace(path_format=scope["template"])
    await send({"type": "http.response.start", "status": scope["status"], "headers": []})

async def nothing(*_): pass

@pytest.fixture
def ask(exercised):
    def ask(method, template, status=200):
        scope = {"type": "http", "method": method, "template": template, "status": status}
        asyncio.run(exercised.recording(app)(scope, nothing, nothing))
    return ask
"""

READING = """
import pytest

@pytest.mark.parametrize("number", range(21))
def test_read(ask, number):
    ask("GET", f"/things/{number}")

def test_refusals(ask):
    ask("POST", "/things", status=409)
    ask("GET", "/things/{thing_id}", status=304)
"""

REMOVING = """
def test_remove(ask):
    ask("DELETE", "/things/{thing_id}", status=204)
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite of two files over 23 routes, of which the DELETE is exercised by the second file only."""
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = checks\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "test_reading.py").write_text(READING)
    (tmp_path / "checks" / "test_removing.py").write_text(REMOVING)
    paths: dict[str, Any] = {f"/things/{number}": {"get": {}} for number in range(21)}
    document(tmp_path, {**paths, "/things/{thing_id}": {"get": {}, "delete": {}, "parameters": []}})
    return tmp_path


def document(suite: Path, paths: dict[str, Any]) -> None:
    (suite / "openapi").mkdir(exist_ok=True)
    (suite / "openapi" / "openapi.json").write_text(json.dumps({"paths": paths}))


def run(suite: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the suite in a process of its own, without the plugins that it does not need."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "xdist.plugin", *arguments],
        cwd=suite,
        env={**environment, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_full_run_when_every_route_is_exercised(suite: Path) -> None:
    outcome = run(suite, "-n", "0")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "routes that no test exercised" not in outcome.stdout


@pytest.mark.parametrize("workers", ["0", "2"])
def test_full_run_when_a_route_only_ever_refuses(suite: Path, workers: str) -> None:
    (suite / "checks" / "test_removing.py").unlink()
    paths = json.loads((suite / "openapi" / "openapi.json").read_text())["paths"]
    document(suite, {**paths, "/things": {"post": {}}})
    outcome = run(suite, "-n", workers)
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    listed = outcome.stdout.partition("routes that no test exercised with success")[2].splitlines()
    assert [line for line in listed if "/things" in line] == ["DELETE /things/{thing_id}", "POST /things"]


@pytest.mark.parametrize("narrowed", [["checks/test_reading.py"], ["-k", "read or refusals"]])
def test_narrowed_run_when_a_route_is_not_exercised(suite: Path, narrowed: list[str]) -> None:
    outcome = run(suite, *narrowed)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "routes that no test exercised" not in outcome.stdout


def test_run_when_a_route_makes_something_and_says_not_where(suite: Path) -> None:
    made = '\n\ndef test_make(ask):\n    ask("POST", "/api/things", status=201)\n'
    (suite / "checks" / "test_making.py").write_text(made)
    outcome = run(suite, "-n", "2")
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    assert "POST /api/things" in outcome.stdout.partition("routes that answered 201 without Location")[2]


async def test_record_when_the_route_belongs_to_a_router() -> None:
    router = APIRouter(prefix="/api/things")
    router.get("/{thing_id:path}")(lambda thing_id: {"id": thing_id})
    app = FastAPI()
    app.include_router(router)
    record = Exercised()
    async with AsyncClient(transport=ASGITransport(app=record.recording(app)), base_url="http://x") as client:
        assert (await client.get("/api/things/a/b")).json() == {"id": "a/b"}
        assert (await client.post("/api/things/a")).status_code == 405
        assert (await client.get("/nowhere")).status_code == 404
    assert record.routes == {"GET /api/things/{thing_id}"}
