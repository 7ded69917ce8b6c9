"""Web push: who subscribes, what a real receiver gets, and what its answers do."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, text, update

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.core.ids import uuid7
from app.models.auth import UserSession
from app.models.notifications import NotificationDelivery, PushSubscription
from app.models.realtime import EventLog
from app.services.auth.resealing import SEALED
from app.services.notifications.push import subscribing
from app.services.notifications.push.sending import send_push
from tests.factories.accounts import access_token_of, make_session
from tests.factories.notifications import make_browser, make_notice_delivery
from tests.support.events import handle_events
from tests.support.personas import Persona
from tests.support.push import BrowserKeys, browser_keys
from tests.support.receivers import Receiver, receiving, reply

URL = "/api/notifications/push-subscriptions"
TEST = "/api/notifications/test"
ENDPOINT = "https://fcm.googleapis.com/fcm/send/abc:def"
MESSAGE = {"id": "1", "title": "Titre é", "message": "Texte", "action_url": "/orders/1", "category": "orders"}


def body(endpoint: str = ENDPOINT, keys: BrowserKeys | None = None) -> dict[str, Any]:
    return {"endpoint": endpoint, "keys": (keys or browser_keys()).as_sent}


@pytest.fixture
def open_loopback(monkeypatch: pytest.MonkeyPatch) -> Callable[[Receiver], str]:
    """Lets a receiver on loopback be a push service that the operator knows."""
    settings = get_settings()
    monkeypatch.setattr(settings, "push_hosts", ["127.0.0.1"])
    monkeypatch.setattr(settings, "outbound_allow_http", True)
    monkeypatch.setattr(settings, "outbound_allow", ["127.0.0.0/8"])

    def at(receiver: Receiver) -> str:
        monkeypatch.setattr(settings, "outbound_ports", [str(receiver.port)])
        return receiver.url("/push", host="127.0.0.1")

    return at


async def count(db: SystemSession, model: type[Any] = PushSubscription) -> int:
    return await db.scalar(select(func.count()).select_from(model)) or 0


async def test_browser_when_it_subscribes(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    headers = {**alice.headers, "User-Agent": "Firefox/140"}
    made = await client.post(URL, headers=headers, json={**body(), "expirationTime": None})
    assert made.status_code == 201, made.text
    shown = made.json()
    assert made.headers["Location"] == f"{URL}/{shown['id']}"
    assert (shown["host"], shown["user_agent"], shown["is_current"]) == (
        "fcm.googleapis.com",
        "Firefox/140",
        True,
    )
    page = await client.get(URL, headers=alice.headers)
    assert page.json()["items"] == [shown]
    secret = body()
    for answer in (made, page):
        assert "abc:def" not in answer.text
        assert secret["keys"]["auth"] not in answer.text
        assert secret["keys"]["p256dh"] not in answer.text


async def test_browser_when_the_database_is_read(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Whoever reads the table cannot write to the browser."""
    await client.post(URL, headers=alice.headers, json=body())
    row = (await db.execute(text("SELECT push_subscriptions::text FROM push_subscriptions"))).scalar_one()
    assert "fcm.googleapis" not in row
    assert b"fcm.googleapis".hex() not in row
    assert browser_keys().auth.hex() not in row


async def test_browser_when_it_is_known(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    first = await client.post(URL, headers=alice.headers, json=body())
    again = await client.post(URL, headers=alice.headers, json=body(keys=browser_keys(9)))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    row = await db.scalar(select(PushSubscription))
    assert row is not None
    assert row.p256dh == browser_keys(9).as_sent["p256dh"]


async def test_browser_when_somebody_else_signs_in_there(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    """The messages of the person before do not appear there any more."""
    await client.post(URL, headers=alice.headers, json=body())
    taken = await client.post(URL, headers=charlie.headers, json=body())
    assert taken.status_code == 201
    assert (await client.get(URL, headers=alice.headers)).json()["items"] == []
    row = await db.scalar(select(PushSubscription))
    assert row is not None
    assert row.user_id == charlie.user_id


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"endpoint": "https://example.com/push"}, "push_endpoint_not_allowed", "/endpoint"),
        ({"endpoint": "http://169.254.169.254/"}, "push_endpoint_not_allowed", "/endpoint"),
        ({"endpoint": "https://fcm.googleapis.com:99999/"}, "push_endpoint_not_allowed", "/endpoint"),
        ({"keys": {"p256dh": "AAAA", "auth": "BTBZMqHH6r4Tts7J_aSIgg"}}, "push_key_invalid", "/keys/p256dh"),
        ({"keys": {**browser_keys().as_sent, "auth": "AAAA"}}, "push_key_invalid", "/keys/auth"),
        ({"keys": {**browser_keys().as_sent, "auth": "é" * 20}}, "push_key_invalid", "/keys/auth"),
    ],
)
async def test_browser_when_it_is_none(
    client: AsyncClient, db: SystemSession, alice: Persona, change: dict[str, Any], code: str, pointer: str
) -> None:
    answer = await client.post(URL, headers=alice.headers, json={**body(), **change})
    assert answer.status_code == 422
    assert answer.json()["code"] == code
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert await count(db) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": ""},
        {"endpoint": "https://fcm.googleapis.com/" + "x" * 2048},
        {"endpoint": 1},
        {"keys": {}},
        {"keys": None},
        {"more": 1},
        {"expirationTime": "1"},
        {"expirationTime": True},
    ],
)
async def test_browser_when_its_shape_is_wrong(
    client: AsyncClient, alice: Persona, change: dict[str, Any]
) -> None:
    answer = await client.post(URL, headers=alice.headers, json={**body(), **change})
    assert answer.status_code == 422


async def test_browsers_when_there_are_more_than_twenty(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    oldest = await make_browser(db, owner=alice, created_at=clock.now() - timedelta(days=2))
    for number in range(19):
        await make_browser(db, owner=alice, created_at=clock.now() - timedelta(hours=number + 1))
    made = await client.post(URL, headers=alice.headers, json=body())
    assert made.status_code == 201
    ids = set((await db.scalars(select(PushSubscription.id))).all())
    assert len(ids) == 20
    assert oldest.id not in ids


@pytest.mark.parametrize("is_by_endpoint", [False, True])
async def test_browser_when_it_ends(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, is_by_endpoint: bool
) -> None:
    row = await make_browser(db, owner=alice, endpoint=ENDPOINT)
    url, params = (URL, {"endpoint": ENDPOINT}) if is_by_endpoint else (f"{URL}/{row.id}", {})

    async def end(who: Persona) -> int:
        return (await client.delete(url, headers=who.headers, params=params)).status_code

    assert await end(charlie) == 404
    assert await end(alice) == 204
    assert await end(alice) == 404


async def test_endpoint_when_it_is_odd(client: AsyncClient, alice: Persona) -> None:
    for endpoint in ("x", "https://[", "\ud800".encode("utf-8", "replace").decode(), "é" * 2048):
        answer = await client.delete(URL, headers=alice.headers, params={"endpoint": endpoint})
        assert answer.status_code == 404
    for query in ("", "?endpoint=", "?endpoint=a&endpoint=b", "?other=1"):
        assert (await client.delete(f"{URL}{query}", headers=alice.headers)).status_code == 422


async def test_browser_when_its_key_has_left_the_ring(
    client: AsyncClient, db: SystemSession, alice: Persona, other_keys: Callable[[bool], None]
) -> None:
    """It is still listed, so that it can be removed; which push service it was at nobody knows."""
    row = await make_browser(db, owner=alice)
    other_keys(False)
    session = await make_session(db, alice.user_id, organization_id=alice.organization_id)
    await db.commit()
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    answer = await client.get(URL, headers=headers)
    assert [(item["id"], item["host"]) for item in answer.json()["items"]] == [(str(row.id), "")]
    assert (await client.delete(f"{URL}/{row.id}", headers=headers)).status_code == 204


async def test_browser_when_its_session_is_revoked(db: SystemSession, alice: Persona) -> None:
    """Whichever way a session ends, nothing more is sent to its browser."""
    await make_browser(db, owner=alice)
    other = await make_browser(db, owner=alice, session_id=None)
    await db.execute(
        update(UserSession).where(UserSession.id == alice.session_id).values(revoked_at=clock.now())
    )
    assert (await db.scalars(select(PushSubscription.id))).all() == [other.id]


async def test_key_when_it_is_asked_for(client: AsyncClient, alice: Persona) -> None:
    answer = await client.get("/api/notifications/vapid-public-key", headers=alice.headers)
    assert answer.status_code == 200
    assert len(answer.json()["public_key"]) == 87


async def test_routes_when_push_is_not_configured(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.notifications.push.subscribing.sender", lambda: None)
    monkeypatch.setattr("app.services.notifications.inbox.testing.sender", lambda: None)
    answers = [
        await client.get("/api/notifications/vapid-public-key", headers=alice.headers),
        await client.post(URL, headers=alice.headers, json=body()),
        await client.post(TEST, headers=alice.headers, json={"channel": "push"}),
    ]
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json()["code"] == "push_not_configured"
        assert "Retry-After" in answer.headers


async def test_message_when_a_browser_gets_it(
    db: SystemSession, database: Database, alice: Persona, open_loopback: Any
) -> None:
    keys = browser_keys()
    async with receiving({"/push": reply(201)}) as receiver:
        row = await make_browser(db, owner=alice, endpoint=open_loopback(receiver), keys=keys, failures=3)
        delivery = await make_notice_delivery(db, owner=alice, channel="push", state="queued")
        assert await send_push(database, delivery.id, row.id, MESSAGE, attempt=0) is None
    ((head, sent),) = receiver.requests
    assert json.loads(keys.read(sent)) == MESSAGE
    lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    assert lines["content-encoding"] == "aes128gcm"
    assert lines["ttl"] == "86400"
    assert 20 <= len(lines["topic"]) <= 32
    assert lines["authorization"].startswith("vapid t=")
    assert b"Texte" not in sent
    await db.refresh(row)
    assert (row.failures, row.last_ok_at is not None) == (0, True)
    assert await state(db, delivery) == ("sent", None)


async def state(db: SystemSession, delivery: NotificationDelivery) -> tuple[str, str | None]:
    await db.refresh(delivery)
    return delivery.state, delivery.reason


async def try_once(
    db: SystemSession, database: Database, alice: Persona, url: str, *, attempt: int = 0
) -> tuple[Any, NotificationDelivery, PushSubscription]:
    row = await make_browser(db, owner=alice, endpoint=url)
    delivery = await make_notice_delivery(db, owner=alice, channel="push", state="queued")
    again_at = await send_push(database, delivery.id, row.id, MESSAGE, attempt=attempt)
    return again_at, delivery, row


@pytest.mark.parametrize("status", [404, 410])
async def test_message_when_the_browser_is_gone(
    db: SystemSession, database: Database, alice: Persona, open_loopback: Any, status: int
) -> None:
    async with receiving({"/push": reply(status)}) as receiver:
        again_at, delivery, row = await try_once(db, database, alice, open_loopback(receiver))
    assert again_at is None
    assert await state(db, delivery) == ("failed", "gone")
    assert await count(db) == 0
    removed = await db.scalar(select(EventOutbox.body).where(EventOutbox.type == "push_subscription.removed"))
    assert str(row.id) in (removed or "")


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "credentials"), (403, "credentials"), (400, "http_4xx")]
)
async def test_message_when_it_is_refused_for_good(
    db: SystemSession, database: Database, alice: Persona, open_loopback: Any, status: int, reason: str
) -> None:
    async with receiving({"/push": reply(status)}) as receiver:
        again_at, delivery, row = await try_once(db, database, alice, open_loopback(receiver))
    assert again_at is None
    assert await state(db, delivery) == ("failed", reason)
    await db.refresh(row)
    assert row.failures == 1


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (503, {}, 30),
        (429, {}, 30),
        (429, {"Retry_After": "600"}, 600),
        (503, {"Retry_After": "999999"}, 3600),
    ],
)
async def test_message_when_it_is_refused_for_now(
    db: SystemSession,
    database: Database,
    alice: Persona,
    open_loopback: Any,
    status: int,
    headers: dict[str, Any],
    seconds: int,
) -> None:
    async with receiving({"/push": reply(status, **headers)}) as receiver:
        again_at, delivery, _ = await try_once(db, database, alice, open_loopback(receiver))
    assert abs((again_at - clock.now()).total_seconds() - seconds) < 5
    assert await state(db, delivery) == ("queued", None)


async def test_message_when_every_try_has_failed(
    db: SystemSession, database: Database, alice: Persona, open_loopback: Any
) -> None:
    async with receiving({"/push": reply(503)}) as receiver:
        again_at, delivery, _ = await try_once(db, database, alice, open_loopback(receiver), attempt=3)
    assert again_at is None
    assert await state(db, delivery) == ("failed", "http_5xx")


async def test_message_when_nobody_listens(
    db: SystemSession, database: Database, alice: Persona, open_loopback: Any
) -> None:
    async with receiving({"/push": reply(201)}) as receiver:
        url = open_loopback(receiver)
    again_at, delivery, _ = await try_once(db, database, alice, url)
    assert again_at is not None
    assert await state(db, delivery) == ("queued", None)


async def test_message_when_it_is_too_large_for_the_service(
    db: SystemSession, database: Database, alice: Persona, open_loopback: Any
) -> None:
    """It is sent again at once, with nothing but its title."""
    keys = browser_keys()
    async with receiving({"/push": reply(413)}) as receiver:
        _, delivery, _ = await try_once(db, database, alice, open_loopback(receiver))
    first, second = [json.loads(keys.read(sent)) for _, sent in receiver.requests]
    assert (first["message"], second["message"]) == ("Texte", "")
    assert await state(db, delivery) == ("failed", "too_large")


async def test_message_when_its_text_is_very_long(
    db: SystemSession, database: Database, alice: Persona, open_loopback: Any
) -> None:
    keys = browser_keys()
    async with receiving({"/push": reply(201)}) as receiver:
        row = await make_browser(db, owner=alice, endpoint=open_loopback(receiver))
        delivery = await make_notice_delivery(db, owner=alice, channel="push", state="queued")
        long = {**MESSAGE, "message": "é" * 5000}
        await send_push(database, delivery.id, row.id, long, attempt=0)
    ((_, sent),) = receiver.requests
    assert len(sent) <= 4096
    assert json.loads(keys.read(sent)) == {**MESSAGE, "message": ""}


async def test_message_when_the_browser_unsubscribed_meanwhile(
    db: SystemSession, database: Database, alice: Persona
) -> None:
    delivery = await make_notice_delivery(db, owner=alice, channel="push", state="queued")
    assert await send_push(database, delivery.id, uuid7(), MESSAGE, attempt=0) is None
    assert await state(db, delivery) == ("skipped", "no_subscription")


async def test_message_when_the_operator_knows_the_host_no_more(
    db: SystemSession, database: Database, alice: Persona
) -> None:
    _, delivery, _ = await try_once(db, database, alice, "https://push.example.net/abc")
    assert await state(db, delivery) == ("failed", "endpoint_not_allowed")


async def test_test_notice_when_one_browser_fails(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, open_loopback: Any
) -> None:
    """The whole way, to two browsers: the one that is gone does not stop the other."""
    keys = browser_keys()
    async with receiving({"/push": reply(201), "/gone": reply(410)}) as receiver:
        url = open_loopback(receiver)
        await make_browser(db, owner=alice, endpoint=url.replace("/push", "/gone"))
        await make_browser(db, owner=alice, endpoint=url, keys=keys)
        asked = await client.post("/api/notifications/test", headers=alice.headers, json={"channel": "push"})
        assert asked.status_code == 202
        await handle_events(database)
    assert sorted(head.split(" ")[1] for head, _ in receiver.requests) == ["/gone", "/push"]
    (said,) = [json.loads(keys.read(sent)) for head, sent in receiver.requests if " /push " in head]
    assert said["title"] == "Notification d'essai"
    history = await client.get("/api/notifications/history", headers=alice.headers)
    assert sorted((item["state"], item["reason"]) for item in history.json()["items"]) == [
        ("failed", "gone"),
        ("sent", None),
    ]
    assert asked.json()["delivery_id"] in {item["id"] for item in history.json()["items"]}
    kinds = (await db.scalars(select(EventLog.type).where(EventLog.type.like("push%")))).all()
    assert kinds == ["push_subscription.removed"]


def test_sealed_columns_when_keys_are_rotated() -> None:
    names = {name for model, name in SEALED if model is PushSubscription}
    assert names == {"endpoint_sealed", "auth_sealed"}


@pytest.mark.commits
async def test_browser_when_it_subscribes_many_times_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    """One row, one owner, and no error, whoever comes last."""
    people = [alice, charlie] * 4
    answers = await asyncio.gather(*(client.post(URL, headers=one.headers, json=body()) for one in people))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert await count(db) == 1


@pytest.mark.commits
async def test_browsers_when_more_than_a_person_may_have_subscribe_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribing, "MOST", 2)
    addresses = [f"{ENDPOINT}{number}" for number in range(8)]
    answers = await asyncio.gather(
        *(client.post(URL, headers=alice.headers, json=body(address)) for address in addresses)
    )
    assert {answer.status_code for answer in answers} == {201}
    assert await count(db) == 2
