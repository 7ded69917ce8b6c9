"""The JSON of orders that PostgreSQL writes: what response models would write, and of nobody else."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from httpx import AsyncClient
from pydantic import BaseModel

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.errors import NotFound
from app.core.ids import uuid7
from app.core.paging import Page
from app.models.orders import Order, OrderPayment, Refund
from app.models.orders.order import HOLD_REASONS, ORDER_STATUSES, PAYMENT_STATUSES
from app.repositories.orders.documents import transitions
from app.repositories.orders.orders import OrderRepository
from app.schemas.orders import OrderQuery, OrderRead
from app.services.orders.reading import DOCUMENTS, OrderReader
from app.services.orders.states import available_transitions, transitions_by_state
from app.services.orders.views import detail
from tests.factories.orders import make_order
from tests.support.personas import Persona

Recorder = Callable[[], AbstractContextManager[list[str]]]

ODD = 'a "b" \\ \n\t\r\b\f\x01\x1f\x7f é 漢 😀 </script> +00:00'
"""Text whose spelling in JSON could differ."""

MOMENTS = [
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 59, 59, 120000, tzinfo=UTC),
    datetime(2026, 2, 28, 0, 0, 0, 1, tzinfo=UTC),
    datetime(1970, 1, 1, 0, 0, 0, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 990000, tzinfo=UTC),
]


def ordered(text: str | bytes) -> Any:
    """A document with the order of its members, numbers as they are spelt."""
    return json.loads(text, object_pairs_hook=list, parse_float=str)


def as_model_writes(model: type[BaseModel], document: Any) -> Any:
    """What the response model makes of the same values."""
    return ordered(model.model_validate(document).model_dump_json())


async def make_rich_order(db: SystemSession, owner: Persona) -> Order:
    """An order in which every member has a value that is easy to spell wrongly."""
    order = await make_order(
        db,
        owner=owner,
        status="delivered",
        items=3,
        notes=ODD,
        internal_notes=ODD,
        customer_name=ODD,
        customer_phone="",
        metadata_={"b": 1.5, "a": [None, True, {"é": ODD}], "long": "x" * 5000, "n": -0.25, "e": 1e21},
        billing_address={"name": ODD, "city": "Paris"},
        shipped_at=MOMENTS[0],
        delivered_at=MOMENTS[1],
        completed_at=MOMENTS[2],
        checkout_expires_at=MOMENTS[3],
        reservation_expires_at=MOMENTS[4],
        created_at=MOMENTS[1],
    )
    payment = OrderPayment(
        organization_id=owner.organization_id,
        id=uuid7(),
        order_id=order.id,
        method="other",
        reference=ODD,
        amount=7,
        currency="EUR",
        status="unapplied",
        unapplied_reason="duplicate",
        received_at=MOMENTS[0],
    )
    db.add(payment)
    await db.flush()
    db.add(
        Refund(
            organization_id=owner.organization_id,
            id=uuid7(),
            order_id=order.id,
            payment_id=payment.id,
            amount=5,
            currency="EUR",
            reason="goodwill",
            note=ODD,
            lines=[
                {"quantity": 2, "amount": 5, "item_id": str(uuid7()), "more": 1},
                {"item_id": str(uuid7()), "amount": 0, "quantity": 0},
            ],
            tax_groups=[{"tax_amount": 1, "rate_bps": 2000, "net_amount": 4, "gross_amount": 5}],
            actor_type="user",
        )
    )
    await db.commit()
    return order


async def test_page_when_the_model_writes_it_too(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await make_rich_order(db, alice)
    await make_order(db, owner=alice, status="draft")
    await make_order(db, owner=alice, status="cancelled")
    for query in ({}, {"q": "anna"}):
        answer = await client.get("/api/orders", headers=alice.headers, params=query)
        assert answer.headers["content-type"] == "application/json"
        assert len(answer.json()["items"]) == 3
        assert ordered(answer.content) == as_model_writes(Page[OrderRead], answer.json())


async def test_order_when_the_model_writes_it_too(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona
) -> None:
    order = await make_rich_order(db, alice)
    answer = await client.get(f"/api/orders/{order.id}", headers=alice.headers)
    body = answer.json()
    assert [len(body[name]) for name in ("order_items", "history", "payments", "refunds")] == [3, 1, 2, 1]
    assert body["shipped_at"] == "2026-01-02T03:04:05Z"
    assert body["delivered_at"] == "2026-12-31T23:59:59.120000Z"
    assert answer.headers["etag"] == f'"{order.version}"'
    async with database.owner(alice.principal) as session:
        view = await OrderRepository(session).view(order.id)
        assert view is not None
        expected = detail(view, alice.principal)
    assert ordered(answer.content) == ordered(expected.model_dump_json())


@pytest.mark.parametrize("query", [{}, {"status": "delivered"}, {"sort": "total_amount", "page": 1}])
async def test_page_when_its_reader_may_not_write(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, query: dict[str, str]
) -> None:
    order = await make_rich_order(db, alice)
    pages = [
        (await client.get("/api/orders", headers=persona.headers, params=query)).json()["items"]
        for persona in (alice, bob)
    ]
    assert [page[0]["internal_notes"] for page in pages] == [ODD, None]
    singles = [
        (await client.get(f"/api/orders/{order.id}", headers=persona.headers)).json()
        for persona in (alice, bob)
    ]
    assert [single["internal_notes"] for single in singles] == [ODD, None]
    assert [single["payments"] is None for single in singles] == [False, True]


async def test_every_way_to_a_page_when_they_answer_the_same_orders(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The newest orders have a statement of their own; it agrees with that of all other lists."""
    now = clock.now()
    for n in range(5):
        # Two of them were made in the same moment: their ids decide.
        await make_order(db, owner=alice, created_at=now - timedelta(seconds=n // 2), items=n % 3 + 1)
    for limit in (1, 2, 4, 5, 6):
        plain = await pages(client, alice, {"limit": limit})
        filtered = await pages(client, alice, {"limit": limit, "status": "pending"})
        assert [page for page, _ in plain] == [page for page, _ in filtered]
        assert [more for _, more in plain] == [more for _, more in filtered]
        assert sum(len(page) for page, _ in plain) == 5
    numbered = (await client.get("/api/orders", headers=alice.headers, params={"page": 1})).json()
    assert numbered["items"] == (await pages(client, alice, {}))[0][0]
    assert numbered["total"] == 5


async def pages(client: AsyncClient, persona: Persona, query: dict[str, Any]) -> list[tuple[list[Any], bool]]:
    """Every page to the last one, each with whether there is one behind it."""
    found = []
    cursor: dict[str, Any] = {}
    while True:
        answer = await client.get("/api/orders", headers=persona.headers, params=query | cursor)
        body = answer.json()
        assert answer.status_code == 200, body
        assert body["total"] is None
        found.append((body["items"], body["next_cursor"] is not None))
        if body["next_cursor"] is None:
            return found
        cursor = {"cursor": body["next_cursor"]}


async def test_page_when_there_is_no_order(client: AsyncClient, alice: Persona) -> None:
    for query in ({}, {"status": "draft"}, {"page": 3}):
        body = (await client.get("/api/orders", headers=alice.headers, params=query)).json()
        assert (body["items"], body["next_cursor"]) == ([], None)


async def test_documents_when_another_organisation_asks(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    """The statements beside the row guard: whatever is asked for, they read their own organisation."""
    order = await make_rich_order(db, alice)
    mine = await make_order(db, owner=charlie)
    here = (clock.now() + timedelta(days=1), uuid7())
    for autocommit in (False, True):
        async with database.owner(charlie.principal, autocommit=autocommit) as session:
            reader = OrderReader(session, charlie.principal)
            for reference in (str(order.id), str(order.order_number)):
                with pytest.raises(NotFound):
                    await reader.get(reference)
            for query in (OrderQuery(), OrderQuery(status=["delivered", "pending"])):
                assert [item["id"] for item in json.loads(await reader.list(query))["items"]] == [
                    str(mine.id)
                ]
            owner = charlie.organization_id
            page = await DOCUMENTS.newest(session, owner, limit=9, before=here, may_write=True)
            chosen = await DOCUMENTS.chosen(session, owner, [order.id, mine.id], may_write=True)
            for found in (page.items, chosen):
                assert [item["id"] for item in json.loads(f"[{found}]")] == [str(mine.id)]


async def test_transitions_when_every_state_is_asked_for(db: SystemSession) -> None:
    """What PostgreSQL says can be done with an order is what the service says."""
    states = list(product(ORDER_STATUSES, PAYMENT_STATUSES, (None, *HOLD_REASONS)))
    names = ("status", "payment_status", "hold_reason")
    rows = await db.fetch(
        f"""
        SELECT {transitions(transitions_by_state())}::text, o.*
        FROM unnest($1::text[], $2::text[], $3::text[]) AS o (status, payment_status, hold_reason)
        """,  # noqa: S608 - names of the code
        *(list(column) for column in zip(*states, strict=True)),
    )
    assert len(rows) == len(states) > 600
    for targets, *state in rows:
        order = Order(**dict(zip(names, state, strict=True)))
        assert json.loads(targets) == available_transitions(order), state


async def test_reads_when_statements_are_counted(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Recorder
) -> None:
    """The budget: one statement for who asks, and one for the answer, however much it holds."""
    order = await make_rich_order(db, alice)
    for _ in range(3):
        await make_order(db, owner=alice, items=2)
    for path, most in (
        ("/api/orders", 2),
        ("/api/orders?limit=2", 2),
        (f"/api/orders/{order.id}", 2),
        (f"/api/orders/{order.order_number}", 2),
        ("/api/orders?status=delivered", 3),
    ):
        with statements() as seen:
            assert (await client.get(path, headers=alice.headers)).status_code == 200
        assert 1 < len(seen) <= most, (path, seen)
