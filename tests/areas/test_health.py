"""Probes: what makes the service ready, what only warns, and who may read the metrics."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import text

from app.core import clock
from app.core.config import get_settings, use_settings
from app.core.crypto import KeyRing, seal
from app.core.database import Database, SystemSession, create_engine
from app.repositories.health import HealthRepository, Lag
from app.services import health
from tests.support.cluster import Cluster
from tests.support.personas import Persona


async def ready(client: AsyncClient) -> tuple[int, str, dict[str, str]]:
    answer = await client.get("/health/ready")
    body: dict[str, Any] = answer.json()
    assert (answer.status_code == 503) == (body["status"] == "fail")
    assert answer.headers["cache-control"] == "no-store"
    return (
        answer.status_code,
        body["status"],
        {name: found[0]["status"] for name, found in body["checks"].items()},
    )


async def test_live_is_pass_even_when_the_database_is_away(app: FastAPI, client: AsyncClient) -> None:
    app.state.database = Database(create_engine("postgresql://x@127.0.0.1:1/x"))
    answer = await client.get("/health/live")
    await app.state.database.dispose()
    assert (answer.status_code, answer.json()) == (200, {"status": "pass"})


async def test_live_asks_the_database_nothing(client: AsyncClient, statements) -> None:
    with statements() as seen:
        await client.get("/health/live")
    assert seen == []


async def test_ready_is_pass_when_everything_is_there(client: AsyncClient, alice: Persona) -> None:
    status, overall, checks = await ready(client)
    assert (status, overall) == (200, "pass")
    assert checks == dict.fromkeys(("database", "migrations", "keys", "work", "storage", "mail"), "pass")


async def test_ready_is_found_once_in_five_seconds(client: AsyncClient, statements) -> None:
    with statements() as seen:
        await asyncio.gather(*(client.get("/health/ready") for _ in range(3)))
        first = len(seen)
        await client.get("/health/ready")
    assert 0 < first == len(seen)


async def test_ready_is_503_with_reasons_and_no_address_when_the_database_is_away(
    app: FastAPI, client: AsyncClient
) -> None:
    app.state.database = Database(create_engine("postgresql://somebody@127.0.0.1:1/secret_name"))
    answer = await client.get("/health/ready")
    await app.state.database.dispose()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["checks"]["database"] == [
        {"status": "fail", "output": "The database does not answer."}
    ]
    assert "127.0.0.1" not in answer.text
    assert "secret_name" not in answer.text


async def test_ready_is_503_when_the_database_was_never_migrated(
    app: FastAPI, client: AsyncClient, cluster: Cluster, worker_name: str
) -> None:
    name = f"luneo_{worker_name}_empty"
    app.state.database = Database(create_engine(await cluster.clone(name, template="template1")))
    _, overall, checks = await ready(client)
    await app.state.database.dispose()
    await cluster.drop(name)
    assert overall == "fail"
    assert checks == {"database": "pass", "migrations": "fail", "storage": "pass", "mail": "pass"}


async def test_ready_is_503_when_the_newest_sealed_value_is_of_another_ring(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    foreign = KeyRing({"t1": b"another key of that very same name"})
    sealed = seal(foreign, b"x" * 32, context=f"sessions.refresh_key_sealed:{alice.session_id}")
    await db.execute(text("UPDATE sessions SET refresh_key_sealed = :sealed"), {"sealed": sealed})
    await db.commit()
    status, _, checks = await ready(client)
    assert (status, checks["keys"]) == (503, "fail")


async def test_ready_warns_when_the_store_is_away(
    client: AsyncClient, alice: Persona, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked once a minute, because it is written to."""
    monkeypatch.setattr(health, "_kept_storage", {})
    (tmp_path / "store").write_text("in the way")
    monkeypatch.setattr(get_settings(), "storage_url", f"file://{tmp_path}/store")
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "warn")
    assert answer.json()["checks"]["storage"] == [
        {"status": "warn", "output": "The store of files does not answer."}
    ]
    assert str(tmp_path) not in answer.text
    monkeypatch.setattr(get_settings(), "storage_url", f"file://{tmp_path}/another")
    assert (await health.check_storage()).status == "warn"
    monkeypatch.setattr(health, "STORAGE_KEPT_SECONDS", 0.0)
    assert (await health.check_storage()).status == "pass"
    assert [path for path in (tmp_path / "another").rglob("*") if path.is_file()] == []


async def test_ready_warns_when_events_wait(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    await db.execute(
        text(
            "INSERT INTO event_outbox (event_id, type, audience, topic, actor_type, body, occurred_at)"
            " VALUES (gen_random_uuid(), 'test.happened', 'internal', 'internal', 'system', '{}',"
            " now() - interval '31 seconds')"
        )
    )
    await db.commit()
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "warn")
    assert answer.json()["checks"]["work"][0]["output"].startswith(
        "No worker keeps up: events have been waiting"
    )


async def test_lag_is_measured_of_events_jobs_and_workers(db: SystemSession) -> None:
    asked = HealthRepository(db)
    assert await asked.lag() == Lag(None, None, None)
    await db.execute(
        text("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '7 seconds')")
    )
    await db.execute(
        text(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status, scheduled_at) VALUES"
            " ('default', 'late', 'todo', now() - interval '90 seconds'),"
            " ('default', 'later', 'todo', now() + interval '1 hour'),"
            " ('default', 'done', 'succeeded', now() - interval '1 day')"
        )
    )
    lag = await asked.lag()
    assert lag.outbox_seconds is None
    assert lag.job_seconds == pytest.approx(90, abs=5)
    assert lag.worker_seconds == pytest.approx(7, abs=5)


@pytest.mark.parametrize(
    ("lag", "words"),
    [
        (Lag(None, None, None), None),
        (Lag(29, 59, 1), None),
        (Lag(31, 59, None), "events have been waiting for 31 s."),
        (Lag(1, 61, None), "due jobs have been waiting for 61 s."),
        (Lag(40, 90, 5), "events have been waiting for 40 s and due jobs have been waiting for 90 s."),
    ],
)
def test_delays_are_said_when_they_are_long(lag: Lag, words: str | None) -> None:
    said = health.delays(lag)
    assert said == (f"No worker keeps up: {words}" if words else None)


def test_mail_warns_in_production_only() -> None:
    settings = get_settings()
    assert health.check_mail(settings).status == "pass"
    production = settings.model_copy(update={"environment": "production"})
    assert health.check_mail(production).status == "warn"
    for sender in (
        {"smtp_url": "smtp://mail.example.test"},
        {"brevo_api_key": "k"},
        {"sendgrid_api_key": "k"},
    ):
        assert health.check_mail(production.model_copy(update=sender)).status == "pass"
    unlisted = {"brevo_api_key": "k", "mail_providers": ["smtp"]}
    assert health.check_mail(production.model_copy(update=unlisted)).status == "warn"


TOKEN = "a-token-for-the-scraper"


@pytest.fixture
def metrics_token():
    use_settings(metrics_token=TOKEN)
    yield
    use_settings(metrics_token=None)


async def test_metrics_are_404_when_no_token_is_set(client: AsyncClient) -> None:
    answer = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "unauthenticated"),
        ({"Authorization": "Basic eDp5"}, "unauthenticated"),
        ({"Authorization": "Bearer wrong"}, "access_token_invalid"),
        ({"Authorization": b"Bearer \xff\xfe"}, "access_token_invalid"),
        ({"Authorization": f"Bearer {TOKEN}x"}, "access_token_invalid"),
    ],
)
async def test_metrics_are_401_when_the_token_is_not_theirs(
    client: AsyncClient, metrics_token: None, headers: dict[str, Any], code: str
) -> None:
    answer = await client.get("/metrics", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_metrics_hold_requests_and_nobodys_names(
    client: AsyncClient, metrics_token: None, alice: Persona
) -> None:
    await client.get(f"/api/products/{alice.user_id}", headers=alice.headers)
    answer = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert (
        'luneo_http_requests_total{method="GET",route="/api/products/{product_id}",status_class="4xx"}'
        in answer.text
    )
    assert (
        'luneo_http_request_duration_seconds_count{method="GET",route="/api/products/{product_id}"}'
        in answer.text
    )
    for private in (str(alice.user_id), str(alice.organization_id), alice.email):
        assert private not in answer.text


async def test_probes_are_not_timed(client: AsyncClient, metrics_token: None) -> None:
    await client.get("/health/live")
    answer = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert 'luneo_http_requests_total{method="GET",route="/health/live",status_class="2xx"}' in answer.text
    assert 'luneo_http_request_duration_seconds_count{method="GET",route="/health/live"}' not in answer.text


async def test_probe_does_not_hang_when_the_database_does(
    app: FastAPI, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    app.state.database = Database(create_engine(f"postgresql://x@127.0.0.1:{port}/x"))
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.2)
    began = clock.now()
    status, _, checks = await ready(client)
    assert (status, checks["database"]) == (503, "fail")
    assert clock.now() - began < timedelta(seconds=30)
    await app.state.database.dispose()
    server.close()
    await server.wait_closed()


async def test_probes_need_no_credential_and_ignore_a_bad_one(application: FastAPI, app: FastAPI) -> None:
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://api.luneo.test") as client:
        answer = await client.get("/health/live", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 200
