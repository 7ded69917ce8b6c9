"""Crowds against the real process: nothing is sold twice, lost, or done twice."""

import asyncio
import random
from collections import Counter
from uuid import uuid4

import pytest
from httpx import AsyncClient, Response

from tests.support.accounts import DEVICE_KEY, device, refresh
from tests.support.server import Installation, basket, open_shop

pytestmark = pytest.mark.fault


def codes(answers: list[Response]) -> Counter[tuple[int, str | None]]:
    """How often each status and problem code was answered."""
    return Counter((answer.status_code, answer.json().get("code")) for answer in answers)


async def test_last_piece_when_fifty_want_it(http: AsyncClient) -> None:
    shop = await open_shop(http, "last@luneo.test")
    bag = await shop.product("Last bag", stock=1)
    answers = await asyncio.gather(*(http.post("/api/orders", json=basket(bag)) for _ in range(50)))
    assert codes(answers) == {(201, None): 1, (409, "insufficient_stock"): 49}
    product = (await http.get(f"/api/products/{bag}")).json()
    assert (product["stock"], product["reserved"], product["available"]) == (1, 1, 0)
    assert (await http.get("/api/orders?page=1")).json()["total"] == 1


async def test_baskets_when_sixty_hold_the_same_five_in_any_order(
    http: AsyncClient, installation: Installation
) -> None:
    shop = await open_shop(http, "carts@luneo.test")
    shelf = [await shop.product(f"Bag {number}", stock=1000) for number in range(5)]
    baskets = [random.Random(seed).sample(shelf, 5) for seed in range(60)]
    answers = await asyncio.gather(*(http.post("/api/orders", json=basket(*ids)) for ids in baskets))
    assert codes(answers) == {(201, None): 60}
    assert len({answer.json()["order_number"] for answer in answers}) == 60
    found = await installation.rows("SELECT reserved FROM products WHERE id = ANY($1::uuid[])", shelf)
    assert [row["reserved"] for row in found] == [60] * 5


async def test_key_when_fifty_requests_carry_it_at_once(http: AsyncClient) -> None:
    shop = await open_shop(http, "keys@luneo.test")
    bag = await shop.product("Bag", stock=1000)
    headers = {"Idempotency-Key": str(uuid4())}
    answers = await asyncio.gather(
        *(http.post("/api/orders", json=basket(bag), headers=headers) for _ in range(50))
    )
    seen = codes(answers)
    assert set(seen) <= {(201, None), (409, "idempotency_in_progress")}
    assert seen[201, None] >= 1
    again = await http.post("/api/orders", json=basket(bag), headers=headers)
    assert {answer.json()["id"] for answer in answers if answer.status_code == 201} == {again.json()["id"]}
    assert (await http.get("/api/orders?page=1")).json()["total"] == 1
    assert (await http.get(f"/api/products/{bag}")).json()["reserved"] == 1


async def test_refresh_token_when_twenty_tabs_send_it(http: AsyncClient) -> None:
    shop = await open_shop(http, "tabs@luneo.test")
    first, key = shop.session["refresh_token"], DEVICE_KEY
    answers = await asyncio.gather(*(refresh(http, first, key=key) for _ in range(20)))
    assert codes(answers) == {(200, None): 20}
    successors = {answer.json()["refresh_token"] for answer in answers}
    assert len(successors) == 1
    assert successors != {first}
    second = (await refresh(http, successors.pop(), key=key)).json()
    replayed = await refresh(http, first, key=key)
    assert (replayed.status_code, replayed.json()["code"]) == (401, "refresh_token_reused")
    ended = await refresh(http, second["refresh_token"], key=key)
    assert (ended.status_code, ended.json()["code"]) == (401, "session_revoked")
    headers = {"Authorization": f"Bearer {second['access_token']}", **device(key)}
    assert (await http.get("/api/auth/me", headers=headers)).status_code == 401
