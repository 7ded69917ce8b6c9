"""Orders in numbers: per currency, within a half-open range, and amounts for those who may see them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient

from app.core import clock
from app.core.database import SystemSession
from tests.factories.orders import make_order
from tests.support.personas import Persona, make_colleague

PATH = "/api/orders/stats"
AMOUNTS = ("gross_amount", "refunded_amount", "net_amount", "average_amount")

Recorder = Callable[[], AbstractContextManager[list[str]]]


async def stats(client: AsyncClient, persona: Persona, **query: Any) -> dict[str, Any]:
    answer = await client.get(PATH, headers=persona.headers, params=query)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def counted(states: dict[str, int]) -> dict[str, int]:
    """The states that some order is in."""
    return {name: count for name, count in states.items() if count}


async def test_stats_when_there_are_several_currencies(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await make_order(db, owner=alice, status="draft")
    await make_order(db, owner=alice)
    await make_order(db, owner=alice, status="cancelled")
    await make_order(db, owner=alice, status="confirmed")
    await make_order(
        db, owner=alice, status="shipped", items=2, payment_status="partially_refunded", amount_refunded=500
    )
    yen: dict[str, Any] = {"currency": "JPY", "payment_status": "refunded", "amount_refunded": 1000}
    await make_order(db, owner=alice, status="delivered", **yen)
    await make_order(db, owner=alice, currency="USD")
    euros, yens, dollars = (await stats(client, alice))["currencies"]
    assert [item["currency"] for item in (euros, yens, dollars)] == ["EUR", "JPY", "USD"]
    assert [item["orders_count"] for item in (euros, yens, dollars)] == [5, 1, 1]
    assert counted(euros["by_status"]) == {
        "draft": 1,
        "pending": 1,
        "confirmed": 1,
        "shipped": 1,
        "cancelled": 1,
    }
    assert counted(euros["by_payment_status"]) == {"unpaid": 3, "paid": 1, "partially_refunded": 1}
    assert (len(euros["by_status"]), len(euros["by_payment_status"])) == (9, 9)
    assert [euros[name] for name in AMOUNTS] == [3001, 500, 2501, 1501]
    assert [yens[name] for name in AMOUNTS] == [1000, 1000, 0, 1000]
    assert [dollars[name] for name in AMOUNTS] == [0, 0, 0, 0]


async def test_stats_when_the_range_ends_at_an_order(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """From the first moment on, and before the last; the list with the same range has as many orders."""
    now = clock.now()
    first, second, third = (now - timedelta(days=days) for days in (40, 20, 1))
    for moment in (first, second, third):
        await make_order(db, owner=alice, created_at=moment)
    ranges: list[tuple[dict[str, Any], int]] = [
        ({}, 2),
        ({"from": first.isoformat()}, 3),
        ({"from": first.isoformat(), "to": third.isoformat()}, 2),
        ({"from": second.isoformat(), "to": second.isoformat()}, 0),
        ({"to": third.isoformat()}, 1),
        ({"to": (second + timedelta(microseconds=1)).isoformat()}, 2),
        ({"to": "2020-01-01T00:00:00Z"}, 0),
    ]
    for query, expected in ranges:
        told = await stats(client, alice, **query)
        assert sum(item["orders_count"] for item in told["currencies"]) == expected, query
        same = {"from": told["from"], "to": told["to"], "page": 1}
        page = await client.get("/api/orders", headers=alice.headers, params=same)
        assert page.json()["total"] == expected


async def test_range_when_it_is_left_out(client: AsyncClient, alice: Persona) -> None:
    told = await stats(client, alice, to="2026-03-31T00:00:00+02:00")
    assert told == {"from": "2026-02-28T22:00:00Z", "to": "2026-03-30T22:00:00Z", "currencies": []}
    year = await stats(client, alice, **{"from": "2024-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z"})
    assert (year["from"], year["to"]) == ("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")
    earliest = await stats(client, alice, to="0001-01-02T00:00:00Z")
    assert (earliest["from"], earliest["to"]) == ("0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"from": "2024-01-01T00:00:00Z", "to": "2025-01-01T00:00:01Z"}, "range_too_long"),
    ({"from": "2024-01-01T00:00:00Z"}, "range_too_long"),
    ({"from": "2024-01-02T00:00:00Z", "to": "2024-01-01T00:00:00Z"}, "range_invalid"),
    ({"from": "9999-12-31T00:00:00Z"}, "range_invalid"),
    ({"from": "0001-01-01T00:00:00+14:00"}, "validation_error"),
    ({"from": "yesterday"}, "validation_error"),
    ({"from": "2024-01-01"}, "validation_error"),
    ({"to": "2024-01-01T00:00:00"}, "validation_error"),
    ({"to": "1700000000"}, "validation_error"),
    ({"currency": "EUR"}, "validation_error"),
]


@pytest.mark.parametrize(("query", "code"), REFUSED, ids=lambda value: str(value)[:40])
async def test_range_when_it_is_not_valid(
    client: AsyncClient, alice: Persona, query: dict[str, Any], code: str
) -> None:
    answer = await client.get(PATH, headers=alice.headers, params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_amounts_when_the_caller_may_not_see_them(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    await make_order(db, owner=alice, status="confirmed")
    manager = await make_colleague(db, alice, "mia", role="manager")
    (shown,) = (await stats(client, manager))["currencies"]
    (hidden,) = (await stats(client, bob))["currencies"]
    assert [shown[name] for name in AMOUNTS] == [1000, 0, 1000, 1000]
    assert [hidden[name] for name in AMOUNTS] == [None] * 4
    assert {**shown, **dict.fromkeys(AMOUNTS)} == hidden


async def test_stats_when_a_stranger_asks(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    await make_order(db, owner=alice, status="confirmed")
    assert (await stats(client, charlie))["currencies"] == []
    await make_order(db, owner=charlie)
    (his,) = (await stats(client, charlie))["currencies"]
    assert his["orders_count"] == 1


async def test_stats_when_there_are_more_orders(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Recorder
) -> None:
    costs = []
    for currency in ("EUR", "USD", "JPY"):
        for status in ("pending", "confirmed", "cancelled"):
            await make_order(db, owner=alice, status=status, currency=currency)
        with statements() as seen:
            await stats(client, alice)
        costs.append(len(seen))
    assert costs == [3, 3, 3]  # Access, the time, the counts.
    with statements() as seen:
        await stats(client, alice, to="2026-01-01T00:00:00Z")
    assert len(seen) == 2


async def test_average_when_large_amounts_add_up(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Sums of bigints leave the range of bigints; they stay exact, and the average is rounded half up."""
    large = 9_007_199_254_740_991
    for amount in (large, large, 1):
        sums: dict[str, Any] = {"subtotal": amount, "total_amount": amount, "amount_paid": amount}
        await make_order(db, owner=alice, status="confirmed", currency="KRW", **sums)
    (won,) = (await stats(client, alice))["currencies"]
    assert won["gross_amount"] == 2 * large + 1
    assert won["average_amount"] == (4 * large + 2 + 3) // 6
