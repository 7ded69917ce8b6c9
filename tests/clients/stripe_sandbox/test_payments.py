"""Payments, refunds and disputes in the sandbox, as the real library sees them."""

import pytest

from app.clients.stripe import StripeDeclined, StripeMissing, StripeRefused
from app.clients.stripe.sandbox.clock import advance
from app.clients.stripe.sandbox.disputes import close_dispute, open_dispute
from app.clients.stripe.sandbox.refunds import fail_refund
from tests.support.stripe_sandbox import StripeSandbox


async def pay(sandbox: StripeSandbox, method: str = "pm_card_visa", **more: object) -> dict[str, object]:
    params = {"amount": 12_345, "currency": "eur", "confirm": True, "payment_method": method, **more}
    return await sandbox.call("payment_intents.create", **params)


async def types(sandbox: StripeSandbox) -> list[str]:
    return [event["type"] for event in await sandbox.events()]


async def test_intent_when_the_card_is_good(stripe_sandbox: StripeSandbox) -> None:
    intent = await pay(stripe_sandbox, metadata={"order_id": "o1"})
    assert (intent["status"], intent["amount_received"]) == ("succeeded", 12_345)
    found = await stripe_sandbox.call(
        "payment_intents.retrieve", str(intent["id"]), expand=["latest_charge.balance_transaction"]
    )
    movement = found["latest_charge"]["balance_transaction"]
    assert (movement["amount"], movement["fee"], movement["net"]) == (12_345, 210, 12_135)
    assert found["latest_charge"]["metadata"] == {"order_id": "o1"}
    assert await types(stripe_sandbox) == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]


@pytest.mark.parametrize(
    ("method", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_sbx_attach_only", "generic_decline"),
    ],
)
async def test_intent_when_the_card_is_declined(
    stripe_sandbox: StripeSandbox, method: str, decline_code: str
) -> None:
    with pytest.raises(StripeDeclined) as refusal:
        await pay(stripe_sandbox, method)
    assert (refusal.value.code, refusal.value.decline_code) == ("card_declined", decline_code)
    assert refusal.value.object
    kept = await stripe_sandbox.call("payment_intents.retrieve", refusal.value.object["id"])
    assert kept["status"] == "requires_payment_method"
    assert kept["last_payment_error"]["decline_code"] == decline_code
    assert "payment_intent.payment_failed" in await types(stripe_sandbox)


async def test_intent_when_nobody_is_there_to_authenticate(stripe_sandbox: StripeSandbox) -> None:
    waiting = await pay(stripe_sandbox, "pm_card_authenticationRequired")
    assert waiting["status"] == "requires_action"
    with pytest.raises(StripeDeclined) as refusal:
        await pay(stripe_sandbox, "pm_card_authenticationRequired", off_session=True)
    assert refusal.value.code == "authentication_required"


@pytest.mark.parametrize(
    ("method", "status"),
    [("pm_sbx_sepa", "succeeded"), ("pm_sbx_sepa_fails", "requires_payment_method")],
)
async def test_intent_when_a_direct_debit_takes_days(
    stripe_sandbox: StripeSandbox, method: str, status: str
) -> None:
    intent = await pay(stripe_sandbox, method)
    await stripe_sandbox.sandbox.change(lambda state: advance(state, "P4D"))
    assert (await stripe_sandbox.object(str(intent["id"])))["status"] == "processing"
    await stripe_sandbox.sandbox.change(lambda state: advance(state, "P1D"))
    assert (await stripe_sandbox.object(str(intent["id"])))["status"] == status


async def test_intent_when_it_is_captured_in_part(stripe_sandbox: StripeSandbox) -> None:
    intent = await pay(stripe_sandbox, capture_method="manual")
    assert (intent["status"], intent["amount_capturable"]) == ("requires_capture", 12_345)
    captured = await stripe_sandbox.call(
        "payment_intents.capture", str(intent["id"]), amount_to_capture=10_000
    )
    assert (captured["status"], captured["amount_received"]) == ("succeeded", 10_000)
    with pytest.raises(StripeRefused) as refusal:
        await stripe_sandbox.call("payment_intents.capture", str(intent["id"]))
    assert refusal.value.code == "payment_intent_unexpected_state"


async def test_intent_when_nobody_captures_it(stripe_sandbox: StripeSandbox) -> None:
    intent = await pay(stripe_sandbox, capture_method="manual")
    await stripe_sandbox.sandbox.change(lambda state: advance(state, "P7D"))
    assert (await stripe_sandbox.object(str(intent["id"])))["status"] == "canceled"


async def test_refunds_when_nothing_is_left(stripe_sandbox: StripeSandbox) -> None:
    intent = str((await pay(stripe_sandbox))["id"])
    await stripe_sandbox.call("refunds.create", payment_intent=intent, amount=2345)
    with pytest.raises(StripeRefused, match="greater than unrefunded amount"):
        await stripe_sandbox.call("refunds.create", payment_intent=intent, amount=10_001)
    await stripe_sandbox.call("refunds.create", payment_intent=intent)
    with pytest.raises(StripeRefused) as refusal:
        await stripe_sandbox.call("refunds.create", payment_intent=intent)
    assert refusal.value.code == "charge_already_refunded"
    found = [item async for item in stripe_sandbox.client.pages("refunds.list", params={"limit": 1})]
    assert [item["amount"] for item in found] == [10_000, 2345]


async def test_refund_when_it_fails_later(stripe_sandbox: StripeSandbox) -> None:
    intent = await pay(stripe_sandbox)
    refund = await stripe_sandbox.call("refunds.create", payment_intent=intent["id"], amount=2345)
    await stripe_sandbox.sandbox.change(lambda state: fail_refund(state, refund["id"]))
    charge = await stripe_sandbox.call("charges.retrieve", str(intent["latest_charge"]), expand=["refunds"])
    assert charge["amount_refunded"] == 0
    assert [item["status"] for item in charge["refunds"]["data"]] == ["failed"]


@pytest.mark.parametrize(("outcome", "moved"), [("won", [-12_345, 12_345]), ("lost", [-12_345])])
async def test_dispute_when_it_is_decided(
    stripe_sandbox: StripeSandbox, outcome: str, moved: list[int]
) -> None:
    intent = await pay(stripe_sandbox)
    dispute = await stripe_sandbox.sandbox.change(
        lambda state: open_dispute(state, str(intent["latest_charge"]))
    )
    await stripe_sandbox.sandbox.change(lambda state: close_dispute(state, dispute["id"], outcome))
    found = await stripe_sandbox.call("disputes.retrieve", dispute["id"])
    assert found["status"] == outcome
    assert [item["amount"] for item in found["balance_transactions"]] == moved


async def test_setup_intent_when_the_method_is_kept(stripe_sandbox: StripeSandbox) -> None:
    customer = await stripe_sandbox.call("customers.create", email="a@b.example")
    intent = await stripe_sandbox.call(
        "setup_intents.create", customer=customer["id"], confirm=True, payment_method="pm_card_visa"
    )
    method = await stripe_sandbox.call("payment_methods.retrieve", intent["payment_method"])
    assert (method["customer"], method["card"]["last4"]) == (customer["id"], "4242")
    changed = await stripe_sandbox.call(
        "customers.update", customer["id"], invoice_settings={"default_payment_method": method["id"]}
    )
    assert changed["invoice_settings"]["default_payment_method"] == method["id"]
    await stripe_sandbox.call("payment_methods.detach", method["id"])
    after = await stripe_sandbox.call("customers.retrieve", customer["id"])
    assert after["invoice_settings"]["default_payment_method"] is None


async def test_customer_when_deleted(stripe_sandbox: StripeSandbox) -> None:
    customer = await stripe_sandbox.call("customers.create", email="a@b.example", metadata={"a": "1"})
    await stripe_sandbox.call("customers.delete", customer["id"])
    assert (await stripe_sandbox.call("customers.retrieve", customer["id"]))["deleted"] is True
    with pytest.raises(StripeMissing):
        await stripe_sandbox.call("customers.update", customer["id"], name="X")


async def test_prices_when_found_by_lookup_key(stripe_sandbox: StripeSandbox) -> None:
    product = await stripe_sandbox.call("products.create", name="Pro")
    price = await stripe_sandbox.call(
        "prices.create",
        product=product["id"],
        currency="eur",
        unit_amount=2900,
        recurring={"interval": "month"},
        lookup_key="pro_monthly",
    )
    found = await stripe_sandbox.call("prices.list", lookup_keys=["pro_monthly"], expand=["data.product"])
    assert [(item["id"], item["product"]["name"]) for item in found["data"]] == [(price["id"], "Pro")]
    assert price["recurring"]["interval"] == "month"
