"""Sessions of checkout in the sandbox: what each outcome leaves behind, and what is told of it."""

from datetime import timedelta

import pytest

from app.clients.stripe import StripeRefused
from app.clients.stripe.sandbox.clock import advance
from app.clients.stripe.sandbox.completing import complete
from app.clients.stripe.sandbox.errors import SandboxError
from app.clients.stripe.sandbox.state import Object, State
from app.core import clock
from tests.support.stripe_sandbox import StripeSandbox


async def open_session(sandbox: StripeSandbox, amount: int = 4500, **more: object) -> Object:
    product = {"name": "3 × Bag", "metadata": {"luneo_product_id": "p1"}}
    line = {"price_data": {"currency": "eur", "unit_amount": amount, "product_data": product}, "quantity": 1}
    params: dict[str, object] = {
        "mode": "payment",
        "line_items": [line],
        "success_url": "https://shop.example/thanks?session={CHECKOUT_SESSION_ID}",
        "metadata": {"order_id": "o1"},
        "payment_intent_data": {"metadata": {"order_id": "o1"}},
        **more,
    }
    return await sandbox.call("checkout.sessions.create", **params)


async def choose(sandbox: StripeSandbox, session: Object, outcome: str) -> Object:
    """Complete a session as its page does: a refusal that is kept does not undo what was done."""

    def act(state: State) -> SandboxError | None:
        try:
            complete(state, session["id"], outcome)
        except SandboxError as refusal:
            if refusal.keep:
                return refusal
            raise
        return None

    if refusal := await sandbox.sandbox.change(act):
        raise refusal
    return await sandbox.call("checkout.sessions.retrieve", session["id"], expand=["payment_intent"])


async def types(sandbox: StripeSandbox) -> list[str]:
    return [event["type"] for event in await sandbox.events()]


@pytest.mark.parametrize("outcome", ["card", "3ds_passed", "paypal"])
async def test_session_when_it_is_paid(stripe_sandbox: StripeSandbox, outcome: str) -> None:
    session = await open_session(stripe_sandbox)
    assert (session["status"], session["amount_total"]) == ("open", 4500)
    done = await choose(stripe_sandbox, session, outcome)
    assert (done["status"], done["payment_status"]) == ("complete", "paid")
    assert done["payment_intent"]["metadata"] == {"order_id": "o1"}
    assert (await types(stripe_sandbox))[-2:] == ["payment_intent.succeeded", "checkout.session.completed"]
    lines = await stripe_sandbox.call(
        "checkout.sessions.line_items.list", session["id"], expand=["data.price.product"]
    )
    assert lines["data"][0]["price"]["product"]["metadata"] == {"luneo_product_id": "p1"}


@pytest.mark.parametrize("outcome", ["card_declined", "insufficient_funds", "3ds_failed"])
async def test_session_when_the_payment_is_refused_first(stripe_sandbox: StripeSandbox, outcome: str) -> None:
    session = await open_session(stripe_sandbox)
    with pytest.raises(SandboxError):
        await choose(stripe_sandbox, session, outcome)
    assert "payment_intent.payment_failed" in await types(stripe_sandbox)
    waiting = await stripe_sandbox.call("checkout.sessions.retrieve", session["id"])
    assert (waiting["status"], waiting["payment_status"]) == ("open", "unpaid")
    done = await choose(stripe_sandbox, session, "card")
    assert done["payment_status"] == "paid"
    assert done["payment_intent"]["id"] == waiting["payment_intent"]


@pytest.mark.parametrize(
    ("outcome", "status", "event"),
    [
        ("sepa", "paid", "checkout.session.async_payment_succeeded"),
        ("sepa_fails", "unpaid", "checkout.session.async_payment_failed"),
    ],
)
async def test_session_when_the_payment_takes_days(
    stripe_sandbox: StripeSandbox, outcome: str, status: str, event: str
) -> None:
    session = await open_session(stripe_sandbox)
    done = await choose(stripe_sandbox, session, outcome)
    assert (done["status"], done["payment_status"]) == ("complete", "unpaid")
    await stripe_sandbox.sandbox.change(lambda state: advance(state, "P5D"))
    assert event in await types(stripe_sandbox)
    assert (await stripe_sandbox.object(session["id"]))["payment_status"] == status


async def test_session_when_the_amount_is_only_authorized(stripe_sandbox: StripeSandbox) -> None:
    session = await open_session(stripe_sandbox, payment_intent_data={"capture_method": "manual"})
    done = await choose(stripe_sandbox, session, "card")
    assert done["payment_intent"]["status"] == "requires_capture"
    assert done["payment_status"] == "unpaid"
    assert "payment_intent.amount_capturable_updated" in await types(stripe_sandbox)


async def test_session_when_it_is_expired_or_over(stripe_sandbox: StripeSandbox) -> None:
    first, second = await open_session(stripe_sandbox), await open_session(stripe_sandbox)
    await stripe_sandbox.call("checkout.sessions.expire", first["id"])
    with pytest.raises(StripeRefused, match=r'status in \["open"\]'):
        await stripe_sandbox.call("checkout.sessions.expire", first["id"])
    await stripe_sandbox.sandbox.change(lambda state: advance(state, "P2D"))
    kept = await stripe_sandbox.call("checkout.sessions.retrieve", second["id"])
    assert kept["status"] == "open"
    with clock.travel(timedelta(hours=25)):
        over = await stripe_sandbox.call("checkout.sessions.retrieve", second["id"])
    assert over["status"] == "expired"
    with pytest.raises(SandboxError, match="expired"):
        await choose(stripe_sandbox, second, "card")


async def test_session_when_it_expires_after_a_refusal(stripe_sandbox: StripeSandbox) -> None:
    """What nobody can pay any more is cancelled, so that it cannot be paid behind the session's back."""
    session = await open_session(stripe_sandbox)
    with pytest.raises(SandboxError):
        await choose(stripe_sandbox, session, "card_declined")
    over = await stripe_sandbox.call("checkout.sessions.expire", session["id"], expand=["payment_intent"])
    assert (over["payment_intent"]["status"], over["payment_intent"]["cancellation_reason"]) == (
        "canceled",
        "expired",
    )


async def test_session_when_a_method_is_set_up(stripe_sandbox: StripeSandbox) -> None:
    customer = await stripe_sandbox.call("customers.create", email="a@b.example")
    session = await stripe_sandbox.call(
        "checkout.sessions.create",
        mode="setup",
        customer=customer["id"],
        currency="eur",
        success_url="https://x.example",
    )
    done = await choose(stripe_sandbox, session, "3ds_passed")
    setup = await stripe_sandbox.call(
        "setup_intents.retrieve", done["setup_intent"], expand=["payment_method"]
    )
    assert (setup["status"], setup["payment_method"]["customer"]) == ("succeeded", customer["id"])


@pytest.mark.parametrize(("has_added_tax", "total"), [(False, 9000), (True, 10_800)])
async def test_session_when_there_is_discount_and_tax(
    stripe_sandbox: StripeSandbox, has_added_tax: bool, total: int
) -> None:
    coupon = await stripe_sandbox.call("coupons.create", percent_off=10, duration="once")
    price = {
        "currency": "eur",
        "unit_amount": 10_000,
        "product_data": {"name": "Bag"},
        "tax_behavior": "exclusive" if has_added_tax else "inclusive",
    }
    session = await open_session(
        stripe_sandbox,
        line_items=[{"price_data": price, "quantity": 1}],
        discounts=[{"coupon": coupon["id"]}],
        automatic_tax={"enabled": True},
    )
    assert session["amount_total"] == total
    tax = 1800 if has_added_tax else 1500
    assert session["total_details"] == {"amount_discount": 1000, "amount_shipping": 0, "amount_tax": tax}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"amount": 49}, "amount_too_small"),
        ({"amount": 100_000_000}, "amount_too_large"),
        ({"line_items": []}, "parameter_missing"),
        ({"colour": "red"}, "parameter_unknown"),
        ({"customer": "cus_sbxNobody"}, "resource_missing"),
    ],
)
async def test_session_when_it_is_refused(
    stripe_sandbox: StripeSandbox, more: dict[str, object], code: str
) -> None:
    with pytest.raises(Exception) as refusal:  # noqa: PT011 - the port has a class of its own for what is missing
        await open_session(stripe_sandbox, **more)  # type: ignore[arg-type]
    assert getattr(refusal.value, "code", None) == code
    assert await types(stripe_sandbox) == []


async def test_session_when_it_would_end_too_soon(stripe_sandbox: StripeSandbox) -> None:
    now = int(clock.now().timestamp())
    with pytest.raises(StripeRefused, match="expires_at"):
        await open_session(stripe_sandbox, expires_at=now + 60)
    assert (await open_session(stripe_sandbox, expires_at=now + 1800))["expires_at"] == now + 1800
