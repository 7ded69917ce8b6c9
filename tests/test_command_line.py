"""The command line, as real processes: start, readiness, signals, kill -9, and what the commands say."""

import base64
import contextlib
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError

import asyncpg
import psutil
import pytest

from app.cli import main
from app.core.crypto import KeyRing
from app.core.embedded import EmbeddedPostgres
from app.core.migrations import code_heads, current_heads
from tests.support.cluster import Cluster
from tests.support.ports import free_port
from tests.support.redis import RedisServer, redis_server
from tests.support.s3_server import BUCKET, S3Server
from tests.support.service import PLAIN, ROOT, run, serving

__all__ = ["redis_server"]


@pytest.fixture
def embedded(tmp_path: Path):
    """A data directory whose embedded server is gone after the test, whatever happened to its process."""
    yield tmp_path / "data"
    EmbeddedPostgres(tmp_path / "data" / "postgres").destroy()


@pytest.fixture
async def fresh_url(cluster: Cluster, worker_name: str):
    """A migrated database of its own on the suite's server."""
    name = f"luneo_{worker_name}_cli"
    yield await cluster.clone(name)
    await cluster.drop(name)


@pytest.fixture
async def empty_url(cluster: Cluster, worker_name: str):
    """A database in which nothing is."""
    name = f"luneo_{worker_name}_cli_empty"
    yield await cluster.clone(name, template="template1")
    await cluster.drop(name)


@pytest.mark.fault
def test_serve_brings_its_own_database_and_survives_kill_9(embedded: Path) -> None:
    environment = {"DATA_DIR": str(embedded)}
    with serving(**environment) as service:
        assert service.line.startswith("Luneo API is ready at http://127.0.0.1:")
        assert service.get("/health/ready")["status"] == "pass"
        server = EmbeddedPostgres(embedded / "postgres")
        assert server.is_running
        code, rest = service.stop(signal.SIGTERM)
        assert (code, rest) == (0, "")
        assert not server.is_running
    with serving(**environment) as service:
        service.process.kill()
        assert service.process.wait() == -signal.SIGKILL
        service._reader.join()
        for stream in (service.process.stdout, service.process.stderr):
            assert stream is not None
            stream.close()
    with serving(**environment) as service:
        assert service.get("/health/ready")["status"] in {"pass", "warn"}
        code, _ = service.stop(signal.SIGINT)
        assert code == 0
    assert not EmbeddedPostgres(embedded / "postgres").is_running


def test_serve_answers_over_a_database_of_ones_own(fresh_url: str, tmp_path: Path) -> None:
    opened = {"OUTBOUND_ALLOW": "10.1.0.0/16"}
    with serving(DATABASE_URL=fresh_url, DATA_DIR=str(tmp_path), **opened) as service:
        assert service.get("/health/live") == {"status": "pass"}
        assert not (tmp_path / "postgres").exists()
        code, rest = service.stop()
    assert (code, rest) == (0, "")
    assert [line for line in service.errors if "Traceback" in line] == []
    assert any("OUTBOUND_ALLOW opens 10.1.0.0/16" in line for line in service.errors)


@pytest.mark.slow
def test_demo_sign_in_that_serve_prints_works(empty_url: str, tmp_path: Path) -> None:
    with serving("--seed-demo", DATABASE_URL=empty_url, DATA_DIR=str(tmp_path)) as service:
        email, password = service.line.rstrip().rpartition("demo sign-in: ")[2].split(" / ")
        answer = service.post("/api/auth/login", {"email": email, "password": password})
    assert answer["access_token"]


def test_two_instances_run_side_by_side(fresh_url: str, tmp_path: Path) -> None:
    first_data, second_data = str(tmp_path / "a"), str(tmp_path / "b")
    with (
        serving(DATABASE_URL=fresh_url, DATA_DIR=first_data) as first,
        serving(DATABASE_URL=fresh_url, DATA_DIR=second_data) as second,
    ):
        assert first.port != second.port
        assert first.get("/health/live") == second.get("/health/live")


def test_serve_takes_its_port_back_at_once(fresh_url: str, tmp_path: Path) -> None:
    environment = {"DATABASE_URL": fresh_url, "DATA_DIR": str(tmp_path)}
    port = free_port()
    with serving("--port", str(port), **environment) as service:
        # An open connection leaves the port in TIME_WAIT after the stop.
        service.get("/health/live")
    with serving("--port", str(port), **environment) as again:
        assert (service.port, again.port) == (port, port)


def test_serve_says_which_port_is_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port), DATA_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr
    assert f"--port {port + 1}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "postgres").exists()


def test_serve_refuses_a_database_that_was_not_migrated(empty_url: str, tmp_path: Path) -> None:
    done = run("serve", "--port", "0", DATABASE_URL=empty_url, DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "python -m app migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_migrates_when_told_to(empty_url: str, tmp_path: Path) -> None:
    with serving("--migrate", DATABASE_URL=empty_url, DATA_DIR=str(tmp_path)) as service:
        assert service.get("/health/ready")["checks"]["migrations"][0]["status"] == "pass"
    assert any("Making the tables" in line for line in service.errors)


def test_serve_waits_for_a_database_that_is_away(tmp_path: Path) -> None:
    away = "postgresql://x@127.0.0.1:1/luneo"
    with serving(DATABASE_URL=away, DATA_DIR=str(tmp_path), WORKER="external") as service:
        assert service.get("/health/live") == {"status": "pass"}
        with pytest.raises(HTTPError) as refused:
            service.get("/health/ready")
        with refused.value:
            assert refused.value.code == 503
        code, _ = service.stop()
    assert code == 0


def test_serve_refuses_demo_data_in_production(tmp_path: Path) -> None:
    done = run("serve", "--seed-demo", DATA_DIR=str(tmp_path), **production())
    assert done.returncode == 2
    assert "not for production" in done.stderr
    assert run("seed", DATA_DIR=str(tmp_path), **production()).returncode == 2


def production() -> dict[str, str]:
    return {
        "ENVIRONMENT": "production",
        "DATABASE_URL": "postgresql://x@127.0.0.1:1/luneo",
        "SECRET_KEYS": f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "PUBLIC_URL": "http://localhost:8000",
    }


@pytest.mark.parametrize("verb", ["serve", "worker", "migrate", "seed", "doctor"])
def test_commands_refuse_a_configuration_that_is_not_valid(verb: str, tmp_path: Path) -> None:
    done = run(
        verb, DATA_DIR=str(tmp_path), ENVIRONMENT="production", METRICS_TOKEN="hunter2-hunter2-hunter2"
    )
    assert done.returncode in {1, 2}
    told = done.stdout + done.stderr
    assert "production needs SECRET_KEYS, PUBLIC_URL, DATABASE_URL" in told
    assert "Traceback" not in told
    assert "hunter2" not in told


@pytest.mark.parametrize("verb", ["serve", "worker"])
def test_service_refuses_keys_that_are_none(verb: str, tmp_path: Path) -> None:
    done = run(verb, DATA_DIR=str(tmp_path), SECRET_KEYS="k1:c2hvcnQ=")
    assert (done.returncode, done.stdout) == (1, "")
    assert "SECRET_KEYS" in done.stderr
    assert "--new-key" in done.stderr
    assert "c2hvcnQ" not in done.stderr
    assert not (tmp_path / "postgres").exists()


def test_migrate_goes_up_down_and_to_a_revision(empty_url: str, tmp_path: Path) -> None:
    environment = {"DATABASE_URL": empty_url, "DATA_DIR": str(tmp_path)}
    head = next(iter(code_heads()))
    assert run("migrate", **environment).stdout == f"The database is at {head}.\n"
    assert current_heads(empty_url) == code_heads()
    assert run("migrate", "--down", "base", **environment).stdout == "The database is at base: it is empty.\n"
    assert current_heads(empty_url) == frozenset()
    assert run("migrate", "--to", "accounts", **environment).stdout == "The database is at accounts.\n"


def test_migrate_says_what_is_wrong_when_the_database_is_away(tmp_path: Path) -> None:
    done = run("migrate", DATABASE_URL="postgresql://x:hunter2@127.0.0.1:1/luneo", DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "python -m app doctor" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


def test_worker_stops_cleanly_on_sigterm(fresh_url: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "worker"],
        cwd=ROOT,
        env={**PLAIN, "DATABASE_URL": fresh_url, "DATA_DIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "The worker runs\n"
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=90), "Traceback" in rest) == (0, False)


def test_openapi_check_fails_only_when_the_file_is_not_current(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "openapi.json"
    call = ["openapi", "--output", str(document)]
    assert run(*call, DATA_DIR=str(tmp_path), PYTHONHASHSEED="1").returncode == 0
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert main([*call, "--check"]) == 0
        document.write_text(document.read_text().replace("Luneo API", "Lunatic API"))
        assert main([*call, "--check"]) == 1
    finally:
        signal.signal(signal.SIGTERM, handler)
    told = capsys.readouterr().err
    assert "make openapi" in told
    assert "Lunatic" in told
    assert "Lunatic" in document.read_text()


@pytest.mark.parametrize("verb", ["serve", "worker", "migrate", "seed", "openapi", "doctor"])
def test_every_command_explains_itself(verb: str) -> None:
    done = run(verb, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python -m app {verb}" in done.stdout
    assert len(done.stdout) > 150


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["serve", "--port", "x"],
        ["serve", "--port", "70000"],
        ["migrate", "--to", "a", "--down", "b"],
    ],
)
def test_wrong_calls_end_with_2_and_the_usage(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m app")


def test_doctor_makes_keys_that_the_ring_takes() -> None:
    first, second = (run("doctor", "--new-key").stdout.strip() for _ in range(2))
    assert first != second
    assert len(KeyRing.parse(f"{first},{second}").kids) == 2


def test_doctor_finds_nothing_wrong_when_nothing_is(
    fresh_url: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    done = run("doctor", DATABASE_URL=fresh_url, DATA_DIR=str(tmp_path), REDIS_URL=redis_server.url)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1] == "Nothing is wrong."
    names = [line[6:].partition(":")[0] for line in lines[:-1]]
    assert names == [
        *("configuration", "data directory", "keys", "fonts", "redis", "smtp", "storage", "stripe"),
        *("database", "clock", "migrations", "canary", "work"),
    ]


def test_doctor_names_everything_that_is_wrong(empty_url: str, tmp_path: Path) -> None:
    done = run(
        "doctor",
        DATABASE_URL=empty_url,
        DATA_DIR="/proc/nowhere",
        SECRET_KEYS="k1:c2hvcnQ=",
        REDIS_URL="redis://127.0.0.1:1/0",
        SMTP_URL="smtp://127.0.0.1:1",
    )
    assert done.returncode == 1
    failed = {line[6:].partition(":")[0] for line in done.stdout.splitlines() if line.startswith("FAIL")}
    assert failed == {"data directory", "keys", "redis", "smtp", "storage", "migrations"}
    assert done.stdout.splitlines()[-1] == "6 wrong; mend from the top."
    assert "c2hvcnQ" not in done.stdout
    assert done.stderr == ""


def test_doctor_names_what_production_may_not_have(tmp_path: Path) -> None:
    done = run("doctor", DATA_DIR=str(tmp_path), **production())
    failed = [line[6:].partition(":")[0] for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert set(failed) == {"PUBLIC_URL", "APP_URL", "MAIL_FROM", "smtp", "database"}
    assert done.returncode == 1


def test_doctor_looks_into_the_bucket(fresh_url: str, tmp_path: Path, s3_server: S3Server) -> None:
    bucket = {
        "STORAGE_URL": f"s3://{BUCKET}/doctor",
        "S3_ENDPOINT": s3_server.endpoint,
        "S3_ACCESS_KEY_ID": s3_server.access_key_id,
        "S3_SECRET_ACCESS_KEY": s3_server.secret_access_key,
    }
    good = run("doctor", DATABASE_URL=fresh_url, DATA_DIR=str(tmp_path), **bucket)
    assert f"ok    storage: s3://{BUCKET}/doctor takes and gives files" in good.stdout
    assert "aborted after one day" in good.stdout
    bad = run(
        "doctor", DATABASE_URL=fresh_url, DATA_DIR=str(tmp_path), **bucket | {"S3_SECRET_ACCESS_KEY": "wrong"}
    )
    assert "FAIL  storage: " in bad.stdout
    assert "storage_failed" not in bad.stdout, "the log goes to standard error"
    assert "storage_failed" in bad.stderr
    assert bad.returncode == 1


def test_doctor_names_an_origin_that_lets_everybody_in(tmp_path: Path) -> None:
    done = run("doctor", DATA_DIR=str(tmp_path), CORS_ORIGINS="https://app.example.com,*")
    assert "FAIL  CORS_ORIGINS: list exact origins" in done.stdout
    assert done.returncode == 1


async def test_doctor_finds_waiting_work_and_a_foreign_key_ring(fresh_url: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(fresh_url.replace("+asyncpg", ""))
    await connection.execute(
        "INSERT INTO event_outbox (event_id, type, audience, topic, actor_type, body, occurred_at)"
        " VALUES (gen_random_uuid(), 'test.happened', 'internal', 'internal', 'system', '{}',"
        " now() - interval '5 minutes')"
    )
    await connection.close()
    done = run("doctor", DATABASE_URL=fresh_url, DATA_DIR=str(tmp_path))
    assert "FAIL  work: No worker keeps up: events have been waiting for 3" in done.stdout
    assert done.returncode == 1


async def test_doctor_draws_a_new_epoch(fresh_url: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(fresh_url.replace("+asyncpg", ""))
    before = await connection.fetchval("SELECT salt FROM event_epochs WHERE id = 1")
    done = run("doctor", "--new-epoch", DATABASE_URL=fresh_url, DATA_DIR=str(tmp_path))
    after = await connection.fetchval("SELECT salt FROM event_epochs WHERE id = 1")
    await connection.close()
    assert done.returncode == 0
    assert before != after


def test_shared_metrics_are_emptied_by_serve(fresh_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_999999.db").write_bytes(b"of a process that has ended")
    token = "a-token-for-the-scraper"
    with serving(
        DATABASE_URL=fresh_url,
        DATA_DIR=str(tmp_path),
        PROMETHEUS_MULTIPROC_DIR=str(folder),
        METRICS_TOKEN=token,
    ) as service:
        assert not (folder / "counter_999999.db").exists()
        service.get("/health/live")
        assert f"histogram_{service.process.pid}.db" in {path.name for path in folder.iterdir()}


def test_nothing_is_left_running_when_start_is_interrupted(embedded: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--port", "0"],
        cwd=ROOT,
        env={**PLAIN, "DATA_DIR": str(embedded)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 90
    while not (embedded / "postgres.lock").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    rest = process.stdout.read()
    process.stdout.close()
    assert (process.wait(timeout=90), rest) == (0, "")
    assert not EmbeddedPostgres(embedded / "postgres").is_running
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(process.pid).children() == []
