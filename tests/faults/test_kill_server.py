"""Killed while orders are placed: what was acknowledged is there, and repeating the rest does each once."""

import asyncio
import contextlib
from collections.abc import Callable
from uuid import uuid4

import pytest
from httpx import AsyncClient, HTTPError

from tests.support.server import Installation, basket, open_shop

pytestmark = pytest.mark.fault

CLIENTS = 8
ENOUGH = 60
"""So many orders are acknowledged before the blow; the others are under way then."""


class Rush:
    """Eight clients that place orders, each with a key of its own, until the service is gone."""

    def __init__(self, products: list[str]) -> None:
        self.products = products
        self.sent: dict[str, int] = {}
        self.acknowledged: dict[str, str] = {}
        self.is_struck = False
        self.is_enough = asyncio.Event()

    async def place(self, http: AsyncClient, key: str) -> int:
        """Place the order of a key, or repeat it; answers the status."""
        number = self.sent.setdefault(key, len(self.sent))
        body = basket(
            *self.products[: number % len(self.products) + 1], quantity=number % 3 + 1, metadata={"key": key}
        )
        answer = await http.post("/api/orders", json=body, headers={"Idempotency-Key": key})
        if answer.status_code == 201:
            self.acknowledged[key] = answer.json()["id"]
        if len(self.acknowledged) >= ENOUGH:
            self.is_enough.set()
        return answer.status_code

    async def run(self, http: AsyncClient) -> None:
        """Until each client has failed once; anything but an order, or a 5xx after the blow, is a defect."""

        async def client() -> None:
            with contextlib.suppress(HTTPError):
                while (status := await self.place(http, str(uuid4()))) == 201:
                    pass
                assert self.is_struck
                assert status >= 500

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def until_struck_by(self, blow: Callable[[], None], http: AsyncClient) -> None:
        """Strike in the midst of it."""
        running = asyncio.create_task(self.run(http))
        await self.is_enough.wait()
        self.is_struck = True
        await asyncio.to_thread(blow)
        await running


async def judge(installation: Installation, http: AsyncClient, rush: Rush, organization_id: str) -> None:
    """What must hold once the service runs again."""
    there = await installation.rows(
        "SELECT id::text, metadata->>'key' AS key FROM orders WHERE organization_id = $1", organization_id
    )
    orders = {row["key"]: row["id"] for row in there}
    assert len(orders) == len(there)
    assert {key: orders.get(key) for key in rush.acknowledged} == rush.acknowledged
    lost = rush.sent.keys() - rush.acknowledged.keys()
    assert len(lost) == CLIENTS
    repeated = [*lost, *list(rush.acknowledged)[:5]]
    assert await asyncio.gather(*(rush.place(http, key) for key in repeated)) == [201] * len(repeated)
    placed = await installation.rows(
        "SELECT id::text, metadata->>'key' AS key, order_number FROM orders WHERE organization_id = $1",
        organization_id,
    )
    assert {row["key"]: row["id"] for row in placed} == rush.acknowledged
    assert sorted(row["key"] for row in placed) == sorted(rush.sent)
    assert sorted(int(row["order_number"][-6:]) for row in placed) == list(range(1, len(placed) + 1))
    drifted = await installation.rows(
        "SELECT p.id FROM products p WHERE p.organization_id = $1 AND p.reserved IS DISTINCT FROM"
        " (SELECT sum(r.quantity) FROM stock_reservations r WHERE r.product_id = p.id AND r.status = 'held')",
        organization_id,
    )
    assert drifted == []


async def test_orders_when_the_service_is_killed(installation: Installation) -> None:
    async with installation.client() as http:
        shop = await open_shop(http, "killed@luneo.test")
        rush = Rush([await shop.product(f"Bag {number}", stock=100_000) for number in range(3)])
        await rush.until_struck_by(installation.kill, http)
    installation.start()
    async with installation.client() as http:
        http.headers.update(shop.headers)
        await judge(installation, http, rush, shop.organization_id)


async def test_orders_when_the_database_is_killed(installation: Installation) -> None:
    async with installation.client() as http:
        shop = await open_shop(http, "crashed@luneo.test")
        rush = Rush([await shop.product(f"Bag {number}", stock=100_000) for number in range(3)])
        with contextlib.ExitStack() as away:
            await rush.until_struck_by(lambda: away.enter_context(installation.without_database()), http)
            assert (await http.get("/health/live")).status_code == 200
            assert (await http.get("/health/ready")).status_code == 503
            assert (await http.get("/api/orders")).status_code == 503
        await installation.until_it_serves(http)
        await judge(installation, http, rush, shop.organization_id)
