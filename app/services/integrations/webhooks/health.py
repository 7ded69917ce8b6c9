"""How an endpoint's row changes with what its requests come to: warnings, circuit, disabling."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.models.integrations import WebhookEndpoint
from app.services.integrations.webhooks.outcomes import Outcome
from app.services.integrations.webhooks.schedule import (
    DISABLED_AFTER,
    DISABLED_FAILURES,
    asked_wait,
    circuit_pause,
    opens_circuit,
    warnings_due,
)

HEALTHY: dict[str, Any] = {
    "circuit": "closed",
    "circuit_until": None,
    "circuit_step": 0,
    "failure_count": 0,
    "failing_since": None,
    "failed_since_count": 0,
    "warned_step": 0,
}
"""What a success makes of an endpoint."""

PING_PATIENCE = timedelta(seconds=60)
"""A ping without an outcome after this has lost its worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a failure means for its endpoint: columns that change, and what is told of it."""

    values: dict[str, Any]
    warns: bool = False
    disables: bool = False
    opens: bool = False
    """Whether it is left alone from now on, until `values["circuit_until"]`."""


def after_success(outcome: Outcome, now: datetime) -> dict[str, Any]:
    """The columns after a delivery was taken."""
    return {
        **HEALTHY,
        "last_success_at": now,
        "last_triggered_at": now,
        "last_response_status": outcome.status,
    }


def after_failure(endpoint: WebhookEndpoint, outcome: Outcome, now: datetime) -> Verdict:
    """What a failed delivery means, whose status is not 410."""
    values = _counted(endpoint, outcome, now)
    values["failure_count"] = endpoint.failure_count + 1
    is_sent_to = endpoint.status == "active" and endpoint.circuit == "closed"
    opens = is_sent_to and opens_circuit(outcome.status, values["failure_count"])
    return _judged(endpoint, outcome, now, values, opens=opens)


def after_ping(endpoint: WebhookEndpoint, outcome: Outcome, now: datetime) -> Verdict:
    """What the answer to a ping means: it keeps the circuit open, or closes it.

    A success of a ping is none of a delivery: what went before is forgotten when a delivery is taken, or at
    once where none waits for it.
    """
    if outcome.is_success:
        return Verdict(values=_closed(outcome, now))
    values = _counted(endpoint, outcome, now)
    if not keeps_open(outcome):
        return Verdict(values={**values, **_closed(outcome, now)})
    return _judged(endpoint, outcome, now, values, opens=True)


def keeps_open(outcome: Outcome) -> bool:
    """Whether nobody is there yet: no answer, 410, 429 or 5xx."""
    return outcome.status is None or outcome.status in {410, 429} or outcome.status >= 500


def _closed(outcome: Outcome, now: datetime) -> dict[str, Any]:
    return {
        "circuit": "closed",
        "circuit_until": None,
        "last_triggered_at": now,
        "last_response_status": outcome.status,
    }


def _counted(endpoint: WebhookEndpoint, outcome: Outcome, now: datetime) -> dict[str, Any]:
    return {
        "failing_since": endpoint.failing_since or now,
        "failed_since_count": endpoint.failed_since_count + 1,
        "last_triggered_at": now,
        "last_response_status": outcome.status,
    }


def _judged(
    endpoint: WebhookEndpoint, outcome: Outcome, now: datetime, values: dict[str, Any], *, opens: bool
) -> Verdict:
    """Whether the failure disables the endpoint, and else whether it warns and opens the circuit."""
    failing_for: timedelta = now - values["failing_since"]
    is_hopeless = failing_for >= DISABLED_AFTER and values["failed_since_count"] >= DISABLED_FAILURES
    if endpoint.status == "active" and is_hopeless:
        ended = {"status": "disabled", "disabled_reason": "failing", "disabled_at": now}
        return Verdict(values={**values, **ended}, disables=True)
    due = warnings_due(failing_for)
    warns = due > endpoint.warned_step
    if warns:
        values["warned_step"] = due
    if opens:
        step = endpoint.circuit_step
        pause = circuit_pause(step, asked_wait(outcome.status, outcome.retry_after_s))
        values |= {"circuit": "open", "circuit_until": now + pause, "circuit_step": step + 1}
    return Verdict(values=values, warns=warns, opens=opens)
