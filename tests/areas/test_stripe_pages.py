"""The sandbox's checkout page in a real browser: a plan is bought, and an order is paid at the second try."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient

from tests.support.browser import Browser
from tests.support.cluster import Cluster
from tests.support.ports import free_port
from tests.support.provider import PlayedProvider, Reply, playing
from tests.support.server import basket, open_shop
from tests.support.service import Service

PATIENCE = 60.0
PATHS = {"success_path": "/paid?session={CHECKOUT_SESSION_ID}", "cancel_path": "/plans"}
DECLINED, GOOD = "button[value=card_declined]", "button[value=card]"


@pytest.fixture
def app() -> Iterator[PlayedProvider]:
    """The application's own origin, to which the page leads back."""
    with playing() as played:
        yield played


@pytest.fixture
async def http(
    cluster: Cluster, worker_name: str, app: PlayedProvider, tmp_path: Path
) -> AsyncIterator[AsyncClient]:
    """The service with its worker, as `make run` starts it, and a client of it."""
    name = f"luneo_{worker_name}_pages"
    url, port = await cluster.clone(name), free_port()
    service = Service(
        DATABASE_URL=url,
        DATA_DIR=str(tmp_path / "data"),
        PORT=str(port),
        PUBLIC_URL=f"http://127.0.0.1:{port}",
        APP_URL=app.url,
    )
    try:
        async with AsyncClient(base_url=service.url, timeout=60, trust_env=False) as client:
            yield client
    finally:
        service.stop()
        await cluster.drop(name)


async def until(http: AsyncClient, path: str, name: str, value: Any) -> dict[str, Any]:
    """What is at a path once a member has this value: webhooks and jobs bring it there."""
    began = time.monotonic()
    while time.monotonic() < began + PATIENCE:
        found: dict[str, Any] = (await http.get(path)).json()
        if found[name] == value:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"{name} at {path} is {found[name]!r}")


def pay(browser: Browser, app: PlayedProvider, session_id: str) -> None:
    """Pay with a good card; the browser stands in the application then, which is told what was paid."""
    html = {"Content-Type": "text/html"}
    app.replies[f"/paid?session={session_id}"] = Reply("<!doctype html><p>Thanks.</p>", headers=html)
    browser.click(GOOD)
    browser.wait_until("location.pathname === '/paid' && document.readyState === 'complete'")
    assert browser.address == f"{app.url}/paid?session={session_id}"
    assert browser.run("document.body.innerText") == "Thanks."


@pytest.mark.needs("chromium")
async def test_pages_when_somebody_pays_on_them(
    http: AsyncClient, app: PlayedProvider, tmp_path: Path
) -> None:
    shop = await open_shop(http, "payer@luneo.test")
    bag = await shop.product("Sac Œuvre", stock=3)
    plan = await http.post("/api/billing/checkout", json={"plan": "premium", "interval": "month", **PATHS})
    assert plan.status_code == 201, plan.text
    placed = await http.post("/api/orders", json=basket(bag, payment_method="checkout", checkout=PATHS))
    assert placed.status_code == 201, placed.text
    order = placed.json()
    with Browser(tmp_path) as browser:
        browser.open(plan.json()["url"])
        assert "47.00 EUR" in browser.run("document.body.innerText")
        pay(browser, app, plan.json()["session_id"])
        browser.open(order["checkout_url"])
        assert "Sac Œuvre" in browser.run("document.body.innerText")
        browser.click(DECLINED)
        browser.wait_until("document.querySelector('[role=alert]') !== null")
        assert "declined" in browser.run("document.querySelector('[role=alert]').innerText")
        unpaid = (await http.get(f"/api/orders/{order['id']}")).json()
        assert unpaid["payment_status"] != "paid"
        pay(browser, app, order["stripe_checkout_session_id"])
        # Nothing can be paid there again.
        browser.open(order["checkout_url"])
        assert "Nothing can be paid here" in browser.run("document.body.innerText")
    subscription = await until(http, "/api/billing/subscription", "status", "active")
    assert (subscription["plan"], subscription["amount"]) == ("premium", 4700)
    paid = await until(http, f"/api/orders/{order['id']}", "payment_status", "paid")
    assert (paid["status"], paid["amount_paid"]) == ("confirmed", 4900)
    kinds = [item["kind"] for item in (await http.get("/api/billing/invoices")).json()["items"]]
    assert sorted(kinds) == ["order", "subscription"]
