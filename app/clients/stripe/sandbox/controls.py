"""What a developer or a test tells the sandbox to do: the clock, faults, payers, disputes, events."""

import re
from collections.abc import Callable
from typing import Any

from app.clients.stripe.sandbox.checkout import close_session
from app.clients.stripe.sandbox.clock import advance, run_due
from app.clients.stripe.sandbox.completing import complete
from app.clients.stripe.sandbox.disputes import close_dispute, open_dispute
from app.clients.stripe.sandbox.errors import SandboxError, invalid, unknown_url
from app.clients.stripe.sandbox.events import redeliver
from app.clients.stripe.sandbox.faults import plan_fault
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.paying import authenticate
from app.clients.stripe.sandbox.payment_intents import OPEN, unexpected
from app.clients.stripe.sandbox.refunds import fail_refund
from app.clients.stripe.sandbox.setup_intents import confirm_with, fail_setup
from app.clients.stripe.sandbox.state import Object, State, shown
from app.clients.stripe.sandbox.views import listed

Control = Callable[..., Object]

CONTROLS: list[tuple[re.Pattern[str], Control]] = []
MAX_DEPTH = 4


def control(path: str) -> Callable[[Control], Control]:
    """Register the function `(state, params, *ids)` of a control such as `refunds/{id}/fail`."""
    pattern = re.compile(path.replace("{id}", r"([A-Za-z0-9_]{1,255})"))

    def register(function: Control) -> Control:
        CONTROLS.append((pattern, function))
        return function

    return register


def run_control(state: State, path: str, body: dict[str, Any]) -> tuple[int, Object]:
    """Run a control with a body of JSON; answers status and object, as the wire does.

    A payment that is refused keeps what it left behind; any other refusal is raised.
    """
    run_due(state)
    for pattern, function in CONTROLS:
        if match := pattern.fullmatch(path):
            try:
                return 200, shown(function(state, Params(_words(body)), *match.groups()))
            except SandboxError as refusal:
                if not refusal.keep:
                    raise
                return refusal.status, refusal.body
    raise unknown_url("POST", f"/sandbox/stripe/control/{path}")


def _words(value: Any, depth: int = 0) -> Any:
    """JSON as a form would have it: everything is a string."""
    if depth > MAX_DEPTH:
        raise invalid("The body is nested too deeply.")
    match value:
        case dict():
            return {name: _words(item, depth + 1) for name, item in value.items() if item is not None}
        case list():
            return [_words(item, depth + 1) for item in value]
        case bool():
            return "true" if value else "false"
        case _:
            text = str(value)
            try:
                text.encode()
            except UnicodeEncodeError:
                raise invalid("The body holds half a character.") from None
            return text


@control("clock")
def move_clock(state: State, params: Params) -> Object:
    """Move the clock by `advance`; `dunning_end` says what the last failed retry does: cancel or unpaid."""
    if "dunning_end" in params:
        state.document["settings"]["dunning_end"] = params.choice(
            "dunning_end", "cancel", ("cancel", "unpaid")
        )
    if "advance" in params or "dunning_end" not in params:
        advance(state, params.need("advance"))
    return {"object": "clock", "now": state.now, "offset": state.document["offset"]}


@control("faults")
def add_fault(state: State, params: Params) -> Object:
    """Plan a fault."""
    return plan_fault(state, params)


@control("sessions/{id}/complete")
def complete_session(state: State, params: Params, identifier: str) -> Object:
    """Do on the page of a session what a payer would do."""
    return complete(state, identifier, params.text("outcome", "card") or "card")


@control("sessions/{id}/expire")
def expire_session(state: State, _: Params, identifier: str) -> Object:
    """Let a session be over, as after 24 hours."""
    session = state.get("checkout.session", identifier)
    if session["status"] != "open":
        raise invalid(f"This session is {session['status']}.")
    close_session(state, session)
    return session


@control("authenticate/{id}")
def answer_authentication(state: State, params: Params, identifier: str) -> Object:
    """Answer 3-D Secure for an intent that waits for it."""
    passes = params.boolean("passes", default=True)
    intent = state.find("payment_intent", identifier) or state.get("setup_intent", identifier)
    if intent["status"] != "requires_action":
        raise unexpected(intent, "there is nothing to authenticate")
    if intent["object"] == "payment_intent":
        authenticate(state, intent, passes=passes)
    elif passes:
        intent.update(_authenticated=True, status=OPEN[1])
        confirm_with(state, intent, None)
    else:
        method = state.get("payment_method", intent["payment_method"])
        fail_setup(state, intent, method, "setup_intent_authentication_failure", None)
    return intent


@control("refunds/{id}/fail")
def let_refund_fail(state: State, _: Params, identifier: str) -> Object:
    """Let a refund fail after all."""
    return fail_refund(state, identifier)


@control("disputes")
def dispute_charge(state: State, params: Params) -> Object:
    """Let the buyer of a charge dispute it; `warning` makes it an inquiry."""
    return open_dispute(
        state,
        params.need("charge"),
        reason=params.text("reason", "fraudulent") or "fraudulent",
        is_warning=params.boolean("warning"),
    )


@control("disputes/{id}/close")
def decide_dispute(state: State, params: Params, identifier: str) -> Object:
    """Decide a dispute: won, lost or warning_closed."""
    return close_dispute(state, identifier, params.need("outcome"))


@control("events")
def list_log(state: State, params: Params) -> Object:
    """The newest events with how their delivery went, undelivered ones only with `pending`."""
    pending = params.boolean("pending")
    found = [
        {**shown(event), "delivery": event["_delivery"]}
        for event in state.all("event")
        if not (pending and event["_delivery"]["done"])
    ]
    return listed("/sandbox/stripe/control/events", found[:100], has_more=len(found) > 100)


@control("events/{id}/redeliver")
def send_again(state: State, _: Params, identifier: str) -> Object:
    """Deliver an event once more."""
    return redeliver(state, identifier)


@control("reset")
def reset(state: State, _: Params) -> Object:
    """Forget everything but the webhook secret."""
    secret = state.document["webhook_secret"]
    state.document.clear()
    State(state.document, state.base_url).document["webhook_secret"] = secret
    return {"object": "sandbox", "reset": True}
