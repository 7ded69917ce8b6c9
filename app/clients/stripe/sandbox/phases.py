"""The phases of a schedule: which one holds, what comes next, and what entering it does."""

from app.clients.stripe.sandbox.changing import switch_items
from app.clients.stripe.sandbox.due import phase_ends_at
from app.clients.stripe.sandbox.periods import (
    current_period,
    is_same_interval,
    item_list,
    items_of,
    new_item,
    set_price,
)
from app.clients.stripe.sandbox.standing import change, end
from app.clients.stripe.sandbox.state import Object, State, copied

WITHOUT_END: Object = {"cancel_at": None, "cancel_at_period_end": False, "canceled_at": None}
"""A subscription that goes on."""


def next_phase(schedule: Object) -> Object | None:
    """The phase after the current one."""
    following = schedule["current_phase"]["end_date"]
    return next((phase for phase in schedule["phases"] if phase["start_date"] == following), None)


def items_for(state: State, subscription: Object, phase: Object) -> list[Object]:
    """The subscription's items as a phase has them; the first keep their ids."""
    start, until = current_period(subscription)
    before = items_of(subscription)
    items: list[Object] = []
    for position, wanted in enumerate(phase["items"]):
        price = state.get("price", wanted["price"], "phases")
        if position < len(before):
            item = copied(before[position])
            if (item["price"]["id"], item["quantity"]) != (price["id"], wanted["quantity"]):
                item.pop("_paid", None)
            set_price(item, price)
            item["quantity"] = wanted["quantity"]
        else:
            period = {"start": start, "end": until}
            item = new_item(state, subscription["id"], price, wanted["quantity"], period)
        items.append(item)
    return items


def following_items(state: State, subscription: Object) -> list[Object]:
    """The items that the next period is to have: the next phase's, where one begins with it."""
    schedule = state.find("subscription_schedule", subscription["schedule"])
    if schedule is None or phase_ends_at(state, subscription) != current_period(subscription)[1]:
        return items_of(subscription)
    phase = next_phase(schedule)
    return items_of(subscription) if phase is None else items_for(state, subscription, phase)


def leave_phase(state: State, subscription: Object) -> None:
    """Let the next phase of the schedule begin, or the schedule be over."""
    schedule = state.get("subscription_schedule", subscription["schedule"])
    phase = next_phase(schedule)
    if phase is None:
        finish(state, subscription, schedule)
        return
    current = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    state.update(schedule, "subscription_schedule.updated", current_phase=current)
    items = items_for(state, subscription, phase)
    metadata = {**subscription["metadata"], **phase["metadata"]}
    if current_period(subscription)[1] > state.now:
        change(state, subscription, metadata=metadata)
        switch_items(state, subscription, items, phase["proration_behavior"])
        return
    # The period ends at this moment too: the renewal that follows bills the new items.
    changes: Object = {"items": item_list(subscription["id"], items), "metadata": metadata}
    recurring = items[0]["price"]["recurring"]
    if not is_same_interval(recurring, items_of(subscription)[0]["price"]["recurring"]):
        changes["billing_cycle_anchor"] = state.now
    state.update(subscription, "customer.subscription.updated", **changes)


def finish(state: State, subscription: Object, schedule: Object) -> None:
    """End a schedule after its last phase, and the subscription with it where it says so."""
    if schedule["end_behavior"] == "cancel":
        subscription["schedule"] = None
        schedule.update(completed_at=state.now, current_phase=None, status="completed")
        state.emit("subscription_schedule.completed", schedule)
        end(state, subscription, "cancellation_requested")
        return
    release(state, subscription, schedule)


def end_as_scheduled(schedule: Object) -> Object:
    """When the subscription is to end by its schedule: with the last phase, or not at all."""
    if schedule["end_behavior"] != "cancel":
        return dict(WITHOUT_END)
    return {"cancel_at": schedule["phases"][-1]["end_date"], "cancel_at_period_end": False}


def release(state: State, subscription: Object, schedule: Object, *, keeps_end: bool = False) -> None:
    """Let a subscription go on without its schedule, and without the end that the schedule had set."""
    schedule.update(
        current_phase=None,
        released_at=state.now,
        released_subscription=subscription["id"],
        status="released",
        subscription=None,
    )
    state.emit("subscription_schedule.released", schedule)
    change(state, subscription, schedule=None, **({} if keeps_end else WITHOUT_END))
