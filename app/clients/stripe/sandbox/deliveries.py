"""What is sent for each event: its body and signature, with the faults that were asked for."""

import random
from dataclasses import dataclass

from pydantic_core import to_json

from app.clients.stripe.sandbox.clock import run_due
from app.clients.stripe.sandbox.events import due_events
from app.clients.stripe.sandbox.faults import take_delivery_fault
from app.clients.stripe.sandbox.state import Object, State, shown
from app.clients.stripe.signature import TOLERANCE_SECONDS, sign

OLD_VERSION = "2019-12-03"
LEASE_SECONDS = 60


@dataclass(frozen=True)
class Delivery:
    """One request that is to be sent to the intake."""

    event_id: str
    body: bytes
    signature: str


def due_deliveries(state: State) -> list[Delivery]:
    """Everything that is due now; what the clock brings is done first."""
    run_due(state)
    events = due_events(state)
    for event in events:
        # Meanwhile no other process sends it; should this one die, it is sent after that.
        event["_delivery"]["next_at"] = state.real_now + LEASE_SECONDS
    return prepare(state, events)


def prepare(state: State, events: list[Object]) -> list[Delivery]:
    """The requests for some events, in order, as the planned faults have them."""
    ready: list[Delivery] = []
    is_shuffled = False
    for event in events:
        fault = take_delivery_fault(state, event["type"])
        name = fault.name if fault else None
        if fault and name == "delay":
            event["_delivery"]["next_at"] = state.real_now + fault.seconds
            continue
        if name == "drop":
            event["_delivery"]["done"] = True
            continue
        is_shuffled = is_shuffled or name == "shuffle"
        delivery = _delivery(state, event, name)
        ready += [delivery, delivery] if name == "duplicate" else [delivery]
    if is_shuffled:
        random.shuffle(ready)
    return ready


def _delivery(state: State, event: Object, fault: str | None) -> Delivery:
    """The request for one event."""
    sent = shown(event)
    if fault == "other_livemode":
        sent["livemode"] = not sent["livemode"]
    if fault == "old_api_version":
        sent["api_version"] = OLD_VERSION
    far = 2 * TOLERANCE_SECONDS
    at = state.real_now + {"old_timestamp": -far, "future_timestamp": far}.get(fault or "", 0)
    secret = "whsec_of_somebody_else" if fault == "bad_signature" else state.document["webhook_secret"]
    body = to_json(sent)
    return Delivery(event["id"], body, sign(body, secret, at))
