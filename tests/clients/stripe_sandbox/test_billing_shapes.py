"""What the sandbox sends of subscriptions and invoices has the keys and types of the library's classes."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from app.clients.stripe import StripeDeclined
from app.clients.stripe.sandbox.state import shown
from tests.support.stripe_billing import (
    BUSINESS,
    a_customer,
    a_price,
    pass_time,
    retrieve,
    subscribe,
    use_method,
)
from tests.support.stripe_sandbox import StripeSandbox
from tests.support.stripe_types import differences

Story = Callable[[StripeSandbox], Awaitable[None]]


async def everything(sandbox: StripeSandbox) -> list[str]:
    """The differences of every object in the document, and of every object that an event carries."""
    items = await sandbox.sandbox.change(lambda state: list(state.objects.values()))
    sent = [shown(item) for item in items if not item.get("deleted")]
    sent += [event["data"]["object"] for event in sent if event["object"] == "event"]
    return [line for item in sent for line in differences(item)]


async def renewals(sandbox: StripeSandbox) -> None:
    coupon = await sandbox.call("coupons.create", percent_off=25, duration="repeating", duration_in_months=2)
    code = await sandbox.call(
        "promotion_codes.create", promotion={"type": "coupon", "coupon": coupon["id"]}, code="WELCOME"
    )
    subscription = await subscribe(
        sandbox, discounts=[{"promotion_code": code["id"]}], automatic_tax={"enabled": True}
    )
    await pass_time(sandbox, "P2M")
    await use_method(sandbox, subscription["customer"], "pm_sbx_attach_only")
    await pass_time(sandbox, "P2M")
    whole = await retrieve(sandbox, subscription, "latest_invoice.payments", "customer", "schedule")
    assert differences(whole) == []


async def changes(sandbox: StripeSandbox) -> None:
    business, yearly = await a_price(sandbox, BUSINESS), await a_price(sandbox, 149_000, "year")
    subscription = await subscribe(sandbox)
    item = subscription["items"]["data"][0]["id"]
    await pass_time(sandbox, "P10D")
    asked = {"items": [{"id": item, "price": business}], "proration_behavior": "always_invoice"}
    for details in (asked, {**asked, "proration_behavior": "create_prorations"}):
        preview = await sandbox.call(
            "invoices.create_preview", subscription=subscription["id"], subscription_details=details
        )
        assert differences(preview) == []
    await use_method(sandbox, subscription["customer"], "pm_card_authenticationRequired")
    behavior = "pending_if_incomplete"
    await sandbox.call("subscriptions.update", subscription["id"], **asked, payment_behavior=behavior)
    await pass_time(sandbox, "P1D")
    await use_method(sandbox, subscription["customer"], "pm_card_visa")
    await sandbox.call("subscriptions.update", subscription["id"], **asked, payment_behavior=behavior)
    schedule = await sandbox.call("subscription_schedules.create", from_subscription=subscription["id"])
    now = schedule["phases"][0]
    await sandbox.call(
        "subscription_schedules.update",
        schedule["id"],
        phases=[
            {"items": [{"price": business}], "start_date": now["start_date"], "end_date": now["end_date"]},
            {"items": [{"price": yearly}]},
        ],
    )
    await pass_time(sandbox, "P2M")


async def trials(sandbox: StripeSandbox) -> None:
    ending = {"end_behavior": {"missing_payment_method": "pause"}}
    subscription = await subscribe(sandbox, method=None, trial_period_days=14, trial_settings=ending)
    await pass_time(sandbox, "P15D")
    await use_method(sandbox, subscription["customer"], "pm_card_visa")
    await sandbox.call("subscriptions.resume", subscription["id"])
    await sandbox.call("subscriptions.cancel", subscription["id"], invoice_now=True, prorate=True)
    with suppress(StripeDeclined):
        await subscribe(sandbox, method="pm_sbx_attach_only", payment_behavior="allow_incomplete")
    await pass_time(sandbox, "P1D")


async def corrections(sandbox: StripeSandbox) -> None:
    subscription = await subscribe(sandbox, automatic_tax={"enabled": True})
    invoice = subscription["latest_invoice"]
    await sandbox.call(
        "credit_notes.create", invoice=invoice, amount=1000, refund_amount=600, credit_amount=400
    )
    whole = await sandbox.call("invoices.retrieve", invoice)
    line = {"type": "invoice_line_item", "invoice_line_item": whole["lines"]["data"][0]["id"], "amount": 500}
    extra = {"type": "custom_line_item", "description": "Sorry", "unit_amount": 100, "quantity": 2}
    await sandbox.call("credit_notes.create", invoice=invoice, lines=[line, extra], reason="order_change")


async def portals(sandbox: StripeSandbox) -> None:
    customer = await a_customer(sandbox)
    subscription = await subscribe(sandbox, customer=customer)
    await sandbox.call("billing_portal.configurations.list", is_default=True)
    made = await sandbox.call(
        "billing_portal.configurations.create",
        business_profile={"headline": "Luneo"},
        features={"subscription_cancel": {"enabled": True}, "payment_method_update": {"enabled": True}},
    )
    await sandbox.call(
        "billing_portal.sessions.create",
        customer=customer,
        configuration=made["id"],
        return_url="https://app.example/billing",
        flow_data={
            "type": "subscription_cancel",
            "subscription_cancel": {"subscription": subscription["id"]},
            "after_completion": {"type": "redirect", "redirect": {"return_url": "https://app.example"}},
        },
    )


async def tax_numbers(sandbox: StripeSandbox) -> None:
    customer = await a_customer(sandbox)
    made = await sandbox.call("customers.tax_ids.create", customer, type="eu_vat", value="FR40303265045")
    await sandbox.call("customers.tax_ids.create", customer, type="ch_uid", value="CHE-123.456.788")
    subscription = await subscribe(sandbox, customer=customer)
    await sandbox.call("customers.tax_ids.delete", customer, made["id"])
    await pass_time(sandbox, "P1M")
    printed = [item["customer_tax_ids"] for item in (await sandbox.call("invoices.list"))["data"]]
    assert [[number["value"] for number in numbers] for numbers in printed] == [
        ["CHE-123.456.788"],
        ["FR40303265045", "CHE-123.456.788"],
    ]
    assert subscription["customer"] == customer


@pytest.mark.parametrize("story", [renewals, changes, trials, corrections, portals, tax_numbers])
async def test_objects_when_compared_with_the_library(stripe_sandbox: StripeSandbox, story: Story) -> None:
    await story(stripe_sandbox)
    found = await everything(stripe_sandbox)
    assert not found, "\n".join(dict.fromkeys(found))
