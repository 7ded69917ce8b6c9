"""The payer's tax number: at Stripe it is what was given here, and what Stripe refuses is said."""

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.clients.stripe import StripeUnavailable
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.models.billing import BillingCustomer
from app.models.stripe_webhooks import StripeCommand
from app.services.stripe_webhooks.executing import execute
from tests.support.billing import Shop
from tests.support.personas import Persona
from tests.support.stripe_sandbox import StripeSandbox

FRENCH = {"tax_id_type": "eu_vat", "tax_id": "FR40303265045"}
GERMAN = {"tax_id_type": "eu_vat", "tax_id": "DE136695976"}
NONE = {"tax_id_type": None, "tax_id": None}
WRONG = {"tax_id_type": "eu_vat", "tax_id": "7"}


@pytest.fixture
async def shop(client: AsyncClient, database: Database, stripe_sandbox: StripeSandbox) -> Shop:
    made = Shop(client, database, stripe_sandbox)
    await made.open()
    return made


async def details(shop: Shop, who: Persona, body: Any = None) -> tuple[bool, str | None]:
    """Whether Stripe has them as they stand, and why it refused them; `body` changes them first."""
    method = "GET" if body is None else "PUT"
    answer = await shop.client.request(method, "/api/billing/details", json=body, headers=who.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["is_synced"], answer.json()["sync_error"]


async def at_stripe(shop: Shop) -> list[str]:
    (customer,) = (await shop.stripe.call("customers.list"))["data"]
    found = shop.stripe.client.pages("customers.tax_ids.list", customer["id"])
    return [item["value"] async for item in found]


async def test_tax_number_when_it_is_given_replaced_and_removed(shop: Shop, alice: Persona) -> None:
    await details(shop, alice, FRENCH)
    await shop.buy(alice)
    assert (await details(shop, alice), await at_stripe(shop)) == ((True, None), [FRENCH["tax_id"]])
    for body, there in ((GERMAN, [GERMAN["tax_id"]]), ({"name": "Other"}, [GERMAN["tax_id"]]), (NONE, [])):
        assert await details(shop, alice, body) == (False, None)
        await shop.settle()
        assert (await details(shop, alice), await at_stripe(shop)) == ((True, None), there)


async def test_tax_number_when_stripe_refuses_it(shop: Shop, alice: Persona, db: SystemSession) -> None:
    await shop.buy(alice)
    await details(shop, alice, FRENCH)
    await shop.settle()
    assert await details(shop, alice, WRONG) == (False, None)
    await shop.settle()
    assert (await details(shop, alice), await at_stripe(shop)) == (
        (False, "tax_id_invalid"),
        [FRENCH["tax_id"]],
    )
    await details(shop, alice, {"tax_id_type": "xx_vat", "tax_id": "12345"})
    await shop.settle()
    assert await details(shop, alice) == (False, "tax_id_invalid")
    # Nobody of ours can do anything about it, so nobody is alerted.
    told = await db.scalars(select(EventOutbox.type).where(EventOutbox.type == "stripe.command_failed"))
    assert told.all() == []
    await details(shop, alice, GERMAN)
    await shop.settle()
    assert (await details(shop, alice), await at_stripe(shop)) == ((True, None), [GERMAN["tax_id"]])


async def test_tax_number_when_it_is_sent_again_after_a_refusal(
    shop: Shop, alice: Persona, db: SystemSession
) -> None:
    await shop.buy(alice)
    await details(shop, alice, FRENCH)
    await shop.settle()
    row = (await db.scalars(select(BillingCustomer))).one()
    row.synced_at, row.sync_error = None, "payment_provider_error"
    await db.commit()
    assert await details(shop, alice, FRENCH) == (False, "payment_provider_error")
    await shop.settle()
    assert await details(shop, alice) == (True, None)


async def test_tax_number_when_an_older_refusal_comes_after_a_newer_one(
    shop: Shop, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.buy(alice)
    answer = shop.stripe.client.call

    async def without_the_wrong(operation: str, *ids: str, **options: Any) -> dict[str, Any]:
        if operation == "customers.tax_ids.create" and options["params"]["value"] == WRONG["tax_id"]:
            raise StripeUnavailable("no answer")
        return await answer(operation, *ids, **options)

    await details(shop, alice, {**WRONG, "name": "First"})
    with monkeypatch.context() as patch:
        patch.setattr(shop.stripe.client, "call", without_the_wrong)
        await shop.send()
        await details(shop, alice, {**GERMAN, "name": "Second"})
        await shop.send()
    await shop.settle()
    (customer,) = (await shop.stripe.call("customers.list"))["data"]
    assert (customer["name"], await at_stripe(shop)) == ("Second", [GERMAN["tax_id"]])
    assert await details(shop, alice) == (True, None)


async def test_tax_number_when_two_changes_are_told_at_once(
    shop: Shop, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older one is carried out while the newer one waits for an answer: one number is left, the newer."""
    await shop.buy(alice)
    await details(shop, alice, FRENCH)
    async with shop.database.system() as session:
        older = (await session.scalars(select(StripeCommand).where(StripeCommand.status == "pending"))).one()
    await details(shop, alice, GERMAN)
    async with shop.database.system() as session:
        open_ones = select(StripeCommand).where(
            StripeCommand.status == "pending", StripeCommand.id != older.id
        )
        newer = (await session.scalars(open_ones)).one()
    answer = shop.stripe.client.call

    async def call(operation: str, *ids: str, **options: Any) -> dict[str, Any]:
        if operation == "customers.tax_ids.create" and options["params"]["value"] == GERMAN["tax_id"]:
            await execute(shop.database, older.organization_id, older.id)
        return await answer(operation, *ids, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shop.stripe.client, "call", call)
        await execute(shop.database, newer.organization_id, newer.id)
    await shop.settle()
    assert (await details(shop, alice), await at_stripe(shop)) == ((True, None), [GERMAN["tax_id"]])
