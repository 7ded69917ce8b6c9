"""Who pays: what is given here and what is entered at Stripe end up the same, in whatever order."""

from typing import Any

import pytest
from httpx import AsyncClient

from app.clients.stripe import StripeUnavailable
from app.core.database import Database
from tests.support.billing import Shop
from tests.support.personas import Persona
from tests.support.stripe_sandbox import StripeSandbox

ADDRESS = {"line1": "1 rue de la Paix", "postal_code": "75002", "city": "Paris", "country": "FR"}


@pytest.fixture
async def shop(client: AsyncClient, database: Database, stripe_sandbox: StripeSandbox) -> Shop:
    made = Shop(client, database, stripe_sandbox)
    await made.open()
    return made


async def details(shop: Shop, who: Persona, body: Any = None) -> dict[str, Any]:
    method = "GET" if body is None else "PUT"
    answer = await shop.client.request(method, "/api/billing/details", json=body, headers=who.headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def at_stripe(shop: Shop) -> dict[str, Any]:
    return dict((await shop.stripe.call("customers.list"))["data"][0])


def without_nulls(address: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in address.items() if value is not None}


async def test_details_when_they_are_given_before_there_is_a_customer(shop: Shop, alice: Persona) -> None:
    await details(shop, alice, {"name": "Maison Alice", "address": {**ADDRESS, "region": "IDF"}})
    await shop.buy(alice)
    assert (await details(shop, alice))["is_synced"]
    customer = await at_stripe(shop)
    assert customer["name"] == "Maison Alice"
    assert without_nulls(customer["address"]) == {**ADDRESS, "state": "IDF"}


async def test_details_when_there_are_none_and_when_they_are_removed(shop: Shop, alice: Persona) -> None:
    await shop.buy(alice)
    assert (await details(shop, alice))["is_synced"]
    for body in ({"name": "Maison Alice"}, {"name": None}):
        assert not (await details(shop, alice, body))["is_synced"]
        await shop.settle()
        assert (await details(shop, alice))["is_synced"]


async def test_details_when_they_are_changed_at_stripe(shop: Shop, alice: Persona) -> None:
    await details(shop, alice, {"name": "Maison Alice"})
    await shop.buy(alice)
    changes = {"name": "Maison Alice SAS", "address": {**ADDRESS, "state": "IDF"}}
    await shop.stripe.call("customers.update", (await at_stripe(shop))["id"], **changes)
    await shop.settle()
    shown = await details(shop, alice)
    assert (shown["name"], shown["is_synced"]) == ("Maison Alice SAS", True)
    assert without_nulls(shown["address"]) == {**ADDRESS, "region": "IDF"}
    # Half an address, as a card brings it, is none.
    await shop.stripe.call("customers.update", (await at_stripe(shop))["id"], address={"country": "BE"})
    await shop.settle()
    assert without_nulls((await details(shop, alice))["address"])["country"] == "FR"


async def test_address_when_it_is_entered_at_stripe_first(shop: Shop, alice: Persona) -> None:
    await shop.buy(alice)
    await shop.stripe.call("customers.update", (await at_stripe(shop))["id"], address=ADDRESS, name="Other")
    await shop.settle()
    shown = await details(shop, alice)
    assert (without_nulls(shown["address"]), shown["name"]) == (ADDRESS, None)


async def test_details_when_an_older_change_comes_after_a_newer_one(
    shop: Shop, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.buy(alice)
    await details(shop, alice, {"name": "First"})
    answer = shop.stripe.client.call

    async def hang(*_: Any, **__: Any) -> Any:
        raise StripeUnavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(shop.stripe.client, "call", hang)
        await shop.send()
    await details(shop, alice, {"name": "Second"})

    async def newest_first(operation: str, *ids: str, **options: Any) -> dict[str, Any]:
        if operation == "customers.update" and options["params"].get("name") == "First":
            raise StripeUnavailable("no answer")
        return await answer(operation, *ids, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shop.stripe.client, "call", newest_first)
        await shop.send()
    assert (await at_stripe(shop))["name"] == "Second"
    await shop.settle()
    assert (await at_stripe(shop))["name"] == "Second"
    shown = await details(shop, alice)
    assert (shown["name"], shown["is_synced"]) == ("Second", True)


async def test_default_when_an_older_choice_comes_after_a_newer_one(
    shop: Shop, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.buy(alice)
    ids = []
    for kind in ({"type": "card", "card": {"token": "tok_mastercard"}}, {"type": "paypal"}):
        made = await shop.stripe.call("payment_methods.create", **kind)
        body = {"payment_method_id": made["id"]}
        kept = await shop.client.post("/api/billing/payment-methods", json=body, headers=alice.headers)
        assert kept.status_code == 201, kept.text
        ids.append((kept.json()["id"], made["id"]))
    await shop.settle()
    answer = shop.stripe.client.call
    (older, older_theirs), (newer, newer_theirs) = ids

    async def without_the_older(operation: str, *given: str, **options: Any) -> dict[str, Any]:
        chosen = ((options.get("params") or {}).get("invoice_settings") or {}).get("default_payment_method")
        if chosen == older_theirs:
            raise StripeUnavailable("no answer")
        return await answer(operation, *given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shop.stripe.client, "call", without_the_older)
        for method in (older, newer):
            path = f"/api/billing/payment-methods/{method}"
            chosen = await shop.client.patch(path, json={"is_default": True}, headers=alice.headers)
            assert chosen.status_code == 200
            await shop.send()
    await shop.settle()
    assert (await at_stripe(shop))["invoice_settings"]["default_payment_method"] == newer_theirs
    shown = await shop.client.get("/api/billing/payment-methods", headers=alice.headers)
    assert [item["id"] for item in shown.json()["items"] if item["is_default"]] == [newer]
