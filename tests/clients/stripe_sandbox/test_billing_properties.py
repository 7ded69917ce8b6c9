"""A year of a subscription with random clock steps, failures and changes keeps what must always hold."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.clients.stripe import StripeError, sandbox_client
from app.clients.stripe.sandbox.clock import advance
from app.clients.stripe.sandbox.invoice_objects import intent_of
from app.clients.stripe.sandbox.sandbox import Sandbox
from app.clients.stripe.sandbox.state import Object, State, shown
from app.clients.stripe.sandbox.store import MemoryStore
from tests.support.stripe_billing import a_customer, a_price, use_method
from tests.support.stripe_sandbox import StripeSandbox

METHODS = (
    "pm_card_visa",
    "pm_card_visa",
    "pm_sbx_attach_only",
    "pm_card_authenticationRequired",
    "pm_sbx_sepa",
    "pm_sbx_sepa_fails",
)
AMOUNTS = ((4700, "month"), (14_900, "month"), (47_000, "year"), (999, "week"))
ENDED = ("canceled", "incomplete_expired")

Step = tuple[str, Any]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 45 * 24)),
    st.tuples(st.just("wait"), st.integers(1, 45 * 24)),
    st.tuples(st.just("method"), st.sampled_from(METHODS)),
    st.tuples(
        st.just("change"),
        st.tuples(
            st.integers(0, len(AMOUNTS) - 1),
            st.sampled_from(("always_invoice", "create_prorations", "none")),
            st.sampled_from(("pending_if_incomplete", "allow_incomplete", "error_if_incomplete")),
        ),
    ),
    st.tuples(st.just("schedule"), st.integers(0, len(AMOUNTS) - 1)),
    st.tuples(st.just("release"), st.none()),
    st.tuples(st.just("ending"), st.booleans()),
    st.tuples(st.just("pay"), st.sampled_from(("pm_card_visa", "pm_sbx_sepa"))),
    st.tuples(st.just("void"), st.none()),
    st.tuples(st.just("trial"), st.none()),
)


class Story:
    """One subscription, and everything that is done to it."""

    def __init__(self, sandbox: StripeSandbox) -> None:
        self.sandbox = sandbox
        self.prices: list[str] = []
        self.subscription: dict[str, Any] = {}
        self.shown_amounts: list[tuple[int, int]] = []
        self.held: set[str] = set()
        """The invoices of pending updates that never were applied."""

    async def begin(self, trial_days: int, coupon: dict[str, Any] | None, *, taxed: bool) -> None:
        """Subscribe to the first price."""
        call = self.sandbox.call
        self.prices = [await a_price(self.sandbox, amount, interval) for amount, interval in AMOUNTS]
        more: dict[str, Any] = {"trial_period_days": trial_days} if trial_days else {}
        if coupon is not None:
            made = await call("coupons.create", **coupon)
            more["discounts"] = [{"coupon": made["id"]}]
        self.subscription = await call(
            "subscriptions.create",
            customer=await a_customer(self.sandbox),
            items=[{"price": self.prices[0]}],
            automatic_tax={"enabled": taxed},
            **more,
        )

    async def do(self, step: Step) -> None:
        """Take a step; Stripe may refuse it, but must stay consistent."""
        kind, value = step
        try:
            await getattr(self, f"_{kind}")(value)
        except StripeError as refusal:
            # A refusal of Stripe is fine; an address or parameter that it does not know is not.
            if str(refusal).startswith(("Unrecognized", "Received unknown")):
                raise

    async def _wait(self, hours: int) -> None:
        await self.sandbox.sandbox.change(lambda state: advance(state, f"PT{hours}H"))

    async def _method(self, method: str) -> None:
        await use_method(self.sandbox, self.subscription["customer"], method)

    async def _change(self, value: tuple[int, str, str]) -> None:
        price, proration, behavior = value
        now = await self.sandbox.call("subscriptions.retrieve", self.subscription["id"])
        items = [{"id": now["items"]["data"][0]["id"], "price": self.prices[price]}]
        asked = {"items": items, "proration_behavior": proration}
        preview = await self.sandbox.call(
            "invoices.create_preview", subscription=now["id"], subscription_details=asked
        )
        moment = preview["parent"]["subscription_details"].get("subscription_proration_date")
        more = {} if moment is None else {"proration_date": moment}
        changed = await self.sandbox.call(
            "subscriptions.update", now["id"], **asked, payment_behavior=behavior, **more
        )
        if moment is not None and changed["latest_invoice"] != now["latest_invoice"]:
            invoice = await self.sandbox.call("invoices.retrieve", changed["latest_invoice"])
            self.shown_amounts.append((preview["amount_due"], invoice["amount_due"]))

    async def _schedule(self, price: int) -> None:
        schedule = await self.sandbox.call(
            "subscription_schedules.create", from_subscription=self.subscription["id"]
        )
        current = schedule["phases"][0]
        first = {
            "items": [{"price": current["items"][0]["price"]}],
            "start_date": current["start_date"],
            "end_date": current["end_date"],
        }
        phases = [first, {"items": [{"price": self.prices[price]}]}]
        await self.sandbox.call("subscription_schedules.update", schedule["id"], phases=phases)

    async def _release(self, _: None) -> None:
        now = await self.sandbox.call("subscriptions.retrieve", self.subscription["id"])
        if now["schedule"]:
            await self.sandbox.call("subscription_schedules.release", now["schedule"])

    async def _ending(self, value: bool) -> None:
        identifier = self.subscription["id"]
        await self.sandbox.call("subscriptions.update", identifier, cancel_at_period_end=value)

    async def _pay(self, method: str) -> None:
        for invoice in (await self.sandbox.call("invoices.list", status="open"))["data"]:
            await self.sandbox.call("invoices.pay", invoice["id"], payment_method=method)

    async def _void(self, _: None) -> None:
        for invoice in (await self.sandbox.call("invoices.list", status="open"))["data"]:
            await self.sandbox.call("invoices.void_invoice", invoice["id"])

    async def _trial(self, _: None) -> None:
        await self.sandbox.call("subscriptions.update", self.subscription["id"], trial_end="now")


def check_invoices(invoices: list[Object], customer: Object) -> None:
    """Sums equal their lines; what is due is paid or remains; balances lead on from each other."""
    for invoice in invoices:
        lines = invoice["lines"]["data"]
        off = sum(part["amount"] for line in lines for part in line["discount_amounts"])
        added = sum(
            tax["amount"] for line in lines for tax in line["taxes"] if tax["tax_behavior"] == "exclusive"
        )
        assert invoice["subtotal"] == sum(line["amount"] for line in lines)
        assert invoice["total"] == invoice["subtotal"] - off + added
        assert invoice["amount_due"] >= 0
        if invoice["status"] in {"paid", "open"}:
            assert invoice["amount_due"] == invoice["amount_paid"] + invoice["amount_remaining"]
            moved = invoice["ending_balance"] - invoice["starting_balance"]
            assert invoice["total"] == invoice["amount_due"] + moved
    kept = [invoice for invoice in invoices if invoice["status"] in {"paid", "open"}]
    assert customer["balance"] == sum(item["ending_balance"] - item["starting_balance"] for item in kept)
    numbers = [invoice["number"] for invoice in invoices if invoice["number"]]
    assert len(set(numbers)) == len(numbers)


def check_periods(invoices: list[Object], subscription: Object, held: set[str]) -> None:
    """Renewals follow each other without gap or overlap, each with one invoice."""
    renewals = [
        (line["period"]["start"], line["period"]["end"], invoice)
        for invoice in invoices
        for line in invoice["lines"]["data"]
        if line["parent"]["type"] == "subscription_item_details"
        and not (invoice["id"] in held and invoice["status"] in {"open", "void"})
    ]
    for before, after in pairwise(renewals):
        if after[2]["billing_reason"] == "subscription_cycle":
            assert after[0] == before[1], "a renewal begins where the period before ends"
        else:
            assert before[0] <= after[0] <= before[1], "a change begins within the period before"
    cycles = Counter(
        start for start, _, invoice in renewals if invoice["billing_reason"] == "subscription_cycle"
    )
    assert all(count == 1 for count in cycles.values())
    item = subscription["items"]["data"][0]
    assert item["current_period_end"] > item["current_period_start"]
    if renewals and subscription["status"] not in ENDED:
        assert (item["current_period_start"], item["current_period_end"]) == renewals[-1][:2]


def owed(state: State, invoices: list[Object], subscription: Object) -> Iterator[Object]:
    """The open invoices that were refused."""
    held = (subscription.get("_held") or {}).get("invoice")
    for invoice in invoices:
        intent = intent_of(state, invoice)
        is_under_way = intent is not None and intent["status"] == "processing"
        if invoice["status"] == "open" and invoice["id"] != held and not is_under_way:
            yield invoice


def check(state: State, identifier: str, held: set[str]) -> None:
    """Everything that must hold between two steps."""
    subscription = state.get("subscription", identifier)
    waiting = (subscription.get("_held") or {}).get("invoice")
    applied = {name for name in held if name != waiting and state.get("invoice", name)["status"] != "void"}
    held -= applied
    if waiting is not None:
        held.add(waiting)
    customer = state.get("customer", subscription["customer"])
    invoices = list(state.all("invoice"))[::-1]
    check_invoices(invoices, customer)
    check_periods(invoices, subscription, held)
    assert bool(subscription.get("_held")) == (subscription["pending_update"] is not None)
    if subscription["status"] == "active":
        assert not list(owed(state, invoices, subscription))
    if subscription["status"] == "past_due":
        assert [invoice for invoice in invoices if invoice["status"] == "open" and invoice["attempted"]]
    if subscription["status"] in ENDED:
        assert all(invoice["next_payment_attempt"] is None for invoice in invoices)
        assert subscription["pending_update"] is None
    last: dict[str, Object] = {}
    for event in state.objects.values():
        if event["object"] == "event" and event["type"] != "invoice.upcoming":
            last[event["data"]["object"]["id"]] = event["data"]["object"]
    told = last[identifier]
    silent = {"latest_invoice", "discounts"}
    now = shown(subscription)
    assert {name for name in now if now[name] != told[name]} <= silent, "a change that nobody was told of"
    for invoice in invoices:
        assert last[invoice["id"]]["status"] == invoice["status"]


async def run(steps: list[Step], trial_days: int, coupon: dict[str, Any] | None, *, taxed: bool) -> None:
    sandbox = Sandbox(MemoryStore(), "http://api.luneo.test/sandbox/stripe")
    story = Story(StripeSandbox(sandbox, sandbox_client(sandbox)))
    await story.begin(trial_days, coupon, taxed=taxed)
    for step in steps:
        await story.do(step)
        await sandbox.change(lambda state: check(state, story.subscription["id"], story.held))
    assert all(shown_amount == asked for shown_amount, asked in story.shown_amounts)


@settings(max_examples=20, deadline=None)
@given(
    steps=st.lists(STEPS, min_size=5, max_size=25),
    trial_days=st.sampled_from((0, 0, 2, 14)),
    coupon=st.sampled_from(
        (
            None,
            {"percent_off": 30, "duration": "forever"},
            {"amount_off": 1500, "currency": "eur", "duration": "once"},
            {"percent_off": 12.5, "duration": "repeating", "duration_in_months": 3},
        )
    ),
    taxed=st.booleans(),
)
def test_subscription_when_a_year_is_eventful(
    steps: list[Step], trial_days: int, coupon: dict[str, Any] | None, taxed: bool
) -> None:
    asyncio.run(run(steps, trial_days, coupon, taxed=taxed))
