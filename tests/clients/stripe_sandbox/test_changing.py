"""Changing subscriptions in the sandbox: previews, prorations, pending updates, schedules."""

from typing import Any

import pytest

from app.clients.stripe import StripeDeclined, StripeMissing, StripeRefused
from app.clients.stripe.sandbox.paying import authenticate
from app.clients.stripe.sandbox.state import State
from tests.support.stripe_billing import (
    BUSINESS,
    PREMIUM,
    YEARLY,
    a_price,
    event_types,
    invoices_of,
    pass_time,
    retrieve,
    subscribe,
    use_method,
)
from tests.support.stripe_sandbox import StripeSandbox

NOW = {"proration_behavior": "always_invoice"}
PENDING = {**NOW, "payment_behavior": "pending_if_incomplete"}


def items_for(subscription: dict[str, Any], price: str) -> list[dict[str, Any]]:
    return [{"id": subscription["items"]["data"][0]["id"], "price": price}]


async def preview(
    sandbox: StripeSandbox, subscription: dict[str, Any], price: str, **details: Any
) -> dict[str, Any]:
    return await sandbox.call(
        "invoices.create_preview",
        subscription=subscription["id"],
        subscription_details={"items": items_for(subscription, price), **details},
    )


async def change(
    sandbox: StripeSandbox, subscription: dict[str, Any], price: str, **more: Any
) -> dict[str, Any]:
    return await sandbox.call(
        "subscriptions.update",
        subscription["id"],
        items=items_for(subscription, price),
        expand=["latest_invoice.payments"],
        **more,
    )


def price_of(subscription: dict[str, Any]) -> str:
    return str(subscription["items"]["data"][0]["price"]["id"])


async def test_upgrade_when_the_preview_was_shown(stripe_sandbox: StripeSandbox) -> None:
    business = await a_price(stripe_sandbox, BUSINESS)
    subscription = await subscribe(stripe_sandbox)
    period = subscription["items"]["data"][0]
    await pass_time(stripe_sandbox, "P10D")
    shown = await preview(stripe_sandbox, subscription, business, **NOW)
    moment = shown["parent"]["subscription_details"]["subscription_proration_date"]
    await pass_time(stripe_sandbox, "PT9M")
    upgraded = await change(stripe_sandbox, subscription, business, proration_date=moment, **PENDING)
    assert price_of(upgraded) == business
    invoice = upgraded["latest_invoice"]
    assert (invoice["amount_paid"], invoice["billing_reason"]) == (shown["amount_due"], "subscription_update")
    lines = [line["amount"] for line in invoice["lines"]["data"]]
    assert lines == [line["amount"] for line in shown["lines"]["data"]]
    length = period["current_period_end"] - period["current_period_start"]
    rest = period["current_period_end"] - moment
    assert lines == [-round(PREMIUM * rest / length), round(BUSINESS * rest / length)]
    after = upgraded["items"]["data"][0]
    assert after["current_period_end"] == period["current_period_end"]
    await pass_time(stripe_sandbox, "P1M")
    assert (await invoices_of(stripe_sandbox, upgraded))[-1]["total"] == BUSINESS


async def test_upgrade_when_the_moment_is_outside_the_period(stripe_sandbox: StripeSandbox) -> None:
    business = await a_price(stripe_sandbox, BUSINESS)
    subscription = await subscribe(stripe_sandbox)
    start = subscription["items"]["data"][0]["current_period_start"]
    with pytest.raises(StripeRefused, match="proration date outside"):
        await change(stripe_sandbox, subscription, business, proration_date=start - 1, **PENDING)


async def test_upgrade_when_the_card_is_declined(stripe_sandbox: StripeSandbox) -> None:
    business = await a_price(stripe_sandbox, BUSINESS)
    subscription = await subscribe(stripe_sandbox)
    await pass_time(stripe_sandbox, "P10D")
    await use_method(stripe_sandbox, subscription["customer"], "pm_sbx_attach_only")
    waiting = await change(stripe_sandbox, subscription, business, **PENDING)
    assert (price_of(waiting), waiting["status"]) == (price_of(subscription), "active")
    assert waiting["pending_update"]["subscription_items"][0]["price"]["id"] == business
    assert waiting["latest_invoice"]["status"] == "open"
    await pass_time(stripe_sandbox, "PT24H")
    dropped = await retrieve(stripe_sandbox, subscription, "latest_invoice")
    assert (price_of(dropped), dropped["pending_update"]) == (price_of(subscription), None)
    assert dropped["latest_invoice"]["status"] == "void"
    assert "customer.subscription.pending_update_expired" in await event_types(stripe_sandbox)


async def test_upgrade_when_the_payer_passes_the_challenge(stripe_sandbox: StripeSandbox) -> None:
    business = await a_price(stripe_sandbox, BUSINESS)
    subscription = await subscribe(stripe_sandbox)
    await use_method(stripe_sandbox, subscription["customer"], "pm_card_authenticationRequired")
    waiting = await change(stripe_sandbox, subscription, business, **PENDING, metadata={"command_id": "c1"})
    assert waiting["pending_update"] is not None
    assert waiting["metadata"] == {}
    intent = waiting["latest_invoice"]["payments"]["data"][0]["payment"]["payment_intent"]

    def answer(state: State) -> None:
        authenticate(state, state.get("payment_intent", intent), passes=True)

    await stripe_sandbox.sandbox.change(answer)
    applied = await retrieve(stripe_sandbox, subscription)
    assert (price_of(applied), applied["pending_update"]) == (business, None)
    assert applied["metadata"] == {"command_id": "c1"}
    assert "customer.subscription.pending_update_applied" in await event_types(stripe_sandbox)


async def test_upgrade_when_its_invoice_is_voided(stripe_sandbox: StripeSandbox) -> None:
    business = await a_price(stripe_sandbox, BUSINESS)
    subscription = await subscribe(stripe_sandbox)
    await use_method(stripe_sandbox, subscription["customer"], "pm_sbx_attach_only")
    waiting = await change(stripe_sandbox, subscription, business, **PENDING)
    await stripe_sandbox.call("invoices.void_invoice", waiting["latest_invoice"]["id"])
    assert (await retrieve(stripe_sandbox, subscription))["pending_update"] is None


async def test_upgrade_when_another_one_was_pending(stripe_sandbox: StripeSandbox) -> None:
    business, other = await a_price(stripe_sandbox, BUSINESS), await a_price(stripe_sandbox, 30_000)
    subscription = await subscribe(stripe_sandbox)
    await use_method(stripe_sandbox, subscription["customer"], "pm_sbx_attach_only")
    await change(stripe_sandbox, subscription, business, **PENDING)
    await use_method(stripe_sandbox, subscription["customer"], "pm_card_visa")
    upgraded = await change(stripe_sandbox, subscription, other, **PENDING)
    assert price_of(upgraded) == other
    statuses = [invoice["status"] for invoice in await invoices_of(stripe_sandbox, subscription)]
    assert statuses == ["paid", "void", "paid"]


async def test_upgrade_when_only_a_paid_one_is_wanted(stripe_sandbox: StripeSandbox) -> None:
    business = await a_price(stripe_sandbox, BUSINESS)
    subscription = await subscribe(stripe_sandbox)
    await use_method(stripe_sandbox, subscription["customer"], "pm_sbx_attach_only")
    with pytest.raises(StripeDeclined):
        await change(stripe_sandbox, subscription, business, **NOW, payment_behavior="error_if_incomplete")
    after = await retrieve(stripe_sandbox, subscription)
    assert price_of(after) == price_of(subscription)
    assert len(await invoices_of(stripe_sandbox, subscription)) == 1


async def test_upgrade_when_an_incomplete_one_is_allowed(stripe_sandbox: StripeSandbox) -> None:
    business = await a_price(stripe_sandbox, BUSINESS)
    subscription = await subscribe(stripe_sandbox)
    await use_method(stripe_sandbox, subscription["customer"], "pm_sbx_attach_only")
    upgraded = await change(stripe_sandbox, subscription, business, **NOW)
    assert (price_of(upgraded), upgraded["status"]) == (business, "past_due")


async def test_upgrade_when_other_things_are_asked_with_it(stripe_sandbox: StripeSandbox) -> None:
    business = await a_price(stripe_sandbox, BUSINESS)
    subscription = await subscribe(stripe_sandbox)
    with pytest.raises(StripeRefused, match="pending_if_incomplete"):
        await change(stripe_sandbox, subscription, business, **PENDING, description="More")


async def test_upgrade_when_it_is_from_month_to_year(stripe_sandbox: StripeSandbox) -> None:
    yearly = await a_price(stripe_sandbox, YEARLY, "year")
    subscription = await subscribe(stripe_sandbox)
    await pass_time(stripe_sandbox, "P10D")
    shown = await preview(stripe_sandbox, subscription, yearly, **NOW)
    moment = shown["parent"]["subscription_details"]["subscription_proration_date"]
    upgraded = await change(stripe_sandbox, subscription, yearly, **PENDING, proration_date=moment)
    invoice = upgraded["latest_invoice"]
    assert invoice["amount_paid"] == shown["amount_due"]
    assert [line["amount"] for line in invoice["lines"]["data"]][1] == YEARLY
    item = upgraded["items"]["data"][0]
    assert item["current_period_start"] == upgraded["billing_cycle_anchor"] >= moment
    assert item["current_period_end"] - item["current_period_start"] >= 365 * 86_400


async def test_downgrade_when_the_rest_is_credited(stripe_sandbox: StripeSandbox) -> None:
    premium = await a_price(stripe_sandbox)
    subscription = await subscribe(stripe_sandbox, await a_price(stripe_sandbox, BUSINESS))
    await pass_time(stripe_sandbox, "P10D")
    downgraded = await change(stripe_sandbox, subscription, premium, **PENDING)
    invoice = downgraded["latest_invoice"]
    assert (invoice["status"], invoice["amount_due"]) == ("paid", 0)
    customer = await stripe_sandbox.call("customers.retrieve", subscription["customer"])
    assert customer["balance"] == invoice["total"] == invoice["ending_balance"] < 0
    await pass_time(stripe_sandbox, "P1M")
    renewed = (await invoices_of(stripe_sandbox, subscription))[-1]
    assert renewed["amount_due"] == max(0, PREMIUM + invoice["total"])


async def test_change_when_it_waits_for_the_next_invoice(stripe_sandbox: StripeSandbox) -> None:
    business = await a_price(stripe_sandbox, BUSINESS)
    subscription = await subscribe(stripe_sandbox)
    await pass_time(stripe_sandbox, "P10D")
    shown = await preview(stripe_sandbox, subscription, business)
    await change(stripe_sandbox, subscription, business)
    assert len(await invoices_of(stripe_sandbox, subscription)) == 1
    await pass_time(stripe_sandbox, "P1M")
    renewed = (await invoices_of(stripe_sandbox, subscription))[-1]
    assert len(renewed["lines"]["data"]) == len(shown["lines"]["data"]) == 3
    assert abs(renewed["total"] - shown["total"]) <= 2


async def test_change_when_nothing_is_prorated(stripe_sandbox: StripeSandbox) -> None:
    business = await a_price(stripe_sandbox, BUSINESS)
    subscription = await subscribe(stripe_sandbox)
    changed = await change(stripe_sandbox, subscription, business, proration_behavior="none")
    assert price_of(changed) == business
    await pass_time(stripe_sandbox, "P1M")
    totals = [invoice["total"] for invoice in await invoices_of(stripe_sandbox, subscription)]
    assert totals == [PREMIUM, BUSINESS]


async def test_change_when_the_item_is_not_named(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    twice = await stripe_sandbox.call(
        "subscriptions.update", subscription["id"], items=[{"price": await a_price(stripe_sandbox, BUSINESS)}]
    )
    assert len(twice["items"]["data"]) == 2
    with pytest.raises(StripeRefused, match="same plan"):
        await stripe_sandbox.call(
            "subscriptions.update", subscription["id"], items=[{"price": price_of(subscription)}]
        )


async def test_preview_when_nothing_will_be_billed(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    shown = await stripe_sandbox.call("invoices.create_preview", subscription=subscription["id"])
    assert (shown["amount_due"], shown["period_end"]) == (
        PREMIUM,
        subscription["items"]["data"][0]["current_period_end"],
    )
    await stripe_sandbox.call("subscriptions.update", subscription["id"], cancel_at_period_end=True)
    with pytest.raises(StripeRefused) as refusal:
        await stripe_sandbox.call("invoices.create_preview", subscription=subscription["id"])
    assert refusal.value.code == "invoice_upcoming_none"


async def test_preview_when_the_subscription_does_not_exist_yet(stripe_sandbox: StripeSandbox) -> None:
    coupon = await stripe_sandbox.call("coupons.create", percent_off=50, duration="once", max_redemptions=1)
    customer = await stripe_sandbox.call("customers.create", email="a@b.example")
    shown = await stripe_sandbox.call(
        "invoices.create_preview",
        customer=customer["id"],
        subscription_details={"items": [{"price": await a_price(stripe_sandbox)}]},
        discounts=[{"coupon": coupon["id"]}],
    )
    assert (shown["subtotal"], shown["amount_due"]) == (PREMIUM, PREMIUM // 2)
    assert (await stripe_sandbox.call("coupons.retrieve", coupon["id"]))["times_redeemed"] == 0
    with pytest.raises(StripeMissing):
        await stripe_sandbox.call("subscriptions.retrieve", "sub_sbxNone")


async def scheduled(
    sandbox: StripeSandbox, subscription: dict[str, Any], price: str, **more: Any
) -> dict[str, Any]:
    schedule = await sandbox.call("subscription_schedules.create", from_subscription=subscription["id"])
    current = schedule["phases"][0]
    return await sandbox.call(
        "subscription_schedules.update",
        schedule["id"],
        phases=[
            {
                "items": [
                    {"price": item["price"], "quantity": item["quantity"]} for item in current["items"]
                ],
                "start_date": current["start_date"],
                "end_date": current["end_date"],
            },
            {"items": [{"price": price}]},
        ],
        **more,
    )


@pytest.mark.parametrize(("amount", "interval"), [(PREMIUM, "month"), (YEARLY, "year")])
async def test_schedule_when_the_next_phase_begins(
    stripe_sandbox: StripeSandbox, amount: int, interval: str
) -> None:
    later = await a_price(stripe_sandbox, amount, interval)
    subscription = await subscribe(stripe_sandbox, await a_price(stripe_sandbox, BUSINESS))
    schedule = await scheduled(stripe_sandbox, subscription, later, metadata={"command_id": "c1"})
    assert schedule["metadata"] == {"command_id": "c1"}
    assert (await retrieve(stripe_sandbox, subscription))["schedule"] == schedule["id"]
    shown = await stripe_sandbox.call("invoices.create_preview", subscription=subscription["id"])
    assert shown["amount_due"] == amount
    await pass_time(stripe_sandbox, "P32D")
    after = await retrieve(stripe_sandbox, subscription)
    assert price_of(after) == later
    totals = [invoice["total"] for invoice in await invoices_of(stripe_sandbox, subscription)]
    assert totals == [BUSINESS, amount]
    previous = subscription["items"]["data"][0]["current_period_end"]
    assert after["items"]["data"][0]["current_period_start"] == previous
    await pass_time(stripe_sandbox, "P13M")
    ended = await stripe_sandbox.call("subscription_schedules.retrieve", schedule["id"])
    assert (ended["status"], ended["released_subscription"]) == ("released", subscription["id"])
    last = await retrieve(stripe_sandbox, subscription)
    assert (last["schedule"], last["status"], price_of(last)) == (None, "active", later)


async def test_schedule_when_released(stripe_sandbox: StripeSandbox) -> None:
    business = await a_price(stripe_sandbox, BUSINESS)
    subscription = await subscribe(stripe_sandbox)
    schedule = await scheduled(stripe_sandbox, subscription, business)
    with pytest.raises(StripeRefused, match="managed by the subscription schedule"):
        await stripe_sandbox.call("subscriptions.update", subscription["id"], cancel_at_period_end=True)
    released = await stripe_sandbox.call("subscription_schedules.release", schedule["id"])
    assert (released["status"], released["subscription"]) == ("released", None)
    with pytest.raises(StripeRefused, match="`released` status"):
        await stripe_sandbox.call("subscription_schedules.release", schedule["id"])
    await pass_time(stripe_sandbox, "P32D")
    assert price_of(await retrieve(stripe_sandbox, subscription)) == price_of(subscription)
    assert await event_types(stripe_sandbox, "subscription_schedule") == [
        "subscription_schedule.created",
        "subscription_schedule.updated",
        "subscription_schedule.released",
    ]


async def test_schedule_when_the_subscription_ends(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    schedule = await scheduled(stripe_sandbox, subscription, await a_price(stripe_sandbox, BUSINESS))
    await stripe_sandbox.call("subscriptions.cancel", subscription["id"])
    assert (await stripe_sandbox.call("subscription_schedules.retrieve", schedule["id"]))["status"] == (
        "canceled"
    )


async def test_schedule_when_more_is_said_than_may_be(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    with pytest.raises(StripeRefused, match="You cannot set `metadata` if `from_subscription` is set"):
        await stripe_sandbox.call(
            "subscription_schedules.create", from_subscription=subscription["id"], metadata={"a": "1"}
        )
    schedule = await stripe_sandbox.call(
        "subscription_schedules.create", from_subscription=subscription["id"]
    )
    with pytest.raises(StripeRefused, match="already attached to a schedule"):
        await stripe_sandbox.call("subscription_schedules.create", from_subscription=subscription["id"])
    with pytest.raises(StripeRefused, match="must have a `start_date`"):
        await stripe_sandbox.call(
            "subscription_schedules.update",
            schedule["id"],
            phases=[{"items": [{"price": price_of(subscription)}]}],
        )


async def test_schedule_when_a_phase_begins_within_a_period(stripe_sandbox: StripeSandbox) -> None:
    business = await a_price(stripe_sandbox, BUSINESS)
    subscription = await subscribe(stripe_sandbox)
    schedule = await stripe_sandbox.call(
        "subscription_schedules.create", from_subscription=subscription["id"]
    )
    start = schedule["phases"][0]["start_date"]
    await stripe_sandbox.call(
        "subscription_schedules.update",
        schedule["id"],
        phases=[
            {
                "items": [{"price": price_of(subscription)}],
                "start_date": start,
                "end_date": start + 10 * 86_400,
            },
            {
                "items": [{"price": business}],
                "duration": {"interval": "month", "interval_count": 2},
                "proration_behavior": "always_invoice",
            },
        ],
        end_behavior="cancel",
    )
    await pass_time(stripe_sandbox, "P11D")
    assert price_of(await retrieve(stripe_sandbox, subscription)) == business
    assert len(await invoices_of(stripe_sandbox, subscription)) == 2
    await pass_time(stripe_sandbox, "P3M")
    assert (await retrieve(stripe_sandbox, subscription))["status"] == "canceled"
    done = await stripe_sandbox.call("subscription_schedules.retrieve", schedule["id"])
    assert done["status"] == "completed"


@pytest.mark.parametrize(("ending", "status"), [("release", "active"), ("cancel", "canceled")])
async def test_schedule_when_the_subscription_was_to_end(
    stripe_sandbox: StripeSandbox, ending: str, status: str
) -> None:
    subscription = await subscribe(stripe_sandbox, cancel_at_period_end=True)
    later = await a_price(stripe_sandbox, BUSINESS)
    schedule = await scheduled(stripe_sandbox, subscription, later, end_behavior=ending)
    now = await retrieve(stripe_sandbox, subscription)
    last = schedule["phases"][-1]["end_date"]
    assert now["cancel_at"] == (last if ending == "cancel" else None)
    await pass_time(stripe_sandbox, "P32D")
    assert price_of(await retrieve(stripe_sandbox, subscription)) == later
    await pass_time(stripe_sandbox, "P32D")
    assert (await retrieve(stripe_sandbox, subscription))["status"] == status


@pytest.mark.parametrize(
    "phase",
    [
        {"end_date": 10**17},
        {"end_date": 1},
        {"duration": {"interval": "year", "interval_count": 6}},
        {"duration": {"interval": "month", "interval_count": 0}},
        {"duration": {"interval": "month"}, "end_date": 10**10},
        {"items": [{"price": "price_sbxNone"}]},
        {"items": ""},
        {"start_date": 1},
    ],
)
async def test_schedule_when_a_phase_is_not_possible(
    stripe_sandbox: StripeSandbox, phase: dict[str, Any]
) -> None:
    subscription = await subscribe(stripe_sandbox)
    schedule = await stripe_sandbox.call(
        "subscription_schedules.create", from_subscription=subscription["id"]
    )
    first = schedule["phases"][0]
    items = {"items": [{"price": price_of(subscription)}]}
    current = {"start_date": first["start_date"], "end_date": first["end_date"]}
    with pytest.raises((StripeRefused, StripeMissing)):
        await stripe_sandbox.call(
            "subscription_schedules.update",
            schedule["id"],
            phases=[{**items, **current}, {**items, **phase}],
        )


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 0},
        {"quantity": 10**17},
        {"id": "si_sbxNone"},
        {"deleted": True},
        {"price": "price_sbxNone"},
        {"price_data": {"currency": "eur"}},
    ],
)
async def test_change_when_the_item_is_not_possible(
    stripe_sandbox: StripeSandbox, change: dict[str, Any]
) -> None:
    subscription = await subscribe(stripe_sandbox)
    item = {"id": subscription["items"]["data"][0]["id"], **change}
    with pytest.raises((StripeRefused, StripeMissing)):
        await stripe_sandbox.call("subscriptions.update", subscription["id"], items=[item])
    assert await retrieve(stripe_sandbox, subscription) == {**subscription}
