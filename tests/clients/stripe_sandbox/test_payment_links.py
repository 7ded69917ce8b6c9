"""Payment links of the sandbox: what they say, what a payer gets, and what is refused."""

from typing import Any

import pytest
from httpx import AsyncClient

from app.clients.stripe import StripeMissing, StripeRefused
from tests.support.stripe_sandbox import StripeSandbox
from tests.support.stripe_types import differences


async def make_link(sandbox: StripeSandbox, amount: int = 1250, **more: Any) -> dict[str, Any]:
    product = await sandbox.call("products.create", name="Bag", metadata={"luneo_product_id": "x"})
    price = await sandbox.call(
        "prices.create", product=product["id"], currency="eur", unit_amount=amount, tax_behavior="exclusive"
    )
    sold = {"line_items": [{"price": price["id"], "quantity": 2}], "metadata": {"shop": "a"}}
    return await sandbox.call("payment_links.create", **{**sold, **more})


async def test_link_when_it_is_opened_twice(stripe_sandbox: StripeSandbox) -> None:
    link = await make_link(
        stripe_sandbox,
        payment_intent_data={"metadata": {"a": "b"}},
        automatic_tax={"enabled": True},
        after_completion={"type": "redirect", "redirect": {"url": "https://shop.example/thanks"}},
    )
    assert differences(link) == []
    first, second = [
        await stripe_sandbox.control(f"payment_links/{link['id']}/open", locale="fr") for _ in range(2)
    ]
    assert first["id"] != second["id"]
    assert (first["payment_link"], first["metadata"], first["locale"]) == (link["id"], {"shop": "a"}, "fr")
    assert (first["amount_subtotal"], first["amount_total"]) == (2500, 3000)
    lines = stripe_sandbox.client.pages(
        "checkout.sessions.line_items.list",
        first["id"],
        params={"expand": ["data.price.product", "data.taxes"]},
    )
    (line,) = [line async for line in lines]
    assert line["price"]["product"]["metadata"] == {"luneo_product_id": "x"}
    (tax,) = line["taxes"]
    assert (tax["amount"], tax["rate"]["percentage"], tax["rate"]["inclusive"]) == (500, 20.0, False)
    assert differences(line) == []
    paid = await stripe_sandbox.control(f"sessions/{first['id']}/complete", outcome="card")
    assert (paid["payment_status"], paid["status"]) == ("paid", "complete")
    assert (await stripe_sandbox.object(paid["payment_intent"]))["metadata"] == {"a": "b"}
    sold = await stripe_sandbox.call("payment_links.line_items.list", link["id"])
    assert [(item["description"], item["quantity"]) for item in sold["data"]] == [("Bag", 2)]
    whole = await stripe_sandbox.call("payment_links.retrieve", link["id"], expand=["line_items"])
    assert differences(whole) == []


async def test_link_when_it_is_switched_off(stripe_sandbox: StripeSandbox, client: AsyncClient) -> None:
    link = await make_link(stripe_sandbox)
    address = link["url"].removeprefix("http://api.luneo.test")
    opened = await client.get(address)
    assert opened.status_code == 303
    page = await client.get(opened.headers["location"].removeprefix("http://api.luneo.test"))
    assert "25.00 EUR" in page.text
    off = await stripe_sandbox.call("payment_links.update", link["id"], active=False)
    assert off["active"] is False
    assert (await client.get(address)).status_code == 410
    refused = await client.post(f"/sandbox/stripe/control/payment_links/{link['id']}/open", json={})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "payment_link_inactive")
    found = await stripe_sandbox.call("payment_links.list", active=True)
    assert found["data"] == []
    assert (await client.get("/sandbox/stripe/pay/plink_other")).status_code == 404


async def test_link_when_stripe_would_refuse_it(stripe_sandbox: StripeSandbox) -> None:
    wrongs: list[dict[str, Any]] = [
        {"line_items": []},
        {"line_items": [{"price": "price_x", "quantity": 1}]},
        {"colour": "red"},
    ]
    for wrong in wrongs:
        with pytest.raises((StripeRefused, StripeMissing)):
            await make_link(stripe_sandbox, **wrong)
