"""Subscription schedules: made from a subscription, given phases, released and cancelled."""

from datetime import UTC, datetime

from app.clients.stripe.sandbox.changing import PRORATIONS, switch_items
from app.clients.stripe.sandbox.clock import add_months
from app.clients.stripe.sandbox.due import ENDED
from app.clients.stripe.sandbox.errors import invalid, required
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.periods import (
    MONTHS,
    SECONDS,
    check_items,
    current_period,
    items_of,
    quantity_of,
    recurring_price,
)
from app.clients.stripe.sandbox.phases import end_as_scheduled, items_for, release
from app.clients.stripe.sandbox.played import only
from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.standing import change, end
from app.clients.stripe.sandbox.state import DAY, Object, State

LIVE = ("active", "not_started")
END_BEHAVIORS = ("cancel", "release")
LONGEST_PHASE = 5 * 366 * DAY
MOST = {"day": 1825, "week": 260, "month": 60, "year": 5}
"""The longest duration of a phase, in each interval."""


@route("POST", "/v1/subscription_schedules", "SubscriptionScheduleCreateParams")
def create_schedule(state: State, params: Params) -> Object:
    """A schedule whose one phase is the subscription's period; Stripe lets nothing else be said here."""
    for name in params.values:
        if name not in {"from_subscription", "expand"}:
            raise invalid(f"You cannot set `{name}` if `from_subscription` is set.", param=name)
    subscription = state.get("subscription", params.need("from_subscription"), "from_subscription")
    if subscription["status"] in (*ENDED, "incomplete"):
        raise invalid("The subscription is not active, so that no schedule can manage it.")
    if subscription["schedule"]:
        raise invalid(
            "You cannot migrate a subscription that is already attached to a schedule: "
            f"`{subscription['schedule']}`."
        )
    start, until = current_period(subscription)
    phase = _phase(subscription, start, until, _present_items(subscription), "create_prorations")
    phase["trial_end"] = subscription["trial_end"] if subscription["status"] == "trialing" else None
    schedule = state.create(
        "subscription_schedule",
        "sub_sched",
        application=None,
        billing_mode=dict(subscription["billing_mode"]),
        canceled_at=None,
        completed_at=None,
        current_phase={"start_date": start, "end_date": until},
        customer=subscription["customer"],
        default_settings={
            "application_fee_percent": None,
            "automatic_tax": dict(subscription["automatic_tax"]),
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": None,
            "collection_method": "charge_automatically",
            "default_payment_method": subscription["default_payment_method"],
            "description": subscription["description"],
            "invoice_settings": {
                "account_tax_ids": None,
                "days_until_due": None,
                "issuer": {"type": "self"},
            },
            "on_behalf_of": None,
            "transfer_data": None,
        },
        end_behavior="cancel" if subscription["cancel_at_period_end"] else "release",
        pause_schedules=[],
        phases=[phase],
        released_at=None,
        released_subscription=None,
        status="active",
        subscription=subscription["id"],
        test_clock=None,
    )
    state.emit("subscription_schedule.created", schedule)
    change(state, subscription, schedule=schedule["id"])
    return schedule


def _present_items(subscription: Object) -> list[Object]:
    return [_phase_item(item["price"]["id"], item["quantity"]) for item in items_of(subscription)]


def _phase_item(price_id: str, quantity: int) -> Object:
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": {},
        "plan": price_id,
        "price": price_id,
        "quantity": quantity,
        "tax_rates": [],
    }


def _phase(subscription: Object, start: int, until: int, items: list[Object], proration: str) -> Object:
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "currency": subscription["currency"],
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "end_date": until,
        "invoice_settings": None,
        "items": items,
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": proration,
        "start_date": start,
        "transfer_data": None,
        "trial_end": None,
    }


@route("POST", "/v1/subscription_schedules/{id}", "SubscriptionScheduleUpdateParams")
def update_schedule(state: State, params: Params, identifier: str) -> Object:
    """Give a schedule other phases; the current one must be among them, and keeps its start."""
    only(params, "phases", "end_behavior", "metadata", "proration_behavior")
    schedule = _live(state, identifier)
    subscription = state.get("subscription", schedule["subscription"])
    changes: Object = {
        "end_behavior": params.choice("end_behavior", schedule["end_behavior"], END_BEHAVIORS),
        "metadata": params.metadata(schedule["metadata"]),
    }
    current: Object | None = None
    if "phases" in params:
        phases = _phases(state, params, subscription, schedule)
        current = next(phase for phase in phases if phase["start_date"] <= state.now < phase["end_date"])
        changes["phases"] = phases
        changes["current_phase"] = {name: current[name] for name in ("start_date", "end_date")}
    state.update(schedule, "subscription_schedule.updated", **changes)
    change(state, subscription, **end_as_scheduled(schedule))
    if current is not None:
        proration = params.choice("proration_behavior", PRORATIONS[0], PRORATIONS)
        switch_items(state, subscription, items_for(state, subscription, current), proration)
    return schedule


def _phases(state: State, params: Params, subscription: Object, schedule: Object) -> list[Object]:
    """The phases of a form, each beginning where the one before ends."""
    phases: list[Object] = []
    held = schedule["current_phase"]["start_date"]
    for given in params.hashes("phases"):
        only(
            given,
            *("items", "start_date", "end_date", "duration", "proration_behavior", "metadata", "currency"),
            *("billing_cycle_anchor", "collection_method"),
        )
        start = given.integer("start_date")
        following = phases[-1]["end_date"] if phases else held
        if start is None and not phases:
            raise invalid("The first phase must have a `start_date`.", param=given.name("start_date"))
        if start not in (None, following):
            raise invalid(
                "The start date of a phase must be the current phase's, or the end of the phase before.",
                param=given.name("start_date"),
            )
        items = _phase_items(state, given, subscription["currency"])
        until = _end_of(state, given, following, items)
        proration = given.choice("proration_behavior", PRORATIONS[0], PRORATIONS)
        phase = _phase(subscription, following, until, items, proration)
        phase["metadata"] = given.metadata()
        phases.append(phase)
    if not phases or phases[0]["end_date"] <= state.now:
        raise invalid("The current phase must be among the phases, and end in the future.", param="phases")
    return phases


def _phase_items(state: State, given: Params, currency: str) -> list[Object]:
    """The items of a phase, which could stand on the subscription together."""
    named = [(recurring_price(state, item), quantity_of(item)) for item in given.hashes("items")]
    if not named:
        raise required(given.name("items"))
    check_items([{"price": price} for price, _ in named])
    if named[0][0]["currency"] != currency:
        raise invalid(f"The price must be in {currency}.", param=given.name("items"))
    return [_phase_item(price["id"], quantity) for price, quantity in named]


def _end_of(state: State, given: Params, start: int, items: list[Object]) -> int:
    """When a phase ends: at a time, after a duration, or after one period of its price."""
    if "end_date" in given and "duration" in given:
        raise invalid("A phase has either an `end_date` or a `duration`.", param=given.name("duration"))
    if "end_date" in given:
        until = given.need_integer("end_date")
        if not start < until <= start + LONGEST_PHASE:
            raise invalid("A phase ends after it starts, within five years.", param=given.name("end_date"))
        return until
    recurring = state.get("price", items[0]["price"])["recurring"]
    interval, count = recurring["interval"], recurring["interval_count"]
    if "duration" in given:
        duration = given.hash("duration")
        interval = duration.choice("interval", duration.need("interval"), (*SECONDS, *MONTHS))
        count = duration.number("interval_count", 1)
        if not 1 <= count <= MOST[interval]:
            raise invalid("A phase lasts five years at most.", param=duration.name("interval_count"))
    if interval in SECONDS:
        return int(start + SECONDS[interval] * count)
    return int(add_months(datetime.fromtimestamp(start, UTC), MONTHS[interval] * count).timestamp())


def _live(state: State, identifier: str) -> Object:
    """A schedule that still manages its subscription."""
    schedule = state.get("subscription_schedule", identifier)
    if schedule["status"] not in LIVE:
        raise invalid(
            f"You cannot change a subscription schedule that is in the `{schedule['status']}` status."
        )
    return schedule


@route("POST", "/v1/subscription_schedules/{id}/release", "SubscriptionScheduleReleaseParams")
def release_schedule(state: State, params: Params, identifier: str) -> Object:
    """Let the subscription go on as it is now, without a schedule."""
    schedule = _live(state, identifier)
    subscription = state.get("subscription", schedule["subscription"])
    release(state, subscription, schedule, keeps_end=params.boolean("preserve_cancel_date"))
    return schedule


@route("POST", "/v1/subscription_schedules/{id}/cancel", "SubscriptionScheduleCancelParams")
def cancel_schedule(state: State, params: Params, identifier: str) -> Object:
    """Cancel a schedule, and its subscription with it."""
    only(params)
    schedule = _live(state, identifier)
    end(state, state.get("subscription", schedule["subscription"]), "cancellation_requested")
    return schedule


retrievable("subscription_schedule", "/v1/subscription_schedules", "SubscriptionScheduleRetrieveParams")
listable(
    "subscription_schedule",
    "/v1/subscription_schedules",
    "SubscriptionScheduleListParams",
    customer="customer",
)
