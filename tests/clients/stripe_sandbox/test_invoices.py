"""Invoices in the sandbox: paid, voided, discounted, taxed, credited; and the customer portal."""

from typing import Any

import pytest

from app.clients.stripe import StripeDeclined, StripeMissing, StripeRefused
from tests.support.stripe_billing import (
    BUSINESS,
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


async def an_open_invoice(sandbox: StripeSandbox) -> tuple[dict[str, Any], str]:
    """A past due subscription, and its invoice that was declined once."""
    subscription = await subscribe(sandbox)
    await use_method(sandbox, subscription["customer"], "pm_sbx_attach_only")
    await pass_time(sandbox, "P1M")
    return subscription, (await invoices_of(sandbox, subscription))[-1]["id"]


async def balance_of(sandbox: StripeSandbox, subscription: dict[str, Any]) -> int:
    return int((await sandbox.call("customers.retrieve", subscription["customer"]))["balance"])


async def test_paying_when_another_method_is_named(stripe_sandbox: StripeSandbox) -> None:
    subscription, invoice = await an_open_invoice(stripe_sandbox)
    with pytest.raises(StripeDeclined) as refusal:
        await stripe_sandbox.call("invoices.pay", invoice)
    assert refusal.value.code == "card_declined"
    paid = await stripe_sandbox.call("invoices.pay", invoice, payment_method="pm_card_mastercard")
    assert (paid["status"], paid["attempt_count"]) == ("paid", 1)
    assert (await retrieve(stripe_sandbox, subscription))["status"] == "active"
    with pytest.raises(StripeRefused, match="already paid"):
        await stripe_sandbox.call("invoices.pay", invoice)
    payments = await stripe_sandbox.call("invoice_payments.list", invoice=invoice)
    intent = payments["data"][0]["payment"]["payment_intent"]
    found = await stripe_sandbox.call(
        "invoice_payments.list", payment={"type": "payment_intent", "payment_intent": intent}
    )
    assert [item["invoice"] for item in found["data"]] == [invoice]


async def test_paying_when_the_payer_is_challenged(stripe_sandbox: StripeSandbox) -> None:
    _, invoice = await an_open_invoice(stripe_sandbox)
    with pytest.raises(StripeDeclined) as refusal:
        await stripe_sandbox.call("invoices.pay", invoice, payment_method="pm_card_authenticationRequired")
    assert refusal.value.code == "invoice_payment_intent_requires_action"
    assert refusal.value.object
    assert refusal.value.object["status"] == "requires_action"


async def test_paying_when_it_was_paid_elsewhere(stripe_sandbox: StripeSandbox) -> None:
    subscription, invoice = await an_open_invoice(stripe_sandbox)
    paid = await stripe_sandbox.call("invoices.pay", invoice, paid_out_of_band=True)
    assert paid["status"] == "paid"
    assert (await retrieve(stripe_sandbox, subscription))["status"] == "active"
    payments = await stripe_sandbox.call("invoice_payments.list", invoice=invoice)
    assert [item["status"] for item in payments["data"]] == ["canceled"]


@pytest.mark.parametrize(
    ("operation", "status"),
    [("invoices.void_invoice", "void"), ("invoices.mark_uncollectible", "uncollectible")],
)
async def test_invoice_when_nobody_is_to_pay_it(
    stripe_sandbox: StripeSandbox, operation: str, status: str
) -> None:
    subscription, invoice = await an_open_invoice(stripe_sandbox)
    assert (await stripe_sandbox.call(operation, invoice))["status"] == status
    assert (await retrieve(stripe_sandbox, subscription))["status"] == "active"
    attempts = len(await event_types(stripe_sandbox, "charge.failed"))
    await pass_time(stripe_sandbox, "P16D")
    assert len(await event_types(stripe_sandbox, "charge.failed")) == attempts
    with pytest.raises(StripeRefused):
        await stripe_sandbox.call("invoices.mark_uncollectible", invoice)


async def test_invoices_when_listed(stripe_sandbox: StripeSandbox) -> None:
    subscription, invoice = await an_open_invoice(stripe_sandbox)
    await subscribe(stripe_sandbox)
    listed = await stripe_sandbox.call("invoices.list", subscription=subscription["id"], limit=1)
    assert ([item["id"] for item in listed["data"]], listed["has_more"]) == ([invoice], True)
    open_ones = await stripe_sandbox.call("invoices.list", status="open")
    assert [item["id"] for item in open_ones["data"]] == [invoice]
    with pytest.raises(StripeMissing):
        await stripe_sandbox.call("invoices.retrieve", "in_sbxNone")


async def test_coupon_when_it_counts_once(stripe_sandbox: StripeSandbox) -> None:
    coupon = await stripe_sandbox.call("coupons.create", amount_off=1000, currency="eur", duration="once")
    subscription = await subscribe(stripe_sandbox, discounts=[{"coupon": coupon["id"]}])
    await pass_time(stripe_sandbox, "P1M")
    first, second = await invoices_of(stripe_sandbox, subscription)
    assert (first["subtotal"], first["total"]) == (PREMIUM, PREMIUM - 1000)
    assert [part["amount"] for part in first["total_discount_amounts"]] == [1000]
    assert (second["total"], second["discounts"]) == (PREMIUM, [])


async def test_coupon_when_unused_time_is_credited(stripe_sandbox: StripeSandbox) -> None:
    coupon = await stripe_sandbox.call("coupons.create", percent_off=50, duration="once")
    subscription = await subscribe(stripe_sandbox, discounts=[{"coupon": coupon["id"]}])
    item = subscription["items"]["data"][0]["id"]
    await stripe_sandbox.call(
        "subscriptions.update",
        subscription["id"],
        items=[{"id": item, "price": await a_price(stripe_sandbox, BUSINESS)}],
        proration_behavior="always_invoice",
    )
    upgrade = (await invoices_of(stripe_sandbox, subscription))[-1]
    credit = upgrade["lines"]["data"][0]["amount"]
    assert -PREMIUM // 2 <= credit <= -PREMIUM // 2 + 2


@pytest.mark.parametrize(("field", "value"), [("max_redemptions", 1), ("redeem_by", 1_000_000_000)])
async def test_coupon_when_it_is_used_up(stripe_sandbox: StripeSandbox, field: str, value: int) -> None:
    coupon = await stripe_sandbox.call("coupons.create", percent_off=10, duration="forever", **{field: value})
    if field == "max_redemptions":
        await subscribe(stripe_sandbox, discounts=[{"coupon": coupon["id"]}])
    with pytest.raises(StripeRefused, match="cannot be redeemed"):
        await subscribe(stripe_sandbox, discounts=[{"coupon": coupon["id"]}])


async def test_promotion_code_when_it_is_another_customers(stripe_sandbox: StripeSandbox) -> None:
    coupon = await stripe_sandbox.call("coupons.create", percent_off=10, duration="forever")
    customer = await a_customer(stripe_sandbox)
    code = await stripe_sandbox.call(
        "promotion_codes.create",
        promotion={"type": "coupon", "coupon": coupon["id"]},
        code="ONLYME",
        customer=customer,
    )
    with pytest.raises(StripeRefused, match="by this customer"):
        await subscribe(stripe_sandbox, discounts=[{"promotion_code": code["id"]}])
    subscription = await subscribe(
        stripe_sandbox, customer=customer, discounts=[{"promotion_code": code["id"]}]
    )
    assert (await invoices_of(stripe_sandbox, subscription))[0]["total"] == PREMIUM * 9 // 10
    found = await stripe_sandbox.call("promotion_codes.list", code="ONLYME")
    assert [item["times_redeemed"] for item in found["data"]] == [1]


@pytest.mark.parametrize(("behavior", "total", "tax"), [("inclusive", 4700, 783), ("exclusive", 5640, 940)])
async def test_tax_when_it_is_automatic(
    stripe_sandbox: StripeSandbox, behavior: str, total: int, tax: int
) -> None:
    price = await a_price(stripe_sandbox, tax_behavior=behavior)
    subscription = await subscribe(stripe_sandbox, price, automatic_tax={"enabled": True})
    invoice = (await invoices_of(stripe_sandbox, subscription))[0]
    assert (invoice["subtotal"], invoice["total"]) == (PREMIUM, total)
    assert invoice["total_excluding_tax"] == total - tax
    taxes = [(entry["amount"], entry["tax_behavior"]) for entry in invoice["total_taxes"]]
    assert taxes == [(tax, behavior)]


async def test_credit_note_when_the_invoice_is_paid(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    invoice = subscription["latest_invoice"]
    note = await stripe_sandbox.call(
        "credit_notes.create", invoice=invoice, amount=1000, refund_amount=700, credit_amount=300
    )
    assert (note["total"], note["type"], note["number"][-6:]) == (1000, "post_payment", "-CN-01")
    refund = await stripe_sandbox.call("refunds.retrieve", note["refunds"][0]["refund"])
    assert refund["amount"] == 700
    assert await balance_of(stripe_sandbox, subscription) == -300
    whole = await stripe_sandbox.call("invoices.retrieve", invoice)
    assert (whole["status"], whole["post_payment_credit_notes_amount"]) == ("paid", 1000)
    with pytest.raises(StripeRefused, match="above what is left"):
        await stripe_sandbox.call("credit_notes.create", invoice=invoice, amount=PREMIUM - 999)
    listed = await stripe_sandbox.call("credit_notes.list", invoice=invoice)
    assert [item["id"] for item in listed["data"]] == [note["id"]]
    assert "credit_note.created" in await event_types(stripe_sandbox)


@pytest.mark.parametrize(("amount", "status", "remaining"), [(700, "open", 4000), (PREMIUM, "paid", 0)])
async def test_credit_note_when_the_invoice_is_open(
    stripe_sandbox: StripeSandbox, amount: int, status: str, remaining: int
) -> None:
    _, invoice = await an_open_invoice(stripe_sandbox)
    note = await stripe_sandbox.call("credit_notes.create", invoice=invoice, amount=amount)
    assert (note["type"], note["pre_payment_amount"]) == ("pre_payment", amount)
    whole = await stripe_sandbox.call("invoices.retrieve", invoice)
    assert (whole["status"], whole["amount_remaining"]) == (status, remaining)
    if status == "open":
        paid = await stripe_sandbox.call("invoices.pay", invoice, payment_method="pm_card_visa")
        assert paid["amount_paid"] == remaining


async def test_credit_note_when_its_parts_do_not_add_up(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    with pytest.raises(StripeRefused, match="must equal"):
        await stripe_sandbox.call(
            "credit_notes.create", invoice=subscription["latest_invoice"], amount=1000, refund_amount=999
        )


async def test_portal_when_nothing_was_configured(stripe_sandbox: StripeSandbox) -> None:
    customer = await a_customer(stripe_sandbox)
    session = await stripe_sandbox.call(
        "billing_portal.sessions.create", customer=customer, return_url="https://app.example/billing"
    )
    assert session["url"].endswith(f"/portal/{session['id']}")
    found = await stripe_sandbox.call("billing_portal.configurations.list", is_default=True, active=True)
    (default,) = found["data"]
    assert session["configuration"] == default["id"]
    assert default["features"]["subscription_update"]["enabled"] is False
    changed = await stripe_sandbox.call(
        "billing_portal.configurations.update",
        default["id"],
        features={"subscription_update": {"enabled": True, "default_allowed_updates": ["price"]}},
    )
    assert changed["features"]["subscription_update"]["enabled"] is True
    assert changed["features"]["subscription_cancel"] == default["features"]["subscription_cancel"]


async def test_portal_when_a_flow_is_asked_for(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    stranger = await a_customer(stripe_sandbox)
    flow = {"type": "subscription_cancel", "subscription_cancel": {"subscription": subscription["id"]}}
    session = await stripe_sandbox.call(
        "billing_portal.sessions.create", customer=subscription["customer"], flow_data=flow
    )
    assert session["flow"]["subscription_cancel"]["subscription"] == subscription["id"]
    with pytest.raises(StripeRefused, match="by this customer"):
        await stripe_sandbox.call("billing_portal.sessions.create", customer=stranger, flow_data=flow)
    off = await stripe_sandbox.call(
        "billing_portal.configurations.create", features={"invoice_history": {"enabled": True}}
    )
    with pytest.raises(StripeRefused, match="disabled in the portal configuration"):
        await stripe_sandbox.call(
            "billing_portal.sessions.create",
            customer=stranger,
            configuration=off["id"],
            flow_data={"type": "payment_method_update"},
        )


@pytest.mark.parametrize(
    "coupon",
    [
        {"duration": "once"},
        {"percent_off": 10, "amount_off": 10, "currency": "eur", "duration": "once"},
        {"percent_off": 101, "duration": "once"},
        {"percent_off": "nan", "duration": "once"},
        {"percent_off": "half", "duration": "once"},
        {"amount_off": 0, "currency": "eur", "duration": "once"},
        {"amount_off": 10**17, "currency": "eur", "duration": "once"},
        {"percent_off": 10, "duration": "repeating"},
        {"percent_off": 10, "duration": "repeating", "duration_in_months": 10**9},
    ],
)
async def test_coupon_when_it_is_no_coupon(stripe_sandbox: StripeSandbox, coupon: dict[str, Any]) -> None:
    with pytest.raises(StripeRefused):
        await stripe_sandbox.call("coupons.create", **coupon)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [{"type": "invoice_line_item", "invoice_line_item": "il_sbxNone"}],
        [{"type": "custom_line_item", "description": "x", "unit_amount": 10**17, "quantity": 999_999}],
        [
            {"type": "custom_line_item", "description": "x", "unit_amount": 1000, "quantity": 1},
            {"type": "custom_line_item", "description": "y", "unit_amount": -900, "quantity": 1},
        ],
    ],
)
async def test_credit_note_when_its_lines_are_not_possible(
    stripe_sandbox: StripeSandbox, lines: list[dict[str, Any]]
) -> None:
    subscription = await subscribe(stripe_sandbox)
    with pytest.raises(StripeRefused):
        await stripe_sandbox.call("credit_notes.create", invoice=subscription["latest_invoice"], lines=lines)


async def test_promotion_code_when_it_is_for_new_customers(stripe_sandbox: StripeSandbox) -> None:
    coupon = await stripe_sandbox.call("coupons.create", percent_off=10, duration="once")
    code = await stripe_sandbox.call(
        "promotion_codes.create",
        promotion={"type": "coupon", "coupon": coupon["id"]},
        restrictions={"first_time_transaction": True},
        max_redemptions=1,
    )
    known = await subscribe(stripe_sandbox)
    discounts = [{"promotion_code": code["id"]}]
    with pytest.raises(StripeRefused, match="prior transactions"):
        await subscribe(stripe_sandbox, customer=known["customer"], discounts=discounts)
    await subscribe(stripe_sandbox, discounts=discounts)
    assert (await stripe_sandbox.call("promotion_codes.retrieve", code["id"]))["active"] is False


async def test_coupon_when_it_is_deleted(stripe_sandbox: StripeSandbox) -> None:
    coupon = await stripe_sandbox.call("coupons.create", id="SPRING", percent_off=10, duration="forever")
    subscription = await subscribe(stripe_sandbox, discounts=[{"coupon": coupon["id"]}])
    await stripe_sandbox.call("coupons.delete", "SPRING")
    with pytest.raises(StripeMissing):
        await subscribe(stripe_sandbox, discounts=[{"coupon": "SPRING"}])
    await pass_time(stripe_sandbox, "P1M")
    totals = [invoice["total"] for invoice in await invoices_of(stripe_sandbox, subscription)]
    assert totals == [PREMIUM * 9 // 10] * 2
