"""The rules of webhooks without a database: patterns, waits, warnings, signatures."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from app.core import clock
from app.core.ids import uuid7
from app.jobs.app import load_areas
from app.models.integrations import WebhookEndpoint
from app.services.integrations.webhooks.health import HEALTHY, after_failure, after_ping, after_success
from app.services.integrations.webhooks.outcomes import Message, Outcome, headers_of
from app.services.integrations.webhooks.patterns import patterns_of, unknown_patterns, wants
from app.services.integrations.webhooks.schedule import STEPS, asked_wait, circuit_pause, next_wait
from app.services.integrations.webhooks.signing import new_secret, open_secret

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def endpoint(**values: Any) -> WebhookEndpoint:
    return WebhookEndpoint(**{**HEALTHY, "status": "active", **values})


def failed(status: int | None = 500, **more: Any) -> Outcome:
    return Outcome(error_code="http_5xx", hint=None, duration_ms=1, status=status, **more)


def test_patterns_when_a_type_has_three_parts() -> None:
    assert patterns_of("a.b.c") == ["a.b.c", "a.b.*", "a.*", "*"]
    assert wants(["x.y", "a.*"], "a.b.c")
    assert not wants(["a.b", "ab.*", "a.b.c.*"], "a.b.c")


def test_patterns_when_they_name_nothing() -> None:
    load_areas()
    patterns = [
        "order.paid",
        "order.*",
        "*",
        "order",
        "orde.*",
        "webhook.ping",
        "auth.signed_in",
        "**",
        "*.paid",
    ]
    assert unknown_patterns(patterns) == [3, 4, 5, 6, 7, 8]


@given(tries=st.integers(1, 9), asked=st.integers(0, 10**9))
def test_wait_when_an_attempt_has_failed(tries: int, asked: int) -> None:
    """Within a fifth of its step, or what the endpoint asks for, which is six hours at most."""
    wait = next_wait(tries, asked_wait(429, asked))
    assert wait is not None
    wanted = min(timedelta(seconds=asked), 6 * HOUR)
    assert max(STEPS[tries] * 0.8, wanted) <= wait <= max(STEPS[tries] * 1.2, wanted)


def test_wait_when_the_last_attempt_has_failed() -> None:
    assert next_wait(10, timedelta(0)) is None
    assert len(STEPS) == 10


@pytest.mark.parametrize(("status", "counts"), [(429, True), (503, True), (500, False), (None, False)])
def test_retry_after_when_the_status_is(status: int | None, counts: bool) -> None:
    assert asked_wait(status, 60) == timedelta(seconds=60 if counts else 0)
    assert asked_wait(status, None) == timedelta(0)


def test_pause_when_it_grows() -> None:
    pauses = [circuit_pause(step, timedelta(0)).total_seconds() for step in (0, 1, 2, 3, 4, 5, 32_767)]
    assert pauses == [30, 120, 480, 1920, 7680, 21_600, 21_600]
    assert circuit_pause(0, HOUR) == HOUR


@pytest.mark.parametrize(
    ("status", "before", "opens"),
    [(429, 0, True), (502, 0, True), (503, 0, True), (504, 0, True), (500, 0, False), (500, 3, False),
     (500, 4, True), (None, 4, True), (404, 4, True)],
)  # fmt: skip
def test_circuit_when_an_attempt_fails(status: int | None, before: int, opens: bool) -> None:
    verdict = after_failure(endpoint(failure_count=before), failed(status), NOW)
    assert verdict.opens is opens
    assert verdict.values.get("circuit", "closed") == ("open" if opens else "closed")
    assert verdict.values["failure_count"] == before + 1


def test_circuit_when_it_is_open_already() -> None:
    """What was under way when it opened makes its pause no longer."""
    verdict = after_failure(endpoint(circuit="open", circuit_step=1), failed(503), NOW)
    assert not verdict.opens
    assert "circuit_until" not in verdict.values


@pytest.mark.parametrize(
    ("since", "warned", "warns"),
    [
        (59 / 60, 0, False),
        (1, 0, True),
        (23, 1, False),
        (24, 1, True),
        (72, 2, True),
        (100, 3, False),
        (80, 0, True),
    ],
)
def test_warning_when_it_fails_for_hours(since: float, warned: int, warns: bool) -> None:
    row = endpoint(failing_since=NOW - HOUR * since, warned_step=warned)
    assert after_failure(row, failed(), NOW).warns is warns


@pytest.mark.parametrize(
    ("days", "failures", "status", "disables"),
    [
        (5, 19, "active", True),
        (5, 18, "active", False),
        (4.9, 100, "active", False),
        (9, 99, "paused", False),
    ],
)
def test_endpoint_when_it_fails_for_days(days: float, failures: int, status: str, disables: bool) -> None:
    row = endpoint(
        failing_since=NOW - timedelta(days=days), failed_since_count=failures, warned_step=3, status=status
    )
    verdict = after_failure(row, failed(503), NOW)
    assert verdict.disables is disables
    assert verdict.values.get("disabled_reason") == ("failing" if disables else None)
    assert not (verdict.disables and verdict.opens)


@pytest.mark.parametrize(
    ("status", "closes"),
    [(200, True), (404, True), (400, True), (410, False), (429, False), (500, False), (None, False)],
)
def test_ping_when_it_is_answered(status: int | None, closes: bool) -> None:
    code = None if status == 200 else "http_4xx"
    outcome = Outcome(error_code=code, hint=None, duration_ms=1, status=status)
    row = endpoint(circuit="half_open", circuit_step=1, failing_since=NOW - HOUR / 2, failure_count=7)
    verdict = after_ping(row, outcome, NOW)
    assert verdict.values["circuit"] == ("closed" if closes else "open")
    assert verdict.opens is not closes
    assert "failure_count" not in verdict.values, "the next failure opens it again at once"


def test_endpoint_when_a_delivery_is_taken() -> None:
    outcome = Outcome(error_code=None, hint=None, duration_ms=1, status=204)
    values = after_success(outcome, NOW)
    assert values.items() >= HEALTHY.items()
    assert (values["last_success_at"], values["last_response_status"]) == (NOW, 204)


def test_signature_when_two_secrets_are_live() -> None:
    """Receivers with either secret take it, by the official library."""
    shown = [new_secret(uuid7(), uuid7())[1] for _ in range(2)]
    body = '{"é": "ü"}'.encode()
    message = Message(url="https://x.test", secrets=shown, message_id=uuid7(), body=body, trace_id="ab" * 16)
    headers = headers_of(message, clock.now())
    for secret in shown:
        assert Webhook(secret).verify(body, headers) == {"é": "ü"}
    assert headers["traceparent"].startswith(f"00-{'ab' * 16}-")


def test_secret_when_it_is_sealed() -> None:
    row, shown = new_secret(uuid7(), uuid7())
    assert open_secret(row) == shown
    assert shown.startswith("whsec_")
    assert shown.encode() not in row.secret_sealed
