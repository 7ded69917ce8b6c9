"""What time does to subscriptions in the sandbox: renewals, retries, trials."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from app.clients.stripe.sandbox.periods import period_end, share
from app.clients.stripe.sandbox.state import State
from tests.support.stripe_billing import (
    PREMIUM,
    a_price,
    event_types,
    invoices_of,
    pass_time,
    retrieve,
    subscribe,
    use_method,
)
from tests.support.stripe_sandbox import StripeSandbox

WITHOUT_METHOD = {"end_behavior": {"missing_payment_method": "pause"}}


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("start", "interval", "count", "end"),
    [
        ("2026-01-31T10:00", "month", 1, "2026-02-28T10:00"),
        ("2026-02-28T10:00", "month", 1, "2026-03-31T10:00"),
        ("2028-02-29T10:00", "month", 1, "2028-03-31T10:00"),
        ("2026-04-30T10:00", "month", 3, "2026-07-31T10:00"),
        ("2026-01-31T10:00", "year", 1, "2027-01-31T10:00"),
        ("2026-02-07T10:00", "week", 2, "2026-02-14T10:00"),
        ("2026-02-07T10:00", "day", 1, "2026-02-08T10:00"),
    ],
)
def test_period_when_the_anchor_is_the_last_of_january(
    start: str, interval: str, count: int, end: str
) -> None:
    anchor = moment("2026-01-31T10:00")
    recurring = {"interval": interval, "interval_count": count}
    assert period_end(moment(start), anchor, recurring) == moment(end)


@pytest.mark.parametrize(("at", "rest"), [(0, 1001), (50, 501), (100, 0), (150, 0), (99, 10)])
def test_share_when_half_a_unit_is_left(at: int, rest: int) -> None:
    assert share(1001, 0, 100, at) == rest


async def test_renewal_when_a_year_passes(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    await pass_time(stripe_sandbox, "P1Y")
    invoices = await invoices_of(stripe_sandbox, subscription)
    assert [invoice["status"] for invoice in invoices] == ["paid"] * 13
    assert {invoice["billing_reason"] for invoice in invoices[1:]} == {"subscription_cycle"}
    periods = [invoice["lines"]["data"][0]["period"] for invoice in invoices]
    assert all(before["end"] == after["start"] for before, after in pairwise(periods))
    numbers = [int(invoice["number"].split("-")[1]) for invoice in invoices]
    assert numbers == list(range(1, 14))
    assert [invoice["created"] for invoice in invoices] == [period["start"] for period in periods]


async def test_renewal_when_its_events_are_read(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    before = len(await event_types(stripe_sandbox))
    await pass_time(stripe_sandbox, "P1M")
    events = (await stripe_sandbox.events(pending=False))[before:]
    until = subscription["items"]["data"][0]["current_period_end"]
    wanted = ("invoice.upcoming", "invoice.created", "customer.subscription.updated", "invoice.paid")
    found = [event for event in events if event["type"] in wanted]
    assert [event["type"] for event in found] == list(wanted)
    assert [event["created"] for event in found] == [until - 7 * 86_400, until, until, until]
    assert "items" in found[2]["data"]["previous_attributes"]
    upcoming = found[0]["data"]["object"]
    assert (upcoming["amount_due"], upcoming["status"], upcoming["number"]) == (PREMIUM, "draft", None)


@pytest.mark.parametrize(("setting", "ending"), [("cancel", "canceled"), ("unpaid", "unpaid")])
async def test_renewal_when_every_attempt_is_declined(
    stripe_sandbox: StripeSandbox, setting: str, ending: str
) -> None:
    def set_ending(state: State) -> None:
        state.document["settings"]["dunning_end"] = setting

    await stripe_sandbox.sandbox.change(set_ending)
    subscription = await subscribe(stripe_sandbox)
    await use_method(stripe_sandbox, subscription["customer"], "pm_sbx_attach_only")
    await pass_time(stripe_sandbox, "P1M")
    attempts = []
    for period in ("PT1S", "P3D", "P5D", "P7D"):
        await pass_time(stripe_sandbox, period)
        invoice = (await invoices_of(stripe_sandbox, subscription))[-1]
        status = (await retrieve(stripe_sandbox, subscription))["status"]
        attempts.append((invoice["attempt_count"], status, invoice["next_payment_attempt"] is not None))
    assert attempts == [
        (1, "past_due", True),
        (2, "past_due", True),
        (3, "past_due", True),
        (4, ending, False),
    ]
    types = await event_types(stripe_sandbox, "invoice.payment_failed", "customer.subscription.deleted")
    assert types == ["invoice.payment_failed"] * 4 + ["customer.subscription.deleted"] * (setting == "cancel")
    await pass_time(stripe_sandbox, "P2M")
    statuses = [invoice["status"] for invoice in await invoices_of(stripe_sandbox, subscription)]
    assert statuses == ["paid", "open", *(["draft"] * 2 if setting == "unpaid" else [])]


async def test_renewal_when_a_later_attempt_succeeds(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    await use_method(stripe_sandbox, subscription["customer"], "pm_sbx_attach_only")
    await pass_time(stripe_sandbox, "P1M")
    assert (await retrieve(stripe_sandbox, subscription))["status"] == "past_due"
    assert (await stripe_sandbox.call("customers.retrieve", subscription["customer"]))["delinquent"] is True
    await use_method(stripe_sandbox, subscription["customer"], "pm_card_visa")
    await pass_time(stripe_sandbox, "P4D")
    assert (await retrieve(stripe_sandbox, subscription))["status"] == "active"
    invoice = (await invoices_of(stripe_sandbox, subscription))[-1]
    assert (invoice["status"], invoice["attempt_count"]) == ("paid", 2)
    await pass_time(stripe_sandbox, "P12D")
    assert len(await invoices_of(stripe_sandbox, subscription)) == 2


async def test_renewal_when_the_card_wants_the_payer(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    await use_method(stripe_sandbox, subscription["customer"], "pm_card_authenticationRequired")
    await pass_time(stripe_sandbox, "P1M")
    assert (await retrieve(stripe_sandbox, subscription))["status"] == "past_due"
    types = await event_types(stripe_sandbox, "invoice.payment_")
    assert types == [
        "invoice.payment_succeeded",
        "invoice.payment_action_required",
        "invoice.payment_failed",
    ]


async def test_trial_when_it_ends_with_a_method(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox, trial_period_days=14)
    assert (subscription["status"], subscription["billing_cycle_anchor"]) == (
        "trialing",
        subscription["trial_end"],
    )
    assert [invoice["total"] for invoice in await invoices_of(stripe_sandbox, subscription)] == [0]
    await pass_time(stripe_sandbox, "P10D")
    assert await event_types(stripe_sandbox, "customer.subscription.trial_will_end") == []
    await pass_time(stripe_sandbox, "P2D")
    assert len(await event_types(stripe_sandbox, "customer.subscription.trial_will_end")) == 1
    await pass_time(stripe_sandbox, "P3D")
    after = await retrieve(stripe_sandbox, subscription)
    assert after["status"] == "active"
    assert after["items"]["data"][0]["current_period_start"] == subscription["trial_end"]
    assert [invoice["amount_paid"] for invoice in await invoices_of(stripe_sandbox, after)] == [0, PREMIUM]


async def test_trial_when_it_ends_without_a_method(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(
        stripe_sandbox, method=None, trial_period_days=14, trial_settings=WITHOUT_METHOD
    )
    await pass_time(stripe_sandbox, "P40D")
    paused = await retrieve(stripe_sandbox, subscription)
    assert paused["status"] == "paused"
    assert "customer.subscription.paused" in await event_types(stripe_sandbox)
    assert len(await invoices_of(stripe_sandbox, paused)) == 1
    await use_method(stripe_sandbox, paused["customer"], "pm_card_visa")
    resumed = await stripe_sandbox.call("subscriptions.resume", paused["id"])
    assert resumed["status"] == "active"
    assert "customer.subscription.resumed" in await event_types(stripe_sandbox)
    await pass_time(stripe_sandbox, "P1M")
    assert [item["total"] for item in await invoices_of(stripe_sandbox, paused)] == [0, PREMIUM, PREMIUM]


@pytest.mark.parametrize(("behavior", "status"), [("cancel", "canceled"), ("create_invoice", "past_due")])
async def test_trial_when_it_ends_otherwise(
    stripe_sandbox: StripeSandbox, behavior: str, status: str
) -> None:
    settings = {"end_behavior": {"missing_payment_method": behavior}}
    subscription = await subscribe(stripe_sandbox, method=None, trial_period_days=2, trial_settings=settings)
    await pass_time(stripe_sandbox, "P3D")
    assert (await retrieve(stripe_sandbox, subscription))["status"] == status


async def test_trial_when_it_is_ended_by_hand(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox, trial_period_days=14)
    await pass_time(stripe_sandbox, "P2D")
    ended = await stripe_sandbox.call("subscriptions.update", subscription["id"], trial_end="now")
    assert ended["status"] == "active"
    assert ended["billing_cycle_anchor"] == ended["items"]["data"][0]["current_period_start"]
    assert [item["amount_paid"] for item in await invoices_of(stripe_sandbox, ended)] == [0, PREMIUM]


async def test_trial_when_it_is_to_end_with_the_subscription(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox, trial_period_days=14, cancel_at_period_end=True)
    assert subscription["cancel_at"] == subscription["trial_end"]
    await pass_time(stripe_sandbox, "P15D")
    assert (await retrieve(stripe_sandbox, subscription))["status"] == "canceled"
    assert len(await invoices_of(stripe_sandbox, subscription)) == 1


async def test_renewal_when_the_customer_is_gone(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox)
    await use_method(stripe_sandbox, subscription["customer"], "pm_sbx_attach_only")
    await pass_time(stripe_sandbox, "P1M")
    await stripe_sandbox.call("customers.delete", subscription["customer"])
    await pass_time(stripe_sandbox, "P3M")
    assert (await retrieve(stripe_sandbox, subscription))["status"] == "canceled"


async def test_renewal_when_the_price_is_yearly(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox, await a_price(stripe_sandbox, 47_000, "year"))
    await pass_time(stripe_sandbox, "P11M")
    assert len(await invoices_of(stripe_sandbox, subscription)) == 1
    await pass_time(stripe_sandbox, "P1M")
    assert [item["total"] for item in await invoices_of(stripe_sandbox, subscription)] == [47_000] * 2


async def test_timers_when_much_is_put_off(stripe_sandbox: StripeSandbox) -> None:
    subscription = await subscribe(stripe_sandbox, trial_period_days=10)
    for days in (11, 12, 13, 30):
        moved = subscription["trial_start"] + days * 86_400
        await stripe_sandbox.call("subscriptions.update", subscription["id"], trial_end=moved)
    await pass_time(stripe_sandbox, "P6M")
    timers = await stripe_sandbox.sandbox.change(lambda state: list(state.document["timers"]))
    assert len([entry for entry in timers if entry["id"] == subscription["id"]]) == 1
    totals = [invoice["total"] for invoice in await invoices_of(stripe_sandbox, subscription)]
    assert totals == [0, *[PREMIUM] * (len(totals) - 1)]
    assert len(await event_types(stripe_sandbox, "customer.subscription.trial_will_end")) == 1
