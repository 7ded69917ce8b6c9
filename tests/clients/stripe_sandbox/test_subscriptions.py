"""Subscriptions in the sandbox: how they begin, what declines do to them, and how they end."""

from typing import Any

import pytest

from app.clients.stripe import StripeDeclined, StripeMissing, StripeRefused
from app.clients.stripe.sandbox.paying import authenticate
from app.clients.stripe.sandbox.state import State
from tests.support.stripe_billing import (
    PREMIUM,
    a_customer,
    a_price,
    event_types,
    invoices_of,
    pass_time,
    retrieve,
    subscribe,
    use_method,
)
from tests.support.stripe_sandbox import StripeSandbox

FIRST_PAYMENT = [
    "customer.subscription.created",
    "invoice.created",
    "payment_intent.created",
    "invoice.finalized",
    "payment_intent.succeeded",
    "invoice.updated",
    "invoice.paid",
    "invoice.payment_succeeded",
    "customer.subscription.updated",
]


async def intent_of(sandbox: StripeSandbox, invoice: str) -> dict[str, Any]:
    payments = await sandbox.call("invoice_payments.list", invoice=invoice)
    return await sandbox.call("payment_intents.retrieve", payments["data"][0]["payment"]["payment_intent"])


async def answer_challenge(sandbox: StripeSandbox, intent: str, *, passes: bool) -> None:
    def answer(state: State) -> None:
        authenticate(state, state.get("payment_intent", intent), passes=passes)

    await sandbox.sandbox.change(answer)


async def test_subscription_when_the_card_is_good(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox, metadata={"organization_id": "o1"})
    assert subscription["status"] == "active"
    whole = await retrieve(stripe_sandbox, subscription, "latest_invoice.payments")
    invoice = whole["latest_invoice"]
    assert (invoice["status"], invoice["amount_paid"], invoice["billing_reason"]) == (
        "paid",
        PREMIUM,
        "subscription_create",
    )
    details = invoice["parent"]["subscription_details"]
    assert (details["subscription"], details["metadata"]) == (subscription["id"], {"organization_id": "o1"})
    assert [payment["status"] for payment in invoice["payments"]["data"]] == ["paid"]
    item = whole["items"]["data"][0]
    assert item["current_period_start"] == whole["start_date"] == whole["billing_cycle_anchor"]
    assert "current_period_end" not in whole
    assert await event_types(stripe_sandbox, "customer.subscription", "invoice.", "payment_intent") == (
        FIRST_PAYMENT
    )


async def test_subscription_when_nobody_can_be_charged(stripe_sandbox: StripeSandbox) -> None:
    with pytest.raises(StripeMissing, match="no attached payment source"):
        await subscribe(stripe_sandbox, method=None)
    assert (await stripe_sandbox.call("subscriptions.list", status="all"))["data"] == []


async def test_subscription_when_the_method_is_not_the_customers(stripe_sandbox: StripeSandbox) -> None:
    stranger = await a_customer(stripe_sandbox)
    method = await use_method(stripe_sandbox, stranger, "pm_card_mastercard")
    with pytest.raises(StripeMissing):
        await subscribe(stripe_sandbox, default_payment_method=method)


async def test_subscription_when_the_first_payment_is_declined(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox, method="pm_sbx_attach_only")
    assert subscription["status"] == "incomplete"
    await use_method(stripe_sandbox, subscription["customer"], "pm_card_visa")
    paid = await stripe_sandbox.call("invoices.pay", subscription["latest_invoice"])
    assert paid["status"] == "paid"
    assert (await retrieve(stripe_sandbox, subscription))["status"] == "active"


async def test_subscription_when_nobody_pays_for_23_hours(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox, method="pm_sbx_attach_only")
    await pass_time(stripe_sandbox, "PT22H")
    assert (await retrieve(stripe_sandbox, subscription))["status"] == "incomplete"
    await pass_time(stripe_sandbox, "PT2H")
    assert (await retrieve(stripe_sandbox, subscription))["status"] == "incomplete_expired"
    assert [invoice["status"] for invoice in await invoices_of(stripe_sandbox, subscription)] == ["void"]
    assert (await intent_of(stripe_sandbox, subscription["latest_invoice"]))["status"] == "canceled"
    await pass_time(stripe_sandbox, "P2M")
    assert len(await invoices_of(stripe_sandbox, subscription)) == 1


async def test_subscription_when_only_a_paid_one_is_wanted(stripe_sandbox: StripeSandbox) -> None:
    with pytest.raises(StripeDeclined) as refusal:
        await subscribe(stripe_sandbox, method="pm_sbx_attach_only", payment_behavior="error_if_incomplete")
    assert refusal.value.code == "card_declined"
    assert (await stripe_sandbox.call("subscriptions.list", status="all"))["data"] == []
    assert await event_types(stripe_sandbox, "customer.subscription", "invoice.") == []


@pytest.mark.parametrize(("passes", "status"), [(True, "active"), (False, "incomplete")])
async def test_subscription_when_the_payer_is_challenged(
    stripe_sandbox: StripeSandbox, passes: bool, status: str
) -> None:
    subscription = await subscribe(stripe_sandbox, method="pm_card_authenticationRequired")
    assert subscription["status"] == "incomplete"
    intent = await intent_of(stripe_sandbox, subscription["latest_invoice"])
    assert intent["status"] == "requires_action"
    secret = await stripe_sandbox.call(
        "invoices.retrieve", subscription["latest_invoice"], expand=["confirmation_secret"]
    )
    assert secret["confirmation_secret"]["client_secret"] == intent["client_secret"]
    assert "invoice.payment_action_required" in await event_types(stripe_sandbox)
    await answer_challenge(stripe_sandbox, intent["id"], passes=passes)
    assert (await retrieve(stripe_sandbox, subscription))["status"] == status


async def test_subscription_when_the_client_confirms_the_payment(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(
        stripe_sandbox,
        method=None,
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
    )
    assert subscription["status"] == "incomplete"
    intent = await intent_of(stripe_sandbox, subscription["latest_invoice"])
    assert (intent["status"], intent["amount"]) == ("requires_payment_method", PREMIUM)
    await stripe_sandbox.call("payment_intents.confirm", intent["id"], payment_method="pm_card_visa")
    after = await retrieve(stripe_sandbox, subscription)
    assert after["status"] == "active"
    await pass_time(stripe_sandbox, "P32D")
    assert [invoice["status"] for invoice in await invoices_of(stripe_sandbox, after)] == ["paid", "paid"]


@pytest.mark.parametrize(
    ("method", "after_days", "status", "invoice"),
    [
        ("pm_sbx_sepa", "P4D", "active", "open"),
        ("pm_sbx_sepa", "P6D", "active", "paid"),
        ("pm_sbx_sepa_fails", "P4D", "active", "open"),
        ("pm_sbx_sepa_fails", "P6D", "past_due", "open"),
    ],
)
async def test_subscription_when_a_direct_debit_takes_days(
    stripe_sandbox: StripeSandbox, method: str, after_days: str, status: str, invoice: str
) -> None:
    subscription = await subscribe(stripe_sandbox, method=method)
    assert subscription["status"] == "active"
    await pass_time(stripe_sandbox, after_days)
    assert (await retrieve(stripe_sandbox, subscription))["status"] == status
    assert [item["status"] for item in await invoices_of(stripe_sandbox, subscription)] == [invoice]


async def test_cancelling_when_it_is_to_be_now(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    ended = await stripe_sandbox.call(
        "subscriptions.cancel", subscription["id"], cancellation_details={"comment": "Too dear"}
    )
    assert (ended["status"], ended["cancellation_details"]["comment"]) == ("canceled", "Too dear")
    assert ended["ended_at"] is not None
    with pytest.raises(StripeMissing):
        await stripe_sandbox.call("subscriptions.cancel", subscription["id"])
    with pytest.raises(StripeRefused, match="can only update its cancellation_details"):
        await stripe_sandbox.call("subscriptions.update", subscription["id"], cancel_at_period_end=True)
    await pass_time(stripe_sandbox, "P2M")
    assert len(await invoices_of(stripe_sandbox, subscription)) == 1
    listed = await stripe_sandbox.call("subscriptions.list", customer=subscription["customer"])
    assert listed["data"] == []
    ended_ones = await stripe_sandbox.call("subscriptions.list", status="ended")
    assert [item["id"] for item in ended_ones["data"]] == [subscription["id"]]


async def test_cancelling_when_unused_time_is_given_back(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    await pass_time(stripe_sandbox, "P10D")
    await stripe_sandbox.call("subscriptions.cancel", subscription["id"], invoice_now=True, prorate=True)
    customer = await stripe_sandbox.call("customers.retrieve", subscription["customer"])
    assert -PREMIUM < customer["balance"] < -PREMIUM // 2


async def test_cancelling_when_it_is_to_be_with_the_period(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    until = subscription["items"]["data"][0]["current_period_end"]
    set_to_end = await stripe_sandbox.call(
        "subscriptions.update", subscription["id"], cancel_at_period_end=True, metadata={"command_id": "c1"}
    )
    assert (set_to_end["cancel_at"], set_to_end["status"]) == (until, "active")
    assert set_to_end["cancellation_details"]["reason"] == "cancellation_requested"
    resumed = await stripe_sandbox.call(
        "subscriptions.update", subscription["id"], cancel_at_period_end=False
    )
    assert (resumed["cancel_at"], resumed["canceled_at"]) == (None, None)
    await stripe_sandbox.call("subscriptions.update", subscription["id"], cancel_at_period_end=True)
    await pass_time(stripe_sandbox, "P32D")
    ended = await retrieve(stripe_sandbox, subscription)
    assert (ended["status"], ended["ended_at"]) == ("canceled", until)
    assert len(await invoices_of(stripe_sandbox, subscription)) == 1
    assert (await event_types(stripe_sandbox))[-1] == "customer.subscription.deleted"


async def test_subscription_when_currencies_would_mix(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    product = await stripe_sandbox.call("products.create", name="Dollar plan")
    price = await stripe_sandbox.call(
        "prices.create",
        product=product["id"],
        currency="usd",
        unit_amount=4700,
        recurring={"interval": "month"},
    )
    with pytest.raises(StripeRefused, match="cannot combine currencies"):
        await subscribe(stripe_sandbox, price["id"], customer=subscription["customer"])


async def test_subscription_when_the_request_is_repeated(stripe_sandbox: StripeSandbox) -> None:
    customer, price = await a_customer(stripe_sandbox), await a_price(stripe_sandbox)
    params = {"customer": customer, "items": [{"price": price}]}
    first = await stripe_sandbox.client.call("subscriptions.create", params=params, key="k1")
    again = await stripe_sandbox.client.call("subscriptions.create", params=params, key="k1")
    assert first == again
    assert len((await stripe_sandbox.call("subscriptions.list", status="all"))["data"]) == 1


async def test_subscription_when_something_is_not_played(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    with pytest.raises(StripeRefused, match="does not play the parameter pause_collection"):
        await stripe_sandbox.call(
            "subscriptions.update", subscription["id"], pause_collection={"behavior": "void"}
        )
