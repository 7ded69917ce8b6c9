"""What is counted against plans: each thing once, never above the limit, and given back when released."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.errors import PaymentRequired
from app.core.events import EventOutbox
from app.core.ids import uuid7
from app.jobs.billing_usage import prune_usage_events, release_expired_usage
from app.models.billing import DocumentCounter, Plan, PlanPrice, Subscription, UsageEvent, UsageMetric
from app.repositories.billing.usage import UsageRepository, Use
from app.services.billing.entitlements import entitlements
from app.services.billing.periods import meter_period
from app.services.billing.usage import Meter, confirm, count, release, reserve
from tests.factories.billing import grant_plan, subscribe
from tests.factories.orders import order_body
from tests.factories.products import make_product
from tests.support.personas import Persona

LIMIT = 100


async def limit_renders(db: SystemSession, persona: Persona, limit: int = LIMIT) -> None:
    """Give the organisation a plan with room for so many renders in a month."""
    free = await db.get_one(Plan, "free")
    limits = {**free.limits, "renders": limit}
    db.add(Plan(code="studio", name="Studio", rank=5, is_public=False, features={}, limits=limits))
    await db.commit()
    await grant_plan(db, persona.organization_id, "studio")


async def used(db: SystemSession, persona: Persona, metric: str = "renders") -> int:
    statement = select(UsageMetric.value).where(
        UsageMetric.organization_id == persona.organization_id, UsageMetric.metric_type == metric
    )
    return await db.scalar(statement) or 0


@pytest.mark.commits
async def test_quota_when_three_hundred_calls_share_a_hundred_and_fifty_keys(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    await limit_renders(db, alice)
    keys = [uuid7() for _ in range(150)]

    async def call(key: UUID) -> str:
        try:
            async with database.transaction() as session:
                is_new = await count(session, alice.organization_id, "renders", 1, key)
        except PaymentRequired as refusal:
            return refusal.code
        return "done" if is_new else "replayed"

    outcomes = Counter(await asyncio.gather(*(call(key) for key in (*keys, *keys))))
    assert outcomes == {"done": 100, "replayed": 100, "quota_exceeded": 100}
    assert await used(db, alice) == 100
    assert await db.scalar(select(func.count()).select_from(UsageEvent)) == 100
    told = select(EventOutbox.body).where(EventOutbox.type == "usage.threshold_reached")
    assert len((await db.scalars(told)).all()) == 2


@pytest.mark.commits
async def test_reservations_when_they_race(database: Database, db: SystemSession, alice: Persona) -> None:
    """Forty ask for seven each: fourteen fit into a hundred, and what is released fits again."""
    await limit_renders(db, alice)

    async def ask(key: UUID) -> bool:
        try:
            async with database.transaction() as session:
                return await reserve(session, alice.organization_id, "renders", 7, key)
        except PaymentRequired:
            return False

    keys = [uuid7() for _ in range(40)]
    held = [key for key, is_held in zip(keys, await asyncio.gather(*map(ask, keys)), strict=True) if is_held]
    assert len(held) == 14
    assert await used(db, alice) == 98
    async with database.transaction() as session:
        assert await release(session, alice.organization_id, held[0])
        assert not await release(session, alice.organization_id, held[0])
        assert await confirm(session, alice.organization_id, held[1])
        assert not await confirm(session, alice.organization_id, held[1])
        assert not await release(session, alice.organization_id, held[1])
    assert await used(db, alice) == 91
    again = await asyncio.gather(*(ask(key) for key in [held[0], held[0], *keys[-3:]]))
    assert sum(again) == 1
    assert await used(db, alice) == 98


async def test_refusal_when_its_transaction_is_committed(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    """A caller that swallows the refusal keeps no count, and may ask again when there is room."""
    await limit_renders(db, alice, 10)
    async with database.transaction() as session:
        assert await count(session, alice.organization_id, "renders", 8, "first")
        with pytest.raises(PaymentRequired) as refused:
            await count(session, alice.organization_id, "renders", 3, "second")
    told = refused.value.extensions
    assert (told["limit"], told["used"], told["requested"], told["metric"]) == (10, 8, 3, "renders")
    start = clock.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert told["resets_at"] == f"{(start + timedelta(days=32)).replace(day=1):%Y-%m-%dT%H:%M:%SZ}"
    async with database.transaction() as session:
        assert await count(session, alice.organization_id, "renders", 2, "second")
    assert await used(db, alice) == 10


async def test_count_when_it_may_not_refuse(database: Database, db: SystemSession, alice: Persona) -> None:
    await limit_renders(db, alice, 1)
    async with database.transaction() as session:
        for key in ("a", "b", "b"):
            await count(session, alice.organization_id, "renders", 1, key, may_refuse=False)
    assert await used(db, alice) == 2


async def test_confirm_when_the_reservation_was_given_back(
    database: Database, db: SystemSession, alice: Persona
) -> None:
    """Work that outlasts its reservation is done all the same, and counts."""
    await limit_renders(db, alice, 1)
    async with database.transaction() as session:
        await reserve(session, alice.organization_id, "renders", 1, "slow")
        await release(session, alice.organization_id, "slow")
        await count(session, alice.organization_id, "renders", 1, "quick")
        assert await confirm(session, alice.organization_id, "slow")
    assert await used(db, alice) == 2


async def test_sums_when_others_count(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    async with database.transaction() as session:
        for persona in (alice, charlie):
            assert await count(session, persona.organization_id, "renders", 3, "same key")
        assert not await release(session, charlie.organization_id, "same key")
    assert (await used(db, alice), await used(db, charlie)) == (3, 3)


@pytest.mark.parametrize(
    ("anchor", "now", "start", "end"),
    [
        (None, "2026-11-20", "2026-11-01", "2026-12-01"),
        (None, "2026-12-31", "2026-12-01", "2027-01-01"),
        ("2026-01-31", "2026-02-27", "2026-01-31", "2026-02-28"),
        ("2026-01-31", "2026-02-28", "2026-02-28", "2026-03-31"),
        ("2024-02-29", "2026-03-01", "2026-02-28", "2026-03-29"),
        ("2026-03-15", "2026-01-14", "2025-12-15", "2026-01-15"),
    ],
)
def test_period_when_its_anchor_is_any_day(anchor: str | None, now: str, start: str, end: str) -> None:
    def day(value: str) -> datetime:
        return datetime.fromisoformat(value).replace(tzinfo=UTC)

    period = meter_period(None if anchor is None else day(anchor), day(now))
    assert (period.start, period.end, period.name) == (day(start), day(end), start)


STATES: tuple[dict[str, Any], ...] = (
    {"status": "active"},
    {"status": "trialing"},
    {"status": "past_due", "past_due_since": -1},
    {"status": "past_due", "past_due_since": -30},
    {"status": "unpaid"},
    {"status": "paused"},
    {"status": "incomplete"},
    {"status": "canceled"},
)


@pytest.mark.parametrize("state", STATES, ids=lambda state: "-".join(map(str, state.values())))
@pytest.mark.parametrize("granted", [None, "premium", "enterprise"])
@pytest.mark.parametrize(
    "anchor", [datetime(2025, 1, 31, 23, 59, tzinfo=UTC), datetime(2026, 4, 5, tzinfo=UTC)]
)
async def test_terms_when_statement_and_service_say_them(
    db: SystemSession, alice: Persona, state: dict[str, Any], granted: str | None, anchor: datetime
) -> None:
    """The statement that counts knows limits and periods as the services do."""
    price = await db.scalar(select(PlanPrice.id).where(PlanPrice.plan_code == "business").limit(1))
    since = state.get("past_due_since")
    db.add(
        Subscription(
            organization_id=alice.organization_id,
            id=uuid7(),
            plan_code="business",
            price_id=price,
            status=state["status"],
            past_due_since=None if since is None else clock.now() + timedelta(days=since),
            meter_anchor_at=anchor,
            stripe_subscription_id="sub_1",
        )
    )
    await db.commit()
    if granted is not None:
        await grant_plan(db, alice.organization_id, granted)
    plan = await entitlements(db, alice.organization_id)
    days = get_settings().billing_grace_days
    use = Use(key="one", metric="orders", quantity=1, occurred_at=await db.now(), grace_days=days)
    counted = await UsageRepository(db, alice.organization_id).count(use)
    assert counted.limit == plan.limits["orders"]
    assert counted.period == meter_period(plan.meter_anchor_at, clock.now()).name


@pytest.mark.commits
async def test_products_when_more_are_added_at_once_than_the_plan_has_room_for(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    async def add(number: int) -> Response:
        body = {"name": f"Bag {number}", "price": 100}
        return await client.post("/api/products", headers=alice.headers, json=body)

    answers = await asyncio.gather(*map(add, range(15)))
    assert Counter(answer.status_code for answer in answers) == {201: 10, 402: 5}
    refused = next(answer.json() for answer in answers if answer.status_code == 402)
    assert (refused["code"], refused["metric"]) == ("plan_limit_reached", "products")
    assert (refused["limit"], refused["used"], refused["requested"]) == (10, 10, 1)
    gone = next(answer.json()["id"] for answer in answers if answer.status_code == 201)
    await client.delete(f"/api/products/{gone}", headers=alice.headers)
    assert (await add(99)).status_code == 201


@pytest.mark.commits
async def test_orders_when_the_quota_ends(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """Twenty of the free plan go through; a refusal leaves stock, numbers and the sum as they are."""
    product = await make_product(db, owner=alice, stock=100)
    answers = await asyncio.gather(
        *(client.post("/api/orders", headers=alice.headers, json=order_body((product, 1))) for _ in range(25))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 20, 402: 5}
    refused = next(answer.json() for answer in answers if answer.status_code == 402)
    assert (refused["code"], refused["limit"], refused["used"]) == ("quota_exceeded", 20, 20)
    await db.refresh(product)
    assert product.reserved == 20
    assert await used(db, alice, "orders") == 20
    assert await db.scalar(select(DocumentCounter.last_value).where(DocumentCounter.kind == "order")) == 20
    draft = await client.post(
        "/api/orders", headers=alice.headers, json=order_body((product, 1), status="draft")
    )
    assert draft.status_code == 201
    submitted = await client.post(f"/api/orders/{draft.json()['id']}/submit", headers=alice.headers)
    assert (submitted.status_code, submitted.json()["code"]) == (402, "quota_exceeded")
    assert (submitted.headers["x-quota-limit"], submitted.headers["x-quota-remaining"]) == ("20", "0")


async def test_order_when_its_answer_tells_what_is_left(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    product = await make_product(db, owner=alice)
    told = [
        (await client.post("/api/orders", headers=alice.headers, json=order_body((product, 1)))).headers
        for _ in range(2)
    ]
    assert [headers["x-quota-remaining"] for headers in told] == ["19", "18"]
    assert {headers["x-quota-limit"] for headers in told} == {"20"}
    period = meter_period(None, await db.now())
    assert {headers["x-quota-reset"] for headers in told} == {str(int(period.end.timestamp()))}


async def test_order_when_the_subscription_is_not_paid(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Above the limits of the free plan a larger one would not help: what is owed is to be paid."""
    await subscribe(db, alice.organization_id, "business", status="unpaid", meter_anchor_at=clock.now())
    product = await make_product(db, owner=alice, stock=100)
    meter = Meter(db, alice.organization_id, "orders")
    await meter.add("before", 19)
    body = order_body((product, 1))
    assert (await client.post("/api/orders", headers=alice.headers, json=body)).status_code == 201
    refused = await client.post("/api/orders", headers=alice.headers, json=body)
    assert (refused.status_code, refused.json()["code"]) == (402, "subscription_inactive")


async def test_reservation_when_nobody_ends_it(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    """The sweep gives back what is over, and nothing else; of a late release nothing is left to do."""
    async with database.transaction() as session:
        for persona in (alice, charlie):
            await reserve(session, persona.organization_id, "renders", 3, "dead")
        await reserve(session, alice.organization_id, "renders", 2, "done")
        await confirm(session, alice.organization_id, "done")
    await release_expired_usage(database)
    assert (await used(db, alice), await used(db, charlie)) == (5, 3)
    with clock.travel(timedelta(minutes=get_settings().usage_reservation_minutes, seconds=1)):
        await release_expired_usage(database)
        await release_expired_usage(database)
    assert (await used(db, alice), await used(db, charlie)) == (2, 0)
    async with database.transaction() as session:
        assert not await release(session, alice.organization_id, "dead")


async def test_events_when_they_are_old(database: Database, db: SystemSession, alice: Persona) -> None:
    async with database.transaction() as session:
        await count(session, alice.organization_id, "renders", 3, "old")
    await prune_usage_events(database)
    assert await db.scalar(select(func.count()).select_from(UsageEvent)) == 1
    with clock.travel(timedelta(days=401)):
        await prune_usage_events(database)
    assert await db.scalar(select(func.count()).select_from(UsageEvent)) == 0
    assert await used(db, alice) == 3
