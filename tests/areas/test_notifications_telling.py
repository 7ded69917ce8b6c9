"""From events to people: who is told, in which words, by which channels, and only once."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import Delete, Update, delete, func, select, text, update

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.events import REGISTRY, Event, EventOutbox, emit
from app.core.ids import uuid7
from app.core.permissions import ROLE_PERMISSIONS, Permission, Role
from app.jobs import inbox as jobs
from app.jobs.app import load_areas
from app.jobs.handlers import handle_event, row_of
from app.models.auth import User
from app.models.notifications import Email, MailOutbox, Notification, NotificationDelivery
from app.models.realtime import EventLog
from app.models.settings import Profile
from app.models.team import TeamMember
from app.schemas.notifications.words import Category
from app.services.billing.events import InvoicePaid
from app.services.integrations.connections.events import IntegrationNeedsReauth
from app.services.integrations.events import ApiKeyExpiring
from app.services.integrations.webhooks.events import (
    WebhookEndpointDisabled,
    WebhookEndpointFailing,
    WebhookEndpointRecovered,
)
from app.services.notifications.categories import CATEGORIES
from app.services.notifications.inbox import telling
from app.services.notifications.inbox.notices import MAKERS, Fact
from app.services.orders.events import OrderOversold, OrderPlaced
from app.services.products.events import ProductStockLow
from app.services.settings.events import PasswordSet
from app.services.team.events.members import MemberSuspended
from tests.factories.integrations import make_api_key_row
from tests.factories.notifications import make_notification, make_preference
from tests.factories.roles import make_role
from tests.support.events import handle_events, sequence
from tests.support.personas import Persona, make_colleague

WAITING = text(
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    " WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()"
)

SOMETHING = UUID("01970000-0000-7000-8000-000000000001")


def order(kind: type[Event] = OrderPlaced, **values: Any) -> Event:
    facts: dict[str, Any] = {
        "order_id": uuid7(),
        "order_number": "ORD-2026-000007",
        "status": "pending",
        "payment_status": "unpaid",
        "hold_reason": None,
        "currency": "EUR",
        "total_amount": 123_450,
        "amount_paid": 0,
        "amount_refunded": 0,
        "customer_email": "buyer@example.com",
        "items": [],
        "items_count": 0,
        "version": 1,
    }
    return kind(**{**facts, **values})


async def happen(
    db: SystemSession, database: Database, event: Event, organization_id: UUID | None, **more: Any
) -> UUID:
    """Let something happen, and everything that follows from it."""
    event_id = await emit(db, event, organization_id=organization_id, **more)
    await db.commit()
    await handle_events(database)
    return event_id


async def readers(db: SystemSession) -> set[UUID]:
    return set((await db.scalars(select(Notification.user_id))).all())


async def deliveries(db: SystemSession, user_id: UUID) -> list[tuple[str, str, str | None]]:
    rows = await db.execute(
        select(NotificationDelivery.channel, NotificationDelivery.state, NotificationDelivery.reason)
        .where(NotificationDelivery.user_id == user_id)
        .order_by(NotificationDelivery.channel)
    )
    return [(row.channel, row.state, row.reason) for row in rows]


async def membership(db: SystemSession, who: Persona) -> TeamMember:
    statement = select(TeamMember).where(
        TeamMember.user_id == who.user_id, TeamMember.organization_id == who.organization_id
    )
    return (await db.scalars(statement)).one()


async def speaks(db: SystemSession, who: Persona, locale: str) -> None:
    await db.execute(update(Profile).where(Profile.user_id == who.user_id).values(locale=locale))
    await db.commit()


async def test_recipients_when_roles_differ(
    db: SystemSession, database: Database, alice: Persona, charlie: Persona
) -> None:
    """Everybody whose role has the permission now, whether built-in or custom, and nobody else."""
    everyone = {Role.owner: alice}
    for role in Role:
        if role is not Role.owner:
            everyone[role] = await make_colleague(db, alice, f"c-{role}", role=role)
    custom = await make_role(db, alice.organization_id, permissions=["orders:read", "orders:write"])
    helper = await make_colleague(db, alice, "helper", role="viewer")
    await db.execute(
        update(TeamMember)
        .where(TeamMember.user_id == helper.user_id, TeamMember.organization_id == alice.organization_id)
        .values(role="custom", team_role_id=custom.id)
    )
    await happen(db, database, order(), alice.organization_id)
    holders = {
        person.user_id
        for role, person in everyone.items()
        if Permission.orders_write in ROLE_PERMISSIONS[role]
    }
    assert await readers(db) == holders | {helper.user_id}
    assert charlie.user_id not in await readers(db)


@pytest.mark.parametrize("what", ["member", "account", "gone"])
async def test_recipients_when_somebody_is_suspended_or_has_left(
    db: SystemSession, database: Database, alice: Persona, what: str
) -> None:
    manager = await make_colleague(db, alice, "manager", role="manager")
    row: Update | Delete
    if what == "member":
        member = await membership(db, manager)
        row = update(TeamMember).where(TeamMember.id == member.id).values(status="suspended")
    elif what == "account":
        row = update(User).where(User.id == manager.user_id).values(status="suspended")
    else:
        row = delete(TeamMember).where(TeamMember.id == (await membership(db, manager)).id)
    await db.execute(row)
    await happen(db, database, order(), alice.organization_id)
    assert await readers(db) == {alice.user_id}


async def test_security_when_the_person_was_suspended(
    db: SystemSession, database: Database, alice: Persona
) -> None:
    """What concerns their access reaches them all the same, and belongs to no organisation."""
    bob = await make_colleague(db, alice, "worker", role="manager")
    member = await membership(db, bob)
    await db.execute(update(TeamMember).where(TeamMember.id == member.id).values(status="suspended"))
    await happen(
        db,
        database,
        MemberSuspended(member_id=member.id, user_id=bob.user_id, from_="active", to="suspended", changes={}),
        alice.organization_id,
        private={"organization_id": alice.organization_id},
    )
    (notice,) = (await db.scalars(select(Notification))).all()
    assert (notice.user_id, notice.category, notice.organization_id) == (bob.user_id, "security", None)


async def test_actor_when_they_did_it_themselves(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """An order that Alice places is news to her colleague only."""
    manager = await make_colleague(db, alice, "manager", role="manager")
    async with database.system(principal=alice.principal) as session:
        await emit(session, order(), organization_id=alice.organization_id)
        await session.commit()
    await handle_events(database)
    assert await readers(db) == {manager.user_id}


@pytest.mark.parametrize(
    ("locale", "title", "message", "label"),
    [
        (
            "fr",
            "Nouvelle commande ORD-2026-000007",
            "Une commande de 1\u00a0234,50\u00a0EUR a été passée.",
            "Voir la commande",
        ),
        ("en", "New order ORD-2026-000007", "An order of EUR\u00a01,234.50 was placed.", "See the order"),
    ],
)
async def test_words_when_people_speak_another_language(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    alice: Persona,
    locale: str,
    title: str,
    message: str,
    label: str,
) -> None:
    await speaks(db, alice, locale)
    event = order()
    await happen(db, database, event, alice.organization_id)
    answer = await client.get("/api/notifications", headers=alice.headers)
    (item,) = answer.json()["items"]
    assert (item["title"], item["message"], item["action_label"]) == (title, message, label)
    order_id = event.data()["order_id"]
    assert item["action_url"] == f"/orders/{order_id}"
    assert item["metadata"] == {"order_id": order_id}
    assert (item["category"], item["event_type"], item["type"]) == ("orders", "order.created", "info")


async def test_words_when_a_name_is_very_long(db: SystemSession, database: Database, alice: Persona) -> None:
    product: dict[str, Any] = {
        "product_id": uuid7(),
        "sku": None,
        "slug": "x",
        "name": "L" * 300,
        "status": "active",
        "price": 1,
        "currency": "EUR",
        "stock": 1,
        "reserved": 0,
        "available": 1,
        "version": 1,
        "threshold": 2,
    }
    await happen(db, database, ProductStockLow(**product), alice.organization_id)
    (notice,) = (await db.scalars(select(Notification))).all()
    assert len(notice.title) == 200
    assert notice.title.endswith("L…")


async def test_event_when_it_is_handled_twice(db: SystemSession, database: Database, alice: Persona) -> None:
    """A second run of the handler, even one that forgot the first, adds nothing."""
    event_id = await happen(db, database, order(OrderOversold), alice.organization_id)
    before = await counted(db)
    await db.execute(text("DELETE FROM event_handlings WHERE handler = 'notifications'"))
    await db.commit()
    await handle_event(database, event_id)
    await handle_events(database)
    assert await counted(db) == before
    assert before[0] == 1


async def counted(db: SystemSession) -> list[int]:
    models = (Notification, NotificationDelivery, Email, MailOutbox)
    return [await db.scalar(select(func.count()).select_from(model)) or 0 for model in models]


async def test_mail_when_a_category_has_none_by_default(
    db: SystemSession, database: Database, alice: Persona
) -> None:
    """A new order is not mailed, and the history is not filled with what nobody asked for."""
    await happen(db, database, order(), alice.organization_id)
    assert await deliveries(db, alice.user_id) == []
    await make_preference(db, alice.user_id, "orders", "email", is_enabled=True)
    await happen(db, database, order(), alice.organization_id)
    assert await deliveries(db, alice.user_id) == [("email", "sent", None)]


async def test_mail_when_it_is_urgent(db: SystemSession, database: Database, alice: Persona) -> None:
    await speaks(db, alice, "en")
    await happen(db, database, order(OrderOversold), alice.organization_id)
    mail = await db.scalar(select(MailOutbox))
    assert mail is not None
    assert "ORD-2026-000007" in mail.subject
    assert "http://app.luneo.test/orders/" in mail.text
    await make_preference(db, alice.user_id, "orders", "email", is_enabled=False)
    await happen(db, database, order(OrderOversold), alice.organization_id)
    assert await deliveries(db, alice.user_id) == [
        ("email", "sent", None),
        ("email", "skipped", "preference_off"),
    ]
    assert (await counted(db))[2:] == [1, 1]


async def test_mail_when_the_address_is_not_confirmed(
    db: SystemSession, database: Database, alice: Persona
) -> None:
    await db.execute(update(User).where(User.id == alice.user_id).values(email_confirmed_at=None))
    await happen(db, database, order(OrderOversold), alice.organization_id)
    assert await deliveries(db, alice.user_id) == [("email", "skipped", "unconfirmed_address")]


async def test_notice_when_the_channel_is_switched_off(
    db: SystemSession, database: Database, alice: Persona
) -> None:
    await make_preference(db, alice.user_id, "orders", "in_app", is_enabled=False)
    await happen(db, database, order(), alice.organization_id)
    assert await readers(db) == set()


async def test_notice_when_its_channel_is_locked(
    db: SystemSession, database: Database, alice: Persona
) -> None:
    """A wish in the table that a lock forbids, as from older rules, does not count."""
    await make_preference(db, alice.user_id, "security", "in_app", is_enabled=False)
    load_areas()
    event = PasswordSet(user_id=alice.user_id, sessions_revoked=0)
    private = {"device": "Firefox", "place": "FR", "time": "now"}
    await happen(db, database, event, None, private=private)
    assert await readers(db) == {alice.user_id}
    assert ("push", "skipped", "no_subscription") in await deliveries(db, alice.user_id)


async def test_invoice_when_it_is_a_buyers(db: SystemSession, database: Database, alice: Persona) -> None:
    """The organisation's own sales are told as orders; its payments to the platform as billing."""
    facts: dict[str, Any] = {
        "invoice_id": uuid7(),
        "invoice_number": "F-1",
        "status": "paid",
        "payment_state": "paid",
        "currency": "EUR",
        "amount": 2900,
        "amount_remaining": 0,
        "order_id": None,
    }
    await happen(db, database, InvoicePaid(kind="order", **facts), alice.organization_id)
    assert await readers(db) == set()
    await happen(db, database, InvoicePaid(kind="subscription", **facts), alice.organization_id)
    assert await readers(db) == {alice.user_id}
    assert await deliveries(db, alice.user_id) == [("email", "sent", None)]


async def test_key_when_it_expires_soon(db: SystemSession, database: Database, alice: Persona) -> None:
    """Whoever made it hears of it, even without the right to replace it; its own mail is the only one."""
    maker = await make_colleague(db, alice, "maker", role="viewer")
    key, _ = await make_api_key_row(
        db, owner=alice, created_by=maker.user_id, expires_at=clock.now() + timedelta(days=1)
    )
    event = ApiKeyExpiring(
        api_key_id=key.id,
        name=key.name,
        key_prefix=key.key_prefix,
        last4=key.last4,
        expires_at=key.expires_at,
        days=1,
    )
    await happen(db, database, event, alice.organization_id)
    assert await readers(db) == {alice.user_id, maker.user_id}
    assert await deliveries(db, alice.user_id) == [("email", "sent", None)]


async def test_tabs_when_a_notice_is_made(db: SystemSession, database: Database, alice: Persona) -> None:
    await make_notification(db, owner=alice)
    await happen(db, database, order(), alice.organization_id)
    rows = await db.execute(
        select(EventLog.audience, EventLog.user_id, EventLog.body).where(
            EventLog.type == "notification.created"
        )
    )
    ((audience, user_id, body),) = rows.all()
    assert (audience, user_id) == ("personal", alice.user_id)
    assert '"unread_count":2' in body.replace(" ", "")


async def test_recipients_when_there_are_very_many(
    db: SystemSession,
    database: Database,
    alice: Persona,
    statements: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parts of a few people each, one statement for the people of each part, and nobody twice."""
    monkeypatch.setattr(telling, "MOST_AT_ONCE", 3)
    for number in range(7):
        await make_colleague(db, alice, f"m{number}", role="manager")
    with statements() as seen:
        await happen(db, database, order(), alice.organization_id)
    assert (await counted(db))[0] == 8
    asked = [statement for statement in seen if "FROM users" in statement and "team_members" in statement]
    assert len(asked) == 3
    assert len([statement for statement in seen if "INSERT INTO notifications" in statement]) == 3


async def test_statements_when_more_people_are_told(
    db: SystemSession, database: Database, alice: Persona, statements: Any
) -> None:
    """Notices, mails and their jobs are written by as many statements for seven people as for one."""

    async def cost() -> int:
        event_id = await emit(db, order(OrderOversold), organization_id=alice.organization_id)
        await db.commit()
        await sequence(database)
        row = await row_of(database, event_id)
        assert row is not None
        with statements() as seen:
            await jobs.notify(db, row)
        await db.commit()
        return len(seen)

    few = await cost()
    for number in range(6):
        await make_colleague(db, alice, f"m{number}", role="manager")
    assert await cost() == few
    assert (await counted(db))[2] == 8


@pytest.mark.commits
async def test_count_when_a_notice_is_read_meanwhile(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    """Whoever reads one waits for the new one, so that what the tabs hear last is how it stands."""
    known = await make_notification(db, owner=alice)
    fact = Fact(uuid7(), "order.created", alice.organization_id, None, order().data(), {})
    async with database.transaction() as session:
        await telling.tell_tabs(session, (await telling.tell(session, fact)).notices)
        url = f"/api/notifications/{known.id}"
        reading = asyncio.create_task(client.patch(url, json={"is_read": True}, headers=alice.headers))
        async with asyncio.timeout(30):
            while not await db.scalar(WAITING):  # noqa: ASYNC110 - locks are taken without telling.
                await asyncio.sleep(0.01)
    assert (await reading).status_code == 200
    async with database.system(autocommit=True) as session:
        bodies = await session.scalars(select(EventOutbox.body).order_by(EventOutbox.id))
    told = [json.loads(body) for body in bodies]
    assert [(one["type"], one["data"]["unread_count"]) for one in told] == [
        ("notification.created", 2),
        ("notification.read", 1),
    ]


async def test_fan_out_when_the_event_is_gone(database: Database, db: SystemSession) -> None:
    await jobs.fan_out(database, event_id=str(uuid7()), number=0, after=str(uuid7()))
    assert (await counted(db))[0] == 0


async def test_membership_when_it_ends(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    """The organisation's notices go with it, and nobody else's."""
    mine = await make_notification(db, owner=bob, organization_id=None)
    await make_notification(db, owner=bob)
    await make_notification(db, owner=alice)
    member = await membership(db, bob)
    answer = await client.delete(f"/api/team/members/{member.id}", headers=alice.headers)
    assert answer.status_code in (200, 204), answer.text
    left = (await db.scalars(select(Notification.id).where(Notification.user_id == bob.user_id))).all()
    assert left == [mine.id]
    assert await db.scalar(
        select(func.count()).select_from(Notification).where(Notification.user_id == alice.user_id)
    )


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_catalogue_when_an_event_notifies(kind: str) -> None:
    """Each event of the catalogue asks for its notices, so that it is never forgotten."""
    load_areas()
    assert "notifications" in REGISTRY[kind].handlers


def test_catalogue_when_events_ask_for_notices() -> None:
    load_areas()
    asking = {kind for kind, event in REGISTRY.items() if "notifications" in event.handlers}
    assert asking == set(MAKERS)


def test_categories_when_they_are_compared_with_the_words() -> None:
    assert set(CATEGORIES) == set(get_args(Category))


@pytest.mark.parametrize("locale", ["fr", "en"])
@pytest.mark.parametrize(
    ("event", "template", "subject"),
    [
        (
            WebhookEndpointFailing(
                webhook_endpoint_id=SOMETHING,
                url_host="hooks.example.com",
                status="active",
                failing_since=datetime(2026, 1, 2, tzinfo=UTC),
                held_count=3,
            ),
            "webhook_failing",
            "hooks.example.com",
        ),
        (
            WebhookEndpointDisabled(
                webhook_endpoint_id=SOMETHING,
                url_host="hooks.example.com",
                status="disabled",
                disabled_reason="gone",
                failing_since=None,
                held_count=3,
            ),
            "webhook_disabled",
            "hooks.example.com",
        ),
        (
            WebhookEndpointRecovered(
                webhook_endpoint_id=SOMETHING, url_host="hooks.example.com", status="active", held_count=3
            ),
            "notification",
            "hooks.example.com",
        ),
        (
            IntegrationNeedsReauth(integration_id=SOMETHING, service="google_drive", status="needs_reauth"),
            "integration_needs_reauth",
            "Google Drive",
        ),
    ],
    ids=["failing", "disabled", "recovered", "needs_reauth"],
)
async def test_mail_when_a_connection_is_in_trouble(
    db: SystemSession,
    database: Database,
    alice: Persona,
    event: Event,
    template: str,
    subject: str,
    locale: str,
) -> None:
    """A mail in its own words, with the same title in the application."""
    await speaks(db, alice, locale)
    await happen(db, database, event, alice.organization_id)
    mail = await db.scalar(select(MailOutbox))
    assert mail is not None
    assert mail.headers["X-Template"] == template
    assert mail.headers["X-Locale"] == locale
    assert subject in mail.subject + mail.text
    (notice,) = (await db.scalars(select(Notification))).all()
    assert subject in notice.title
    assert notice.category == "integrations"
