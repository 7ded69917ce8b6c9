"""Notices: what a person reads, marks and deletes, and what their other tabs hear of it."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select, text

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.core.ids import uuid7
from app.models.notifications import Notification
from tests.factories.notifications import make_notice_delivery, make_notification
from tests.support.personas import Persona

ALL = "/api/notifications"


async def listed(client: AsyncClient, who: Persona, **params: Any) -> dict[str, Any]:
    answer = await client.get(ALL, headers=who.headers, params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def told(db: SystemSession) -> list[tuple[str, dict[str, Any]]]:
    """What was emitted of notices, in order."""
    rows = await db.execute(
        select(EventOutbox.type, EventOutbox.body)
        .where(EventOutbox.type.like("notification.%"))
        .order_by(EventOutbox.id)
    )
    return [(row.type, json.loads(row.body)["data"]) for row in rows]


def titles(body: dict[str, Any]) -> list[str]:
    return [item["title"] for item in body["items"]]


async def test_list_when_there_are_several(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    now = clock.now()
    for number in range(5):
        await make_notification(
            db, owner=alice, title=f"N{number}", created_at=now - timedelta(minutes=number)
        )
    first = await listed(client, alice, limit=3)
    assert titles(first) == ["N0", "N1", "N2"]
    assert first["unread_count"] == 5
    rest = await listed(client, alice, limit=3, cursor=first["next_cursor"])
    assert titles(rest) == ["N3", "N4"]
    assert rest["next_cursor"] is None


async def test_notice_when_it_is_shown(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    row = await make_notification(
        db,
        owner=alice,
        event_type="order.paid",
        action_url="/orders/1",
        action_label="See",
        metadata_={"order_id": "1"},
    )
    answer = await client.get(f"{ALL}/{row.id}", headers=alice.headers)
    assert answer.status_code == 200
    shown = answer.json()
    assert set(shown) == {
        *("id", "user_id", "type", "category", "event_type", "title", "message", "action_url"),
        *("action_label", "is_read", "read_at", "organization_id", "metadata", "created_at"),
    }
    assert shown["metadata"] == {"order_id": "1"}
    assert shown["action_url"] == "/orders/1"
    assert shown["user_id"] == str(alice.user_id)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"is_read": "true"}, ["read"]),
        ({"is_read": "false"}, ["other", "unread"]),
        ({"unread": "true"}, ["other", "unread"]),
        ({"unread": "false"}, ["read"]),
        ({"type": "error"}, ["other"]),
        ({"category": "billing"}, ["other"]),
        ({"category": "billing", "type": "info"}, []),
    ],
)
async def test_list_when_it_is_filtered(
    client: AsyncClient, db: SystemSession, alice: Persona, params: dict[str, str], expected: list[str]
) -> None:
    await make_notification(db, owner=alice, title="unread")
    await make_notification(db, owner=alice, title="read", is_read=True)
    await make_notification(db, owner=alice, title="other", category="billing", type="error")
    body = await listed(client, alice, **params)
    assert sorted(titles(body)) == expected
    assert body["unread_count"] == 2


async def test_list_when_one_organisation_is_asked_for(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await make_notification(db, owner=alice, title="mine", organization_id=None)
    await make_notification(db, owner=alice, title="theirs")
    assert titles(await listed(client, alice, organization_id=str(alice.organization_id))) == ["theirs"]
    assert titles(await listed(client, alice, organization_id=str(uuid7()))) == []


@pytest.mark.parametrize(
    "query",
    ["is_read=true&unread=true", "type=loud", "category=nothing", "sort=created_at", "organization_id=1"],
)
async def test_list_when_its_query_is_wrong(client: AsyncClient, alice: Persona, query: str) -> None:
    answer = await client.get(f"{ALL}?{query}", headers=alice.headers)
    assert answer.status_code == 422


async def test_list_when_there_are_ten_thousand(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Any
) -> None:
    """Two statements, and the page itself reads a handful of rows by the index."""
    await db.execute(
        text(
            "INSERT INTO notifications (id, user_id, type, category, title, message, is_read, read_at,"
            " dedupe_key, created_at) SELECT gen_random_uuid(), :user_id, 'info', 'orders', 'T', 'M',"
            " n % 20 <> 0,"
            " CASE WHEN n % 20 <> 0 THEN now() END, n::text, now() - n * interval '1 second'"
            " FROM generate_series(1, 10000) n"
        ),
        {"user_id": alice.user_id},
    )
    await db.execute(text("ANALYZE notifications"))
    await db.commit()
    with statements() as seen:
        body = await listed(client, alice)
    assert body["unread_count"] == 500
    assert len([statement for statement in seen if "notifications" in statement]) == 2
    plan = await db.execute(
        text(
            "EXPLAIN (FORMAT TEXT) SELECT * FROM notifications WHERE user_id = :user_id"
            " ORDER BY created_at DESC, id DESC LIMIT 21"
        ),
        {"user_id": alice.user_id},
    )
    assert "Seq Scan" not in "\n".join(row[0] for row in plan)


async def test_unread_count_when_categories_differ(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, statements: Any
) -> None:
    await make_notification(db, owner=alice)
    await make_notification(db, owner=alice)
    await make_notification(db, owner=alice, category="billing")
    await make_notification(db, owner=alice, category="billing", is_read=True)
    await make_notification(db, owner=bob)
    with statements() as seen:
        answer = await client.get(f"{ALL}/unread-count", headers=alice.headers)
    assert answer.json() == {"unread_count": 3, "by_category": {"orders": 2, "billing": 1}}
    assert len([statement for statement in seen if "notifications" in statement]) == 1


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("is_alias", [False, True])
async def test_notice_when_it_is_read_and_unread(
    client: AsyncClient, db: SystemSession, alice: Persona, method: str, is_alias: bool
) -> None:
    row = await make_notification(db, owner=alice)
    url = f"{ALL}?id={row.id}" if is_alias else f"{ALL}/{row.id}"

    async def mark(is_read: bool) -> dict[str, Any]:
        answer = await client.request(method, url, headers=alice.headers, json={"is_read": is_read})
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    first = await mark(True)
    assert first["is_read"] is True
    assert first["read_at"] is not None
    assert await mark(True) == first
    last = await mark(False)
    assert (last["is_read"], last["read_at"]) == (False, None)
    person = str(alice.user_id)
    one = {"user_id": person, "notification_id": str(row.id)}
    assert await told(db) == [
        ("notification.read", {**one, "unread_count": 0, "is_read": True}),
        ("notification.read", {**one, "unread_count": 1, "is_read": False}),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"is_read": 1},
        {"is_read": "true"},
        {"is_read": None},
        {"is_read": True, "title": "Mine"},
        {"title": "Mine"},
        {"message": "x"},
        [],
    ],
)
async def test_notice_when_anything_else_is_changed(
    client: AsyncClient, db: SystemSession, alice: Persona, body: Any
) -> None:
    row = await make_notification(db, owner=alice)
    for url in (f"{ALL}/{row.id}", f"{ALL}?id={row.id}"):
        answer = await client.patch(url, headers=alice.headers, json=body)
        assert answer.status_code == 422
    assert await told(db) == []


@pytest.mark.parametrize("is_alias", [False, True])
async def test_notice_when_it_is_deleted(
    client: AsyncClient, db: SystemSession, alice: Persona, is_alias: bool
) -> None:
    row, kept = await make_notification(db, owner=alice), await make_notification(db, owner=alice)
    url = f"{ALL}?id={row.id}" if is_alias else f"{ALL}/{row.id}"
    assert (await client.delete(url, headers=alice.headers)).status_code == 204
    assert (await client.delete(url, headers=alice.headers)).status_code == 404
    body = await listed(client, alice)
    assert [item["id"] for item in body["items"]] == [str(kept.id)]
    gone = {"user_id": str(alice.user_id), "notification_id": str(row.id), "unread_count": 1}
    assert await told(db) == [("notification.deleted", gone)]


async def test_notice_when_it_is_another_persons(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    """Bob works in the same organisation, and an owner reads nobody else's notices either."""
    row = await make_notification(db, owner=bob)

    async def ask(method: str, url: str, **more: Any) -> Response:
        return await client.request(method, url, headers=alice.headers, **more)

    body = {"json": {"is_read": True}}
    for url in (f"{ALL}/{row.id}", f"{ALL}?id={row.id}"):
        assert (await ask("PATCH", url, **body)).status_code == 404
        assert (await ask("PUT", url, **body)).status_code == 404
        assert (await ask("DELETE", url)).status_code == 404
    assert (await ask("GET", f"{ALL}/{row.id}")).status_code == 404
    assert (await ask("POST", f"{ALL}/read-all", json={"before": str(row.id)})).status_code == 404
    assert (await listed(client, alice))["items"] == []
    assert (await listed(client, bob))["unread_count"] == 1


async def test_read_all_when_one_arrives_meanwhile(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    now = clock.now()
    await make_notification(db, owner=alice, title="old", created_at=now - timedelta(hours=1))
    seen = await make_notification(db, owner=alice, title="seen", created_at=now)
    await make_notification(db, owner=alice, title="new", created_at=now + timedelta(seconds=1))
    answer = await client.post(f"{ALL}/read-all", headers=alice.headers, json={"before": str(seen.id)})
    assert answer.json() == {"updated": 2, "unread_count": 1}
    assert titles(await listed(client, alice, is_read=False)) == ["new"]
    again = await client.post(f"{ALL}/read-all", headers=alice.headers, json={"before": str(seen.id)})
    assert again.json() == {"updated": 0, "unread_count": 1}
    assert await told(db) == [("notification.all_read", {"user_id": str(alice.user_id), "unread_count": 1})]


async def test_read_all_when_two_came_at_the_same_moment(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The order of the list decides: by moment, then by id."""
    now = clock.now()
    first, second = sorted([uuid7(), uuid7()])
    await make_notification(db, owner=alice, id=first, title="first", created_at=now)
    await make_notification(db, owner=alice, id=second, title="second", created_at=now)
    await client.post(f"{ALL}/read-all", headers=alice.headers, json={"before": str(first)})
    assert titles(await listed(client, alice, unread=True)) == ["second"]


@pytest.mark.parametrize("body", [None, {}])
async def test_read_all_when_nothing_is_said(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, body: Any
) -> None:
    await make_notification(db, owner=alice)
    await make_notification(db, owner=alice, category="billing")
    await make_notification(db, owner=bob)
    answer = await client.post(f"{ALL}/read-all", headers=alice.headers, json=body)
    assert answer.json() == {"updated": 2, "unread_count": 0}
    assert (await listed(client, bob))["unread_count"] == 1


async def test_read_all_when_a_category_is_named(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await make_notification(db, owner=alice)
    await make_notification(db, owner=alice, category="billing")
    answer = await client.post(f"{ALL}/read-all", headers=alice.headers, json={"category": "billing"})
    assert answer.json() == {"updated": 1, "unread_count": 1}


async def test_history_when_it_is_filtered(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    await make_notice_delivery(db, owner=alice, title="mailed", provider="smtp")
    await make_notice_delivery(
        db, owner=alice, title="pushed", channel="push", state="failed", reason="gone", category="security"
    )
    await make_notice_delivery(db, owner=bob)

    async def history(**params: str) -> list[dict[str, Any]]:
        answer = await client.get(f"{ALL}/history", headers=alice.headers, params=params)
        assert answer.status_code == 200
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    assert [item["title"] for item in await history()] == ["pushed", "mailed"]
    assert [item["title"] for item in await history(channel="email")] == ["mailed"]
    assert [item["title"] for item in await history(state="failed")] == ["pushed"]
    assert [item["title"] for item in await history(category="security")] == ["pushed"]
    (mailed,) = await history(state="sent")
    assert set(mailed) == {
        *("id", "channel", "category", "title", "state", "reason", "provider", "created_at", "completed_at")
    }
    assert mailed["provider"] == "smtp"


@pytest.mark.commits
async def test_notice_when_two_tabs_read_it_at_once(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    """One of them changes it and tells so; the other finds it read."""
    row = await make_notification(db, owner=alice)
    url = f"{ALL}/{row.id}"
    answers = await asyncio.gather(
        *(client.patch(url, headers=alice.headers, json={"is_read": True}) for _ in range(4))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["read_at"] for answer in answers}) == 1
    async with database.system(autocommit=True) as session:
        emitted = await session.scalar(
            select(func.count()).select_from(EventOutbox).where(EventOutbox.type == "notification.read")
        )
        read = await session.scalar(select(Notification.is_read).where(Notification.id == row.id))
    assert (emitted, read) == (1, True)


@pytest.mark.commits
async def test_counts_when_several_notices_are_read_at_once(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    """What tabs hear last is how it stands."""
    urls = [f"{ALL}/{(await make_notification(db, owner=alice)).id}" for _ in range(8)]
    answers = await asyncio.gather(
        *(client.patch(url, headers=alice.headers, json={"is_read": True}) for url in urls[:5]),
        *(client.delete(url, headers=alice.headers) for url in urls[5:7]),
        client.post(f"{ALL}/read-all", headers=alice.headers, json={"category": "security"}),
    )
    assert {answer.status_code for answer in answers} == {200, 204}
    async with database.system(autocommit=True) as session:
        bodies = await session.scalars(select(EventOutbox.body).order_by(EventOutbox.id))
    counts = [json.loads(body)["data"]["unread_count"] for body in bodies]
    assert counts == [7, 6, 5, 4, 3, 2, 1]
