"""Faults on demand: of the next requests that match, or of the next deliveries."""

from dataclasses import dataclass

from app.clients.stripe.sandbox.errors import invalid
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.state import Object, State, new_id

OF_REQUESTS = (
    "timeout_before",
    "timeout_after",
    "connection_reset",
    "http_500",
    "http_503",
    "rate_limited",
    "slow",
    "not_json",
)
OF_DELIVERIES = (
    "duplicate",
    "drop",
    "delay",
    "shuffle",
    "bad_signature",
    "old_timestamp",
    "future_timestamp",
    "other_livemode",
    "old_api_version",
)
MAX_SECONDS = 300


@dataclass(frozen=True)
class Fault:
    """What goes wrong once; `seconds` is how long something is slow or late."""

    name: str
    seconds: int


def plan_fault(state: State, params: Params) -> Object:
    """Let the next `times` requests that match `{method, path}`, or deliveries of a `{type}`, go wrong.

    A path or a type may end in `*`. What is not named matches everything.
    """
    name = params.choice("fault", params.need("fault"), (*OF_REQUESTS, *OF_DELIVERIES))
    match = params.hash("match")
    times, seconds = params.number("times", 1), params.number("seconds", 1)
    fault: Object = {
        "id": new_id("fault"),
        "match": {part: match.text(part) for part in ("method", "path", "type")},
        "times": times,
        "fault": name,
        "seconds": seconds,
    }
    if not 1 <= times <= 1000 or not 0 <= seconds <= MAX_SECONDS:
        raise invalid("Name 1 to 1000 times, and at most 300 seconds.", param="times")
    state.document["faults"].append(fault)
    return fault


def take_request_fault(state: State, method: str, path: str) -> Fault | None:
    """The fault of this request, which counts as having happened."""
    return _take(state, OF_REQUESTS, {"method": method, "path": path})


def take_delivery_fault(state: State, event_type: str) -> Fault | None:
    """The fault of this delivery, which counts as having happened."""
    return _take(state, OF_DELIVERIES, {"type": event_type})


def _take(state: State, names: tuple[str, ...], actual: dict[str, str]) -> Fault | None:
    faults = state.document["faults"]
    for planned in faults:
        if planned["fault"] in names and all(
            _fits(planned["match"][part], value) for part, value in actual.items()
        ):
            planned["times"] -= 1
            if planned["times"] == 0:
                faults.remove(planned)
            return Fault(planned["fault"], planned["seconds"])
    return None


def _fits(wanted: str | None, actual: str) -> bool:
    if wanted is None:
        return True
    if wanted.endswith("*"):
        return actual.startswith(wanted[:-1])
    return actual.upper() == wanted.upper()
