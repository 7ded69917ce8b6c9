"""Everything that the sandbox sends has the keys and types of the library's own classes."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest

from app.clients.stripe import StripeDeclined
from app.clients.stripe.sandbox.clock import advance
from app.clients.stripe.sandbox.completing import complete
from app.clients.stripe.sandbox.disputes import close_dispute, open_dispute
from app.clients.stripe.sandbox.payment_methods import METHODS
from app.clients.stripe.sandbox.state import shown
from tests.support.stripe_sandbox import StripeSandbox
from tests.support.stripe_types import differences

Story = Callable[[StripeSandbox], Awaitable[None]]


async def everything(sandbox: StripeSandbox) -> list[str]:
    """The differences of every object in the document."""
    items = await sandbox.sandbox.change(lambda state: list(state.objects.values()))
    sent = [shown(item) for item in items if not item.get("deleted")]
    found = [line for item in sent for line in differences(item)]
    events = [event["data"]["object"] for event in sent if event["object"] == "event"]
    return [*found, *(line for item in events if not item.get("deleted") for line in differences(item))]


async def payments(sandbox: StripeSandbox) -> None:
    customer = await sandbox.call("customers.create", email="a@b.example", address={"country": "FR"})
    for method in METHODS:
        try:
            intent = await sandbox.call(
                "payment_intents.create",
                amount=5000,
                currency="eur",
                confirm=True,
                payment_method=method,
                customer=customer["id"],
            )
        except StripeDeclined:
            continue
        if intent["status"] == "succeeded":
            await sandbox.call("refunds.create", payment_intent=intent["id"], amount=100)
            charge = str(intent["latest_charge"])
            dispute = await sandbox.sandbox.change(partial(open_dispute, charge_id=charge))
            await sandbox.sandbox.change(partial(close_dispute, identifier=dispute["id"], outcome="won"))
    await sandbox.sandbox.change(lambda state: advance(state, "P6D"))


async def setups(sandbox: StripeSandbox) -> None:
    customer = await sandbox.call("customers.create", email="a@b.example")
    for method in METHODS:
        with suppress(StripeDeclined):
            await sandbox.call(
                "setup_intents.create", customer=customer["id"], confirm=True, payment_method=method
            )
    await sandbox.call("setup_intents.create", usage="on_session")


async def checkouts(sandbox: StripeSandbox) -> None:
    coupon = await sandbox.call("coupons.create", percent_off=10, duration="once")
    line = {"price_data": {"currency": "eur", "unit_amount": 5000, "product_data": {"name": "Bag"}}}
    for outcome in ("card", "sepa", "sepa_fails", "paypal", "3ds_passed"):
        session = await sandbox.call(
            "checkout.sessions.create",
            mode="payment",
            line_items=[{**line, "quantity": 2}],
            success_url="https://shop.example/thanks",
            discounts=[{"coupon": coupon["id"]}],
            automatic_tax={"enabled": True},
        )
        await sandbox.sandbox.change(partial(complete, session_id=session["id"], outcome=outcome))
        whole = await sandbox.call("checkout.sessions.retrieve", session["id"], expand=["line_items"])
        assert differences(whole) == []
    await sandbox.call("webhook_endpoints.create", url="https://x.example", enabled_events=["*"])


@pytest.mark.parametrize("story", [payments, setups, checkouts])
async def test_objects_when_compared_with_the_library(stripe_sandbox: StripeSandbox, story: Story) -> None:
    await story(stripe_sandbox)
    found = await everything(stripe_sandbox)
    assert not found, "\n".join(dict.fromkeys(found))


async def test_account_when_compared_with_the_library(stripe_sandbox: StripeSandbox) -> None:
    assert differences(await stripe_sandbox.call("accounts.retrieve_current")) == []


def test_comparison_when_a_key_is_wrong() -> None:
    product = {"id": "prod_1", "object": "product", "active": "yes", "colour": "red"}
    found = differences(product)
    assert "product.colour is unknown to the library" in found
    assert "product.active is 'yes' and no bool" in found
    assert "product.name is missing" in found
