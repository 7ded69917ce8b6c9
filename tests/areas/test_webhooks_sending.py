"""Deliveries: signed, sent once, tried again as they should be, held and let go in their order."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import select, update
from standardwebhooks import Webhook, WebhookVerificationError

from app.core import clock
from app.core.database import Database, SystemSession
from app.jobs.handlers import handle_event
from app.models.integrations import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from app.models.realtime import EventLog
from app.services.integrations.webhooks.outcomes import Outcome
from app.services.integrations.webhooks.queueing import queue_deliveries
from app.services.integrations.webhooks.sending import LEASE, SENDER, deliver, record, take
from app.services.integrations.webhooks.upkeep import prune, rescue
from tests.factories.accounts import access_token_of, make_session
from tests.factories.webhooks import happen, make_delivery, make_webhook
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.receivers import reply, reset_after
from tests.support.webhooks import Hook, envelope_of, handle_until_now, hooking

WEBHOOKS = "/api/integrations/webhooks"
Recorder = Callable[[], AbstractContextManager[list[str]]]


@pytest.fixture
async def hook(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hook]:
    async with hooking(monkeypatch) as hook:
        yield hook


async def rows(db: SystemSession) -> list[WebhookDelivery]:
    """Every delivery, in the order of events."""
    statement = select(WebhookDelivery).order_by(WebhookDelivery.created_at, WebhookDelivery.id)
    return list((await db.scalars(statement.execution_options(populate_existing=True))).all())


async def statuses(db: SystemSession) -> list[str]:
    return [row.status for row in await rows(db)]


async def attempts(db: SystemSession, *triggers: str) -> list[WebhookAttempt]:
    statement = select(WebhookAttempt).order_by(WebhookAttempt.started_at, WebhookAttempt.id)
    found = (await db.scalars(statement.execution_options(populate_existing=True))).all()
    return [row for row in found if not triggers or row.trigger in triggers]


def just_now() -> datetime:
    """A moment at which something became due, and is not late yet; before a test's transaction began."""
    return clock.now() - timedelta(seconds=20)


async def endpoint_row(db: SystemSession, endpoint_id: UUID) -> WebhookEndpoint:
    statement = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id)
    return (await db.scalars(statement.execution_options(populate_existing=True))).one()


async def wait(database: Database, delta: timedelta) -> None:
    """Let that much time go by, and whatever is due then be done."""
    with clock.travel(delta):
        await handle_until_now(database)


async def test_event_when_an_endpoint_asks_for_it(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """It comes byte for byte as the log has it, and the official library takes its signature."""
    endpoint, secret = await make_webhook(db, owner=alice, url=hook.url, events=["product.*"])
    (event_id,) = await happen(database, alice)
    await handle_events(database)
    ((headers, body),) = hook.requests
    assert Webhook(secret).verify(body, headers)["id"] == str(event_id)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers)
    assert body.decode() == await db.scalar(select(EventLog.body).where(EventLog.event_id == event_id))
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == "Luneo-Webhooks/1"
    assert headers["webhook-id"] == str(event_id)
    assert len(headers["traceparent"].split("-")) == 4
    (delivery,) = await rows(db)
    assert (delivery.status, delivery.attempts, delivery.last_response_status) == ("succeeded", 1, 200)
    (attempt,) = await attempts(db)
    assert (attempt.number, attempt.trigger, attempt.response_status) == (1, "auto", 200)
    assert (attempt.response_body, str(attempt.remote_ip)) == ("ok", "127.0.0.1")
    row = await endpoint_row(db, endpoint.id)
    assert row.last_success_at is not None
    assert (row.failure_count, row.last_response_status) == (0, 200)


@pytest.mark.parametrize(
    ("wanted", "comes"),
    [
        (["*"], True),
        (["product.*"], True),
        (["product.updated"], True),
        (["order.*", "product.updated"], True),
        (["order.*"], False),
        (["product.created", "product.deleted"], False),
    ],
)
async def test_event_when_endpoints_choose_types(
    database: Database, db: SystemSession, alice: Persona, hook: Hook, wanted: list[str], comes: bool
) -> None:
    await make_webhook(db, owner=alice, url=hook.url, events=wanted)
    await happen(database, alice)
    await handle_events(database)
    assert bool(hook.requests) is comes
    assert bool(await rows(db)) is comes


async def test_event_when_it_is_a_strangers(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona, hook: Hook
) -> None:
    await make_webhook(db, owner=charlie, url=hook.url)
    await happen(database, alice)
    await handle_events(database)
    assert not hook.requests
    assert not await rows(db)


async def test_event_when_nobody_asks_for_it(
    database: Database, db: SystemSession, alice: Persona, statements: Recorder
) -> None:
    """It costs one statement, which an index answers."""
    (event_id,) = await happen(database, alice)
    facts: dict[str, Any] = {
        "organization_id": alice.organization_id,
        "event_id": event_id,
        "event_type": "order.paid",
        "body": "{}",
        "occurred_at": clock.now(),
    }
    async with database.transaction() as session:
        await session.now()
        with statements() as seen:
            assert await queue_deliveries(session, **facts) == 0
    assert len(seen) == 1, seen
    assert "webhook_endpoints" in seen[0]


async def test_delivery_when_the_handler_runs_twice(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    await make_webhook(db, owner=alice, url=hook.url)
    (event_id,) = await happen(database, alice)
    await handle_events(database)
    await handle_event(database, event_id)
    await handle_events(database)
    assert hook.ids == [str(event_id)]


async def test_delivery_when_its_endpoint_fails_for_good(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """Ten attempts, each with the same id and body and a timestamp of its own; then it is given up, aloud."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url, events=["product.*"])
    hook.behaves = reply(400, b"no\x00!")
    (event_id,) = await happen(database, alice)
    await handle_events(database)
    assert await statuses(db) == ["retrying"]
    gone = timedelta()
    for _ in range(12):
        gone += timedelta(hours=30)
        await wait(database, gone)
        # Its circuit has nothing to do with the delivery's own count.
        await db.execute(update(WebhookEndpoint).values(failure_count=0, failing_since=None))
        await db.commit()
    (delivery,) = await rows(db)
    assert (delivery.status, delivery.attempts, delivery.last_error_code) == ("exhausted", 10, "http_4xx")
    made = await attempts(db, "auto")
    assert [row.number for row in made] == list(range(1, 11))
    assert {row.response_body for row in made} == {"no!"}
    assert hook.ids == [str(event_id)] * 10
    assert len({body for _, body in hook.requests}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in hook.requests}) == 10
    told = await db.scalar(select(EventLog.body).where(EventLog.type == "webhook_delivery.exhausted"))
    assert envelope_of(str(told).encode())["data"] == {
        "delivery_id": str(delivery.id),
        "webhook_endpoint_id": str(endpoint.id),
        "event_id": str(event_id),
        "event_type": "product.updated",
        "last_error_code": "http_4xx",
    }


async def test_events_about_an_endpoint_when_it_takes_everything(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """They go to the other endpoints only."""
    endpoint, _ = await make_webhook(db, owner=alice, url="https://hooks.example.com/one")
    await make_webhook(db, owner=alice, url=hook.url)
    paused = await client.post(f"{WEBHOOKS}/{endpoint.id}/pause", headers=alice.headers)
    assert paused.status_code == 200
    await handle_events(database)
    assert hook.types == ["webhook_endpoint.paused"]
    assert {row.endpoint_id for row in await rows(db)} == {
        row.id for row in (await db.scalars(select(WebhookEndpoint))).all()
    } - {endpoint.id}


async def test_delivery_when_the_endpoint_redirects(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    await make_webhook(db, owner=alice, url=hook.url)
    hook.behaves = reply(301, b"", Location="https://www.example.com/luneo")
    await happen(database, alice)
    await handle_events(database)
    (attempt,) = await attempts(db)
    assert (attempt.error_code, attempt.redirect_target) == ("redirect", "https://www.example.com/luneo")
    assert await statuses(db) == ["retrying"]
    assert len(hook.requests) == 1


async def test_delivery_when_the_connection_breaks(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    await make_webhook(db, owner=alice, url=hook.url)
    hook.behaves = reset_after(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
    await happen(database, alice)
    await handle_events(database)
    (attempt,) = await attempts(db)
    assert (attempt.error_code, attempt.response_status) == ("connection_reset", None)
    assert await statuses(db) == ["retrying"]


async def test_endpoint_when_it_says_that_it_is_gone(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """Everything that waits is cancelled, it is told once, and nothing comes any more."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url)
    held = await make_delivery(db, owner=alice, endpoint_id=endpoint.id, status="held")
    hook.behaves = reply(410)
    await happen(database, alice, count=2)
    await handle_events(database)
    assert len(hook.requests) == 1
    assert await statuses(db) == ["cancelled"] * 3
    row = await endpoint_row(db, endpoint.id)
    assert (row.status, row.disabled_reason, row.circuit) == ("disabled", "gone", "closed")
    assert (await db.get_one(WebhookDelivery, (alice.organization_id, held.id))).status == "cancelled"
    told = (await db.scalars(select(EventLog.type).where(EventLog.type == "webhook_endpoint.disabled"))).all()
    assert len(told) == 1
    await happen(database, alice)
    await handle_events(database)
    assert len(await rows(db)) == 3


async def test_circuit_when_the_endpoint_is_overloaded(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """One 503 opens it for as long as it asks; all is held, one ping goes, and its answer lets all go."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url, events=["product.*"])
    hook.behaves = reply(503, b"", Retry_After="100")
    first = await happen(database, alice)
    await handle_events(database)
    row = await endpoint_row(db, endpoint.id)
    assert (row.circuit, row.circuit_step) == ("open", 1)
    assert row.circuit_until is not None
    assert row.last_triggered_at is not None
    assert (row.circuit_until - row.last_triggered_at).total_seconds() == pytest.approx(100, abs=1)
    later = await happen(database, alice, count=2)
    await handle_events(database)
    assert await statuses(db) == ["held"] * 3
    await wait(database, timedelta(seconds=90))
    assert len(hook.requests) == 1
    hook.behaves = reply()
    hook.forget()
    await wait(database, timedelta(seconds=120))
    assert hook.types == ["webhook.ping", *["product.updated"] * 3]
    assert hook.ids[1:] == [str(event_id) for event_id in first + later]
    assert await statuses(db) == ["succeeded"] * 3
    assert (await endpoint_row(db, endpoint.id)).circuit_step == 0
    (recovered,) = (
        await db.scalars(select(EventLog.body).where(EventLog.type == "webhook_endpoint.recovered"))
    ).all()
    assert envelope_of(recovered.encode())["data"]["held_count"] == 3


async def test_circuit_when_pings_fail_too(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """It stays open, each time four times as long, and there is never more than one job waiting."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url, events=["product.*"])
    hook.behaves = reply(502)
    await happen(database, alice)
    await handle_events(database)
    gone, pauses = timedelta(), []
    for _ in range(7):
        row = await endpoint_row(db, endpoint.id)
        assert row.circuit_until is not None
        assert row.last_triggered_at is not None
        pauses.append(int((row.circuit_until - row.last_triggered_at).total_seconds()))
        gone += timedelta(seconds=pauses[-1])
        await wait(database, gone)
    assert pauses == [30, 120, 480, 1920, 7680, 21_600, 21_600]
    assert hook.types == ["product.updated", *["webhook.ping"] * 7]
    assert [row.response_status for row in await attempts(db, "ping")] == [502] * 7
    assert await statuses(db) == ["held"]


async def test_ping_when_one_waits_for_much_later(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """It asked for six hours; enabled by hand and failed again, it is asked again after half a minute."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url, events=["product.*"])
    hook.behaves = reply(503, b"", Retry_After="21600")
    await happen(database, alice)
    await handle_events(database)
    hook.behaves = reply(503)
    for act in ("pause", "enable"):
        answer = await client.post(f"{WEBHOOKS}/{endpoint.id}/{act}", headers=alice.headers)
        assert answer.status_code == 200
    await handle_events(database)
    assert (await endpoint_row(db, endpoint.id)).circuit == "open"
    hook.behaves = reply()
    hook.forget()
    await wait(database, timedelta(seconds=31))
    assert hook.types == ["webhook.ping", "product.updated"]
    assert await statuses(db) == ["succeeded"]


async def test_circuit_when_five_attempts_in_a_row_fail(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """Those that wait for their second attempt are held as well."""
    await make_webhook(db, owner=alice, url=hook.url, events=["product.*"])
    hook.behaves = reply(500)
    await happen(database, alice, count=7)
    await handle_events(database)
    assert len(hook.requests) == 5
    assert await statuses(db) == ["held"] * 7


async def test_endpoint_when_it_is_down_for_two_days(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """Everything that happened meanwhile comes afterwards, each once, in its order; warnings came in time."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url, events=["product.*"])
    hook.behaves = reset_after(b"")
    happened: list[str] = []
    for hours in range(0, 48, 6):
        with clock.travel(timedelta(hours=hours)):
            happened += [str(event_id) for event_id in await happen(database, alice)]
            await handle_until_now(database)
    assert set(await statuses(db)) == {"held"}
    warned = await db.scalars(select(EventLog.type).where(EventLog.type == "webhook_endpoint.failing"))
    assert len(warned.all()) == 2
    hook.behaves = reply()
    hook.forget()
    for seconds in (0, 5, 10):
        await wait(database, timedelta(hours=54, seconds=seconds))
    assert hook.types[0] == "webhook.ping"
    assert hook.ids[1:] == happened
    assert set(await statuses(db)) == {"succeeded"}
    row = await endpoint_row(db, endpoint.id)
    assert (row.circuit, row.failing_since, row.warned_step) == ("closed", None, 0)


async def test_drain_when_much_is_held(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """Five, then ten, and so on, five seconds apart, and not a moment sooner."""
    await make_webhook(db, owner=alice, url=hook.url, events=["product.*"])
    hook.behaves = reply(503)
    happened = await happen(database, alice, count=17)
    await handle_events(database)
    hook.behaves = reply()
    hook.forget()
    seen = []
    for seconds in (31, 33, 37, 42, 47):
        await wait(database, timedelta(seconds=seconds))
        seen.append(len(hook.requests) - 1)
    assert seen == [5, 5, 15, 17, 17]
    assert hook.ids[1:] == [str(event_id) for event_id in happened]


async def test_event_when_others_are_held_before_it(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """It overtakes none of them: the oldest goes instead, and it waits in the place of that one."""
    await make_webhook(db, owner=alice, url=hook.url, events=["product.*"])
    hook.behaves = reply(503)
    happened = await happen(database, alice, count=8)
    await handle_events(database)
    hook.behaves = reply()
    hook.forget()
    await wait(database, timedelta(seconds=31))
    happened += await happen(database, alice)
    await handle_events(database)
    assert len(hook.requests) - 1 == 6
    assert await statuses(db) == [*["succeeded"] * 6, *["held"] * 3]
    await wait(database, timedelta(seconds=37))
    assert hook.ids[1:] == [str(event_id) for event_id in happened]
    assert await statuses(db) == ["succeeded"] * 9


async def test_delivery_when_its_secret_cannot_be_read(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    alice: Persona,
    hook: Hook,
    other_keys: Callable[[bool], None],
) -> None:
    """It is held like all others, and goes an hour after the owner has rotated the secret."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url, events=["product.*"])
    happened = await happen(database, alice)
    other_keys(False)
    await handle_events(database)
    assert (await statuses(db), (await endpoint_row(db, endpoint.id)).circuit) == (["held"], "open")
    await wait(database, timedelta(hours=1, seconds=1))
    assert not hook.requests
    session = await make_session(db, alice.user_id, organization_id=alice.organization_id)
    await db.commit()
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    rotated = await client.post(f"{WEBHOOKS}/{endpoint.id}/secret/rotate", headers=headers)
    assert rotated.status_code == 200
    await wait(database, timedelta(hours=2, seconds=2))
    assert hook.types == ["webhook.ping", "product.updated"]
    assert hook.ids[1:] == [str(event_id) for event_id in happened]


async def test_endpoint_when_it_fails_for_five_days(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """Three warnings, each once, and then it is disabled; enabled again, it gets what was held."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url, events=["product.*"])
    hook.behaves = reply(503)
    await happen(database, alice)
    for hours in range(0, 150, 6):
        await wait(database, timedelta(hours=hours))
    row = await endpoint_row(db, endpoint.id)
    assert (row.status, row.disabled_reason) == ("disabled", "failing")
    assert row.failed_since_count >= 20
    told = (
        await db.scalars(
            select(EventLog.type).where(EventLog.object_type == "webhook_endpoint").order_by(EventLog.pos)
        )
    ).all()
    assert list(told) == ["webhook_endpoint.failing"] * 3 + ["webhook_endpoint.disabled"]
    assert await statuses(db) == ["held"]
    asked = len(hook.requests)
    await wait(database, timedelta(hours=200))
    assert len(hook.requests) == asked, "nobody pings what is disabled"


async def test_paused_endpoint_when_it_is_enabled(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url, events=["product.*"], status="paused")
    happened = await happen(database, alice, count=3)
    await handle_events(database)
    assert not hook.requests
    shown = await client.get(f"{WEBHOOKS}/{endpoint.id}", headers=alice.headers)
    assert (shown.json()["held_count"], shown.json()["is_active"]) == (3, False)
    assert (await client.post(f"{WEBHOOKS}/{endpoint.id}/enable", headers=alice.headers)).status_code == 200
    await handle_events(database)
    assert hook.ids == [str(event_id) for event_id in happened]


async def test_deliveries_when_their_type_is_not_wanted_any_more(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url, status="paused")
    kept = await make_delivery(
        db, owner=alice, endpoint_id=endpoint.id, status="held", event_type="order.paid"
    )
    await happen(database, alice, count=2)
    await handle_events(database)
    changed = await client.patch(
        f"{WEBHOOKS}/{endpoint.id}", json={"events": ["order.*"]}, headers=alice.headers
    )
    assert changed.status_code == 200
    found = {row.id: row.status for row in await rows(db)}
    assert found.pop(kept.id) == "held"
    assert set(found.values()) == {"cancelled"}


async def test_delivery_when_its_worker_was_lost(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """After the lease it is sent again under the same id, and the attempts tell what happened."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url)
    delivery = await make_delivery(db, owner=alice, endpoint_id=endpoint.id, next_attempt_at=just_now())
    ids = (alice.organization_id, endpoint.id, delivery.id)
    async with database.transaction(principal=SENDER) as session:
        lost = await take(session, *ids)
    assert lost is not None
    assert await deliver(database, *ids) is None, "it is leased"
    assert await rescue(database) == 0
    with clock.travel(LEASE + timedelta(seconds=31)):
        assert await rescue(database) == 1
        assert await rescue(database) == 0, "it waits already"
        await handle_until_now(database)
    assert hook.ids == [str(delivery.event_id)]
    (row,) = await rows(db)
    assert (row.status, row.attempts) == ("succeeded", 2)
    assert [(one.number, one.response_status) for one in await attempts(db)] == [(1, None), (2, 200)]
    async with database.transaction(principal=SENDER) as session:
        late = Outcome(error_code="timeout", hint=None, duration_ms=15_000)
        await record(session, lost, late)
    assert await statuses(db) == ["succeeded"]
    assert [one.error_code for one in await attempts(db)] == ["timeout", None]


async def test_deliveries_when_five_are_under_way(
    database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    """The sixth waits for the first that ends."""
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url)
    now = just_now()
    made = [
        await make_delivery(db, owner=alice, endpoint_id=endpoint.id, next_attempt_at=now) for _ in range(7)
    ]
    async with database.transaction(principal=SENDER) as session:
        taken = [await take(session, alice.organization_id, endpoint.id, row.id) for row in made]
    assert [one is not None for one in taken] == [True] * 5 + [False] * 2
    assert await statuses(db) == ["sending"] * 5 + ["held"] * 2
    async with database.transaction(principal=SENDER) as session:
        assert taken[0] is not None
        await record(session, taken[0], Outcome(error_code=None, hint=None, duration_ms=5, status=200))
    assert await statuses(db) == ["succeeded", *["sending"] * 4, "pending", "held"]
    await handle_events(database)
    assert await statuses(db) == ["succeeded", *["sending"] * 4, "succeeded", "succeeded"]


async def test_deliveries_when_their_jobs_come_in_another_order(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    """The oldest goes first, whichever job comes first, and every job sends one."""
    endpoint, _ = await make_webhook(db, owner=alice)
    for _ in range(3):
        await make_delivery(db, owner=alice, endpoint_id=endpoint.id, next_attempt_at=just_now())
    in_order = [row.id for row in await rows(db)]
    async with database.transaction(principal=SENDER) as session:
        taken = [
            await take(session, alice.organization_id, endpoint.id, delivery_id)
            for delivery_id in (in_order[2], in_order[0], in_order[1], in_order[0])
        ]
    assert [one.delivery_id if one else None for one in taken] == [*in_order, None]


async def test_delivery_when_an_older_one_is_not_wanted(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    """It was made by a handler that had read the types before they were changed; it is not sent."""
    endpoint, _ = await make_webhook(db, owner=alice, events=["product.*"])
    now = just_now()
    unwanted, newer = [
        await make_delivery(
            db, owner=alice, endpoint_id=endpoint.id, next_attempt_at=now, event_type=kind, created_at=at
        )
        for kind, at in (("order.paid", now - timedelta(minutes=1)), ("product.updated", now))
    ]
    async with database.transaction(principal=SENDER) as session:
        turns = [await take(session, alice.organization_id, endpoint.id, newer.id) for _ in range(2)]
    assert [one.delivery_id if one else None for one in turns] == [None, newer.id]
    assert [row.status for row in await rows(db) if row.id == unwanted.id] == ["cancelled"]


async def test_deliveries_when_their_endpoint_has_just_failed(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    """They go one by one, so that it keeps nobody else waiting."""
    endpoint, _ = await make_webhook(db, owner=alice, failure_count=1)
    now = just_now()
    made = [
        await make_delivery(db, owner=alice, endpoint_id=endpoint.id, next_attempt_at=now) for _ in range(2)
    ]
    async with database.transaction(principal=SENDER) as session:
        taken = [await take(session, alice.organization_id, endpoint.id, row.id) for row in made]
    assert [one is not None for one in taken] == [True, False]
    assert await statuses(db) == ["sending", "held"]


async def test_deliveries_when_their_events_are_too_old(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    """What was held is cancelled and shown for a day; the rest goes with its attempts."""
    endpoint, _ = await make_webhook(db, owner=alice)
    old = clock.now() - timedelta(days=31)
    await make_delivery(
        db, owner=alice, endpoint_id=endpoint.id, status="succeeded", created_at=old, completed_at=old
    )
    await make_delivery(db, owner=alice, endpoint_id=endpoint.id, status="held", created_at=old)
    await make_delivery(db, owner=alice, endpoint_id=endpoint.id, status="held")
    await prune(database)
    assert await statuses(db) == ["cancelled", "held"]
    with clock.travel(timedelta(days=2)):
        await prune(database)
    assert await statuses(db) == ["held"]


async def test_endpoint_when_it_was_deleted_amid_an_attempt(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, hook: Hook
) -> None:
    endpoint, _ = await make_webhook(db, owner=alice, url=hook.url)
    delivery = await make_delivery(db, owner=alice, endpoint_id=endpoint.id, next_attempt_at=just_now())
    async with database.transaction(principal=SENDER) as session:
        taken = await take(session, alice.organization_id, endpoint.id, delivery.id)
    assert taken is not None
    assert (await client.delete(f"{WEBHOOKS}/{endpoint.id}", headers=alice.headers)).status_code == 204
    async with database.transaction(principal=SENDER) as session:
        await record(session, taken, Outcome(error_code="http_5xx", hint=None, duration_ms=5, status=500))
    await handle_events(database)
    assert not await rows(db)
    assert not hook.requests
