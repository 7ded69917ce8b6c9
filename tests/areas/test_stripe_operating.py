"""What the platform's staff sees of Stripe's events, commands and differences, and does, over HTTP."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.models.stripe_webhooks import StripeCommand, StripeEvent
from app.services.stripe_webhooks.effects import EventDead, StripeEventRow, on_stripe
from app.services.stripe_webhooks.processing import process_event
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.factories.stripe_webhooks import make_difference, make_stripe_event
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.stripe_calls import Customer, ask, register
from tests.support.stripe_events import event_of, own_registrations, send
from tests.support.stripe_sandbox import StripeSandbox

EVENTS, COMMANDS = "/api/billing/stripe-events", "/api/billing/stripe-commands"
DIFFERENCES = "/api/billing/reconciliation"
NOBODY = UUID(int=7)
ROUTES = [
    ("GET", EVENTS),
    ("GET", f"{EVENTS}/evt_1"),
    ("POST", f"{EVENTS}/evt_1/retry"),
    ("GET", COMMANDS),
    ("POST", f"{COMMANDS}/{NOBODY}/retry"),
    ("GET", DIFFERENCES),
    ("POST", f"{DIFFERENCES}/run"),
    ("POST", f"{DIFFERENCES}/{NOBODY}/repair"),
    ("POST", f"{DIFFERENCES}/{NOBODY}/ignore"),
]

WITH_IDS = [route for route in ROUTES if "evt_1" in route[1] or str(NOBODY) in route[1]]


async def headers_of_staff(
    db: SystemSession, monkeypatch: pytest.MonkeyPatch, **session: Any
) -> dict[str, str]:
    user = await make_user(db, email="agent@luneo.test")
    monkeypatch.setattr(get_settings(), "platform_staff_ids", [str(user.id)])
    made = await make_session(db, user, **session)
    await db.commit()
    return {"Authorization": f"Bearer {access_token_of(made)}"}


@pytest.fixture
async def staff(db: SystemSession, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    return await headers_of_staff(db, monkeypatch, aal=2)


@pytest.fixture
def calls(stripe_sandbox: StripeSandbox) -> Iterator[Customer]:
    assert stripe_sandbox.client
    with own_registrations():
        yield register()


def body_for(path: str) -> dict[str, Any]:
    return {"json": {"note": "x"}} if path.endswith("/ignore") else {}


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_routes_when_the_caller_is_not_staff(
    client: AsyncClient, alice: Persona, bob: Persona, method: str, path: str
) -> None:
    nobody = await client.request(method, path, **body_for(path))
    assert nobody.status_code == 401
    for person in (alice, bob):
        refused = await client.request(method, path, headers=person.headers, **body_for(path))
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_routes_when_the_second_check_is_missing(
    client: AsyncClient, db: SystemSession, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    headers = await headers_of_staff(db, monkeypatch, aal=2, step_up=False)
    refused = await client.request(method, path, headers=headers, **body_for(path))
    assert (refused.status_code, refused.json()["code"]) == (401, "step_up_required")


@pytest.mark.parametrize(("method", "path"), WITH_IDS)
async def test_routes_when_there_is_no_such_row(
    client: AsyncClient, staff: dict[str, str], method: str, path: str
) -> None:
    answer = await client.request(method, path, headers=staff, **body_for(path))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("event_id", ["%00", "a" * 256, "%ff", "evt_1%2Fx"])
async def test_event_when_its_id_is_none(client: AsyncClient, staff: dict[str, str], event_id: str) -> None:
    assert (await client.get(f"{EVENTS}/{event_id}", headers=staff)).status_code == 404


async def make_events(db: SystemSession, count: int) -> list[StripeEvent]:
    start = clock.now() - timedelta(hours=1)
    moments = [start + timedelta(seconds=number // 2) for number in range(count)]
    return [
        await make_stripe_event(db, id=f"evt_{number:03}", received_at=moment)
        for number, moment in enumerate(moments)
    ]


async def test_events_when_they_are_paged(
    client: AsyncClient, db: SystemSession, staff: dict[str, str]
) -> None:
    rows = await make_events(db, 7)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = (await client.get(EVENTS, params=query, headers=staff)).json()
        assert all("payload" not in item for item in page["items"])
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == [row.id for row in reversed(rows)]
    numbered = (await client.get(EVENTS, params={"page": 2, "limit": 5}, headers=staff)).json()
    assert ([item["id"] for item in numbered["items"]], numbered["total"]) == (["evt_001", "evt_000"], 7)
    for bad in (
        {"cursor": "x"},
        {"cursor": query["cursor"], "status": "dead"},
        {"cursor": query["cursor"][:-1]},
    ):
        refused = await client.get(EVENTS, params={"limit": 3, **bad}, headers=staff)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "cursor_invalid")
    deep = await client.get(EVENTS, params={"page": 1000, "limit": 100}, headers=staff)
    assert deep.json()["errors"][0]["code"] == "page_too_deep"


async def test_events_when_they_are_filtered(
    client: AsyncClient, db: SystemSession, staff: dict[str, str], alice: Persona
) -> None:
    rows = await make_events(db, 4)
    rows[1].status, rows[2].type = "dead", "invoice.voided"
    rows[3].object_id, rows[0].organization_id = "in_2", alice.organization_id
    await db.commit()

    async def ids(**query: Any) -> list[str]:
        page = await client.get(EVENTS, params=query, headers=staff)
        return [item["id"] for item in page.json()["items"]]

    assert await ids(status="dead") == [rows[1].id]
    assert await ids(type="invoice.voided") == [rows[2].id]
    assert await ids(object_id="in_2") == [rows[3].id]
    assert await ids(organization_id=str(alice.organization_id)) == [rows[0].id]
    edge = rows[2].received_at.isoformat()
    assert await ids(**{"from": edge}) == [rows[3].id, rows[2].id]
    assert await ids(to=edge) == [rows[1].id, rows[0].id]
    whole = (await client.get(f"{EVENTS}/{rows[0].id}", headers=staff)).json()
    assert whole["payload"] == {"secret": 1}


async def test_retry_when_an_event_is_dead(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    staff: dict[str, str],
) -> None:
    prices_known: list[bool] = []

    async def effect(_: SystemSession, __: dict[str, Any], event: StripeEventRow) -> None:
        assert event.owner == alice.organization_id
        if not prices_known:
            raise EventDead("unknown_price")
        prices_known.append(True)

    with own_registrations():
        on_stripe("customer.updated")(effect)
        metadata = {"organization_id": str(alice.organization_id)}
        event = event_of("customer.updated", await stripe_sandbox.call("customers.create", metadata=metadata))
        await send(client, stripe_sandbox, event)
        await process_event(database, event["id"])
        dead = (await client.get(f"{EVENTS}/{event['id']}", headers=staff)).json()
        assert (dead["status"], dead["attempts"]) == ("dead", 1)
        prices_known.append(True)
        answer = await client.post(f"{EVENTS}/{event['id']}/retry", headers=staff)
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        assert answer.headers["Location"] == f"{EVENTS}/{event['id']}"
        await handle_events(database)
    done = (await client.get(answer.headers["Location"], headers=staff)).json()
    assert (done["status"], done["last_error"]) == ("done", None)
    assert len(prices_known) == 2
    again = await client.post(f"{EVENTS}/{event['id']}/retry", headers=staff)
    assert (again.status_code, again.json()["code"]) == (409, "event_not_retryable")


async def test_commands_when_they_are_listed_and_retried(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    alice: Persona,
    staff: dict[str, str],
    calls: Customer,
) -> None:
    async def page(**query: Any) -> Any:
        return (await client.get(COMMANDS, params=query, headers=staff)).json()

    async with database.transaction() as session:
        commands = [await ask(session, alice.organization_id) for _ in range(3)]
    rows = [await db.get_one(StripeCommand, (alice.organization_id, command.id)) for command in commands]
    for number, row in enumerate(rows):
        row.created_at += timedelta(seconds=number)
    rows[0].status, rows[1].next_attempt_at = "failed", rows[1].created_at + timedelta(hours=1)
    rows[1].status = "sent"
    await db.execute(text("DELETE FROM procrastinate_jobs"))
    await db.commit()
    first = await page(limit=2)
    assert [item["id"] for item in first["items"]] == [str(rows[2].id), str(rows[1].id)]
    assert "params" not in first["items"][0]
    rest = (
        await client.get(COMMANDS, params={"limit": 2, "cursor": first["next_cursor"]}, headers=staff)
    ).json()
    assert [item["status"] for item in rest["items"]] == ["failed"]
    kinds = (
        await client.get(COMMANDS, params={"status": "sent", "kind": "test.customer"}, headers=staff)
    ).json()
    assert [item["id"] for item in kinds["items"]] == [str(rows[1].id)]
    refused = await client.post(f"{COMMANDS}/{rows[0].id}/retry", headers=staff)
    assert (refused.status_code, refused.json()["code"]) == (409, "command_not_retryable")
    answer = await client.post(f"{COMMANDS}/{rows[1].id}/retry", headers=staff)
    assert answer.status_code == 202
    await handle_events(database)
    assert len(calls.recorded) == 1


async def test_difference_when_it_is_ignored(
    client: AsyncClient, db: SystemSession, staff: dict[str, str]
) -> None:
    row = await make_difference(db)
    path = f"{DIFFERENCES}/{row.id}"
    answer = await client.post(f"{path}/ignore", json={"note": "Known since May."}, headers=staff)
    assert (answer.status_code, answer.json()["status"]) == (200, "ignored")
    assert answer.json()["closed_by"].endswith(": Known since May.")
    for act in ("ignore", "repair"):
        refused = await client.post(f"{path}/{act}", headers=staff, **body_for(f"{path}/{act}"))
        assert (refused.status_code, refused.json()["code"]) == (409, "difference_closed")


async def test_difference_when_it_is_repaired(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    stripe_sandbox: StripeSandbox,
    alice: Persona,
    staff: dict[str, str],
) -> None:
    seen: list[str] = []

    async def effect(_: SystemSession, fetched: dict[str, Any], __: StripeEventRow) -> None:
        seen.append(fetched["id"])

    metadata = {"organization_id": str(alice.organization_id)}
    customer = await stripe_sandbox.call("customers.create", metadata=metadata)
    row = await make_difference(db, stripe_id=customer["id"])
    person = await make_difference(db, repair=None, kind="paid_but_closed")
    with own_registrations():
        on_stripe("customer.updated")(effect)
        answer = await client.post(f"{DIFFERENCES}/{row.id}/repair", headers=staff)
        assert (answer.status_code, answer.json()["status"]) == (202, "open")
        await handle_events(database)
    assert seen == [customer["id"]]
    listed = (await client.get(DIFFERENCES, params={"status": "repaired"}, headers=staff)).json()
    assert [item["id"] for item in listed["items"]] == [str(row.id)]
    refused = await client.post(f"{DIFFERENCES}/{person.id}/repair", headers=staff)
    assert (refused.status_code, refused.json()["code"]) == (409, "difference_not_repairable")


async def test_differences_when_they_are_paged(
    client: AsyncClient, db: SystemSession, staff: dict[str, str]
) -> None:
    rows = [
        await make_difference(db, first_seen_at=clock.now() + timedelta(seconds=number))
        for number in range(3)
    ]
    first = (await client.get(DIFFERENCES, params={"limit": 2}, headers=staff)).json()
    cursor = {"limit": 2, "cursor": first["next_cursor"]}
    rest = (await client.get(DIFFERENCES, params=cursor, headers=staff)).json()
    found = [item["id"] for item in (*first["items"], *rest["items"])]
    assert found == [str(row.id) for row in reversed(rows)]
    kinds = await client.get(DIFFERENCES, params={"kind": "ledger_gap"}, headers=staff)
    assert kinds.json()["items"] == []


async def test_run_when_it_is_asked_for_twice(
    client: AsyncClient, db: SystemSession, stripe_sandbox: StripeSandbox, staff: dict[str, str]
) -> None:
    assert stripe_sandbox.client
    for _ in range(2):
        answer = await client.post(f"{DIFFERENCES}/run", headers=staff)
        assert answer.status_code == 202
        assert "queued_at" in answer.json()
    count = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'reconcile_stripe'"
    assert await db.scalar(text(count)) == 1
