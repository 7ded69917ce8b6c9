"""What people want to be told: the matrix, its locks, the consent to news, and the link that ends mails."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, text

from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.models.notifications import MailOutbox, NotificationPreference
from app.models.privacy import Consent
from app.services.notifications.categories import CATEGORIES
from app.services.notifications.unsubscribing import make_token, read_token, unsubscribe_url
from app.services.orders.events import OrderOversold
from tests.areas.test_notifications_telling import happen, order
from tests.factories.privacy import VERSION, make_consent
from tests.support.events import handle_events
from tests.support.personas import Persona

URL = "/api/notifications/preferences"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


async def matrix(client: AsyncClient, who: Persona) -> dict[tuple[str, str], dict[str, Any]]:
    answer = await client.get(URL, headers=who.headers)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["next_cursor"], body["total"]) == (None, None)
    return {(item["category"], item["channel"]): item for item in body["items"]}


async def wish(
    client: AsyncClient,
    who: Persona,
    category: str,
    channel: str,
    is_enabled: Any,
    method: str = "PUT",
    **more: Any,
) -> Any:
    item = {"category": category, "channel": channel, "is_enabled": is_enabled, **more}
    return await client.request(method, URL, headers=who.headers, json={"preferences": [item]})


async def rows(db: SystemSession, user_id: UUID) -> list[tuple[str, str, bool]]:
    found = await db.execute(
        select(
            NotificationPreference.category,
            NotificationPreference.channel,
            NotificationPreference.is_enabled,
        ).where(NotificationPreference.user_id == user_id)
    )
    return [(row.category, row.channel, row.is_enabled) for row in found]


async def test_matrix_when_nothing_was_said(client: AsyncClient, alice: Persona) -> None:
    found = await matrix(client, alice)
    assert len(found) == 3 * len(CATEGORIES) == 51
    for (category, channel), item in found.items():
        terms = CATEGORIES[category]
        assert item["default"] == (channel in terms.default)
        assert item["is_enabled"] == item["default"]
        assert item["is_locked"] == (channel in terms.locked)
        assert item["digest"] == "off"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_wish_when_it_departs_from_the_default_and_comes_back(
    client: AsyncClient, db: SystemSession, alice: Persona, method: str
) -> None:
    """Only departures are kept."""
    answer = await wish(client, alice, "orders", "email", True, method)
    assert answer.status_code == 200
    assert (await matrix(client, alice))["orders", "email"]["is_enabled"] is True
    assert await rows(db, alice.user_id) == [("orders", "email", True)]
    await wish(client, alice, "billing", "email", False, method)
    assert len(await rows(db, alice.user_id)) == 2
    await wish(client, alice, "orders", "email", False, method)
    assert await rows(db, alice.user_id) == [("billing", "email", False)]
    assert (await matrix(client, alice))["orders", "email"]["is_enabled"] is False


async def test_wish_when_it_asks_for_a_digest(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    await wish(client, alice, "team", "email", True, digest="daily")
    assert (await matrix(client, alice))["team", "email"]["digest"] == "daily"
    await wish(client, alice, "team", "email", False)
    assert (await matrix(client, alice))["team", "email"]["digest"] == "daily"


@pytest.mark.parametrize(
    ("category", "channel"),
    [(name, channel) for name, terms in CATEGORIES.items() for channel in sorted(terms.locked)],
)
async def test_wish_when_the_channel_is_locked(
    client: AsyncClient, db: SystemSession, alice: Persona, category: str, channel: str
) -> None:
    answer = await wish(client, alice, category, channel, False)
    assert answer.status_code == 422
    assert answer.json()["code"] == "preference_locked"
    assert answer.json()["errors"][0]["pointer"] == "/preferences/0/is_enabled"
    assert (await wish(client, alice, category, channel, True)).status_code == 200
    assert await rows(db, alice.user_id) == []


async def test_wish_when_the_category_is_unknown(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Nothing of the request is kept."""
    items = [
        {"category": "orders", "channel": "email", "is_enabled": True},
        {"category": "gossip", "channel": "email", "is_enabled": True},
    ]
    answer = await client.put(URL, headers=alice.headers, json={"preferences": items})
    assert answer.status_code == 422
    assert answer.json()["code"] == "unknown_category"
    assert answer.json()["errors"][0]["pointer"] == "/preferences/1/category"
    assert await rows(db, alice.user_id) == []


@pytest.mark.parametrize(
    "preferences",
    [
        [],
        None,
        [{"category": "orders", "channel": "letter", "is_enabled": True}],
        [{"category": "orders", "channel": "email", "is_enabled": 1}],
        [{"category": "orders", "channel": "email"}],
        [{"category": "orders", "channel": "email", "is_enabled": True, "digest": "yearly"}],
        [{"category": "orders", "channel": "email", "is_enabled": True, "user_id": str(uuid7())}],
        [{"category": "orders", "channel": "email", "is_enabled": True}] * 101,
    ],
)
async def test_wishes_when_their_shape_is_wrong(
    client: AsyncClient, alice: Persona, preferences: Any
) -> None:
    answer = await client.put(URL, headers=alice.headers, json={"preferences": preferences})
    assert answer.status_code == 422


async def test_news_when_there_is_no_consent(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    answer = await wish(client, alice, "product_news", "email", True)
    assert answer.status_code == 403
    assert answer.json()["code"] == "consent_required"
    assert (await wish(client, alice, "product_news", "email", False)).status_code == 200
    await make_consent(db, owner=alice, purpose="marketing_email")
    assert (await wish(client, alice, "product_news", "email", True)).status_code == 200
    assert (await matrix(client, alice))["product_news", "email"]["is_enabled"] is True


async def test_news_when_the_consent_is_withdrawn_elsewhere(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await make_consent(db, owner=alice, purpose="marketing_email")
    await wish(client, alice, "product_news", "email", True)
    said = {"purpose": "marketing_email", "is_granted": False, "policy_version": VERSION}
    assert (await client.post("/api/privacy/consents", headers=alice.headers, json=said)).status_code == 201
    assert (await matrix(client, alice))["product_news", "email"]["is_enabled"] is False


async def test_wishes_when_they_are_somebody_elses(client: AsyncClient, alice: Persona, bob: Persona) -> None:
    await wish(client, bob, "orders", "in_app", False)
    assert (await matrix(client, alice))["orders", "in_app"]["is_enabled"] is True


async def test_link_when_a_program_looks_at_it(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """A GET changes nothing, however often."""
    path = unsubscribe_url(alice.user_id, "orders").removeprefix("http://api.luneo.test")
    for _ in range(2):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert answer.json() == {
            "category": "orders",
            "email_masked": "a***@luneo.test",
            "is_subscribed": True,
        }
    assert await rows(db, alice.user_id) == []


@pytest.mark.parametrize("how", [{"data": ONE_CLICK}, {"json": {}}, {}])
async def test_link_when_it_is_used(
    client: AsyncClient, db: SystemSession, alice: Persona, how: dict[str, Any]
) -> None:
    path = f"/api/notifications/unsubscribe/{make_token(alice.user_id, 'billing')}"
    for _ in range(2):
        answer = await client.post(path, **how)
        assert answer.status_code == 200, answer.text
        assert answer.json()["is_subscribed"] is False
    assert await rows(db, alice.user_id) == [("billing", "email", False)]
    assert (await client.get(path)).json()["is_subscribed"] is False
    await wish(client, alice, "billing", "email", True)
    assert (await client.get(path)).json()["is_subscribed"] is True


async def test_link_when_mails_would_follow(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """The link in a mail ends the next one, and that one only shows in the history."""
    await happen(db, database, order(OrderOversold), alice.organization_id)
    mail = await db.scalar(select(MailOutbox))
    assert mail is not None
    address = mail.headers["List-Unsubscribe"].strip("<>")
    assert mail.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    used = await client.post(address.removeprefix("http://api.luneo.test"), data=ONE_CLICK)
    assert used.status_code == 200
    await happen(db, database, order(OrderOversold), alice.organization_id)
    assert await db.scalar(select(func.count()).select_from(MailOutbox)) == 1


async def test_link_when_it_is_about_news(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """It withdraws the consent itself, once."""
    await make_consent(db, owner=alice, purpose="marketing_email")
    path = f"/api/notifications/unsubscribe/{make_token(alice.user_id, 'product_news')}"
    assert (await client.get(path)).json()["is_subscribed"] is True
    for _ in range(2):
        assert (await client.post(path)).json()["is_subscribed"] is False
    said = await db.execute(
        select(Consent.is_granted, Consent.source).where(Consent.purpose == "marketing_email")
    )
    assert sorted(tuple(row) for row in said) == [(False, "unsubscribe"), (True, "settings")]


def tampered(token: str) -> list[str]:
    return [
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        "B" + token[1:],
        token + "A",
        token[:40],
        "x",
        "é",
        "%00",
        "A" * 200,
        "A" * 201,
    ]


async def test_link_when_it_is_forged(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    good = make_token(alice.user_id, "orders")
    for token in [*tampered(good), make_token(uuid7(), "orders"), make_token(alice.user_id, "security")]:
        for method in ("GET", "POST"):
            answer = await client.request(method, f"/api/notifications/unsubscribe/{token}")
            assert answer.status_code in (404, 422), (token, answer.text)
    assert await rows(db, alice.user_id) == []


def test_token_when_it_is_read() -> None:
    user_id = uuid7()
    found = read_token(make_token(user_id, "team"))
    assert found is not None
    assert (found.user_id, found.category) == (user_id, "team")


async def test_test_notice_when_each_channel_is_asked_for(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    ids = {}
    for channel in ("in_app", "email", "push"):
        answer = await client.post(
            "/api/notifications/test", headers=alice.headers, json={"channel": channel}
        )
        assert answer.status_code == 202
        ids[channel] = answer.json()["delivery_id"]
    await handle_events(database)
    history = await client.get("/api/notifications/history", headers=alice.headers)
    found = {item["channel"]: item for item in history.json()["items"]}
    assert {name: item["id"] for name, item in found.items()} == ids
    assert {name: (item["state"], item["reason"]) for name, item in found.items()} == {
        "in_app": ("delivered", None),
        "email": ("sent", None),
        "push": ("skipped", "no_subscription"),
    }
    listed = await client.get("/api/notifications", headers=alice.headers)
    assert [item["title"] for item in listed.json()["items"]] == ["Notification d'essai"]
    mail = await db.scalar(select(MailOutbox))
    assert mail is not None
    assert mail.to_address == alice.email


async def test_test_notice_when_there_were_many(client: AsyncClient, alice: Persona) -> None:
    answers = [
        await client.post("/api/notifications/test", headers=alice.headers, json={"channel": "in_app"})
        for _ in range(6)
    ]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]


@pytest.mark.commits
async def test_wishes_when_two_are_made_at_once(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    """One row for each place, and no deadlock, whatever their order."""
    places = [("orders", "email"), ("team", "push"), ("courses", "push")]

    def some(is_turned: bool) -> dict[str, Any]:
        ordered = places[::-1] if is_turned else places
        return {
            "preferences": [
                {"category": category, "channel": channel, "is_enabled": True}
                for category, channel in ordered
            ]
        }

    answers = await asyncio.gather(
        *(client.put(URL, headers=alice.headers, json=some(number % 2 == 0)) for number in range(6))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(await rows(db, alice.user_id)) == sorted((*place, True) for place in places)


WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.mark.commits
async def test_wishes_when_each_takes_back_what_the_other_makes(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    """One changes the rows that the other removes, and both have begun before either can end."""
    places = [("billing", "email"), ("courses", "email"), ("security", "push"), ("team", "email")]

    async def change(*are_on: bool) -> int:
        wishes = [
            {"category": category, "channel": channel, "is_enabled": is_on}
            for (category, channel), is_on in zip(places, are_on, strict=True)
        ]
        return (await client.put(URL, headers=alice.headers, json={"preferences": wishes})).status_code

    assert await change(False, False, False, False) == 200
    async with database.system() as holder:
        last = select(NotificationPreference).where(NotificationPreference.category == "team")
        await holder.execute(last.with_for_update())
        async with asyncio.TaskGroup() as both:
            tasks = [both.create_task(change(*wish)) for wish in ((True, False) * 2, (False, True) * 2)]
            async with asyncio.timeout(60):
                while await db.scalar(WAITING) != len(tasks):
                    await db.rollback()
            await holder.rollback()
    assert [task.result() for task in tasks] == [200, 200]
    wanted = [sorted((*place, False) for place in places[offset::2]) for offset in (0, 1)]
    assert sorted(await rows(db, alice.user_id)) in wanted
