"""The database goes away and comes back: the service takes up its work without being told."""

import asyncio

import pytest
from httpx import AsyncClient

from tests.support.server import Installation, basket, open_shop

pytestmark = pytest.mark.fault

AT_ONCE = 12
"""More than lie in the pool of either kind of statement."""


async def test_requests_when_the_database_was_killed(installation: Installation, http: AsyncClient) -> None:
    """The service starts its own database again, and requests are served as before."""
    shop = await open_shop(http, "restarted@luneo.test")
    product = await shop.product("Bag", stock=1000)
    order = (await http.post("/api/orders", json=basket(product))).json()

    async def ask_everything() -> set[int]:
        reads = [http.get(path) for path in ("/api/orders", f"/api/orders/{order['id']}", "/api/auth/me")]
        writes = [http.post("/api/orders", json=basket(product))]
        answers = await asyncio.gather(*reads, *writes)
        return {answer.status_code for answer in answers}

    async def crowd() -> set[int]:
        return set().union(*await asyncio.gather(*(ask_everything() for _ in range(AT_ONCE))))

    # Fill the pools, so that there are connections to go stale.
    assert await crowd() == {200, 201}
    with installation.without_database():
        away = await http.get("/api/orders")
        assert (away.status_code, away.json()["code"]) == (503, "database_unavailable")
    await installation.until_it_serves(http)
    assert await crowd() == {200, 201}
    assert await crowd() == {200, 201}
