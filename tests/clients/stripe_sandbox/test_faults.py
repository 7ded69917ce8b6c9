"""Faults on demand: requests whose answers are lost, and deliveries that arrive wrongly."""

import json
from typing import Any

import pytest

from app.clients.stripe import StripeUnavailable, sandbox_client
from app.clients.stripe.sandbox.controls import run_control
from app.clients.stripe.sandbox.deliveries import due_deliveries
from app.clients.stripe.sandbox.errors import SandboxError
from app.clients.stripe.sandbox.events import note_delivery
from app.clients.stripe.signature import InvalidSignature, verify
from app.core import clock
from tests.support.stripe_sandbox import StripeSandbox


async def control(sandbox: StripeSandbox, path: str, **body: Any) -> dict[str, Any]:
    status, answer = await sandbox.sandbox.change(lambda state: run_control(state, path, body))
    assert status == 200, answer
    return answer


async def names(sandbox: StripeSandbox) -> list[str]:
    return [item["name"] for item in (await sandbox.call("customers.list"))["data"]]


@pytest.mark.parametrize(
    "fault",
    ["timeout_before", "timeout_after", "connection_reset", "http_500", "http_503", "slow"],
)
async def test_request_when_the_library_tries_again(stripe_sandbox: StripeSandbox, fault: str) -> None:
    """However an attempt is lost, the library's second one makes exactly one customer."""
    await control(
        stripe_sandbox,
        "faults",
        fault=fault,
        seconds=0,
        match={"method": "POST", "path": "/v1/customers"},
    )
    made = await stripe_sandbox.call("customers.create", name="Ada")
    assert made["name"] == "Ada"
    assert await names(stripe_sandbox) == ["Ada"]


@pytest.mark.parametrize(
    ("fault", "count"),
    [("timeout_before", 0), ("timeout_after", 1), ("http_500", 0), ("rate_limited", 0), ("not_json", 0)],
)
async def test_request_when_nobody_tries_again(stripe_sandbox: StripeSandbox, fault: str, count: int) -> None:
    client = sandbox_client(stripe_sandbox.sandbox, max_retries=0)
    await control(stripe_sandbox, "faults", fault=fault, match={"path": "/v1/customers*"})
    with pytest.raises(StripeUnavailable):
        await client.call("customers.create", params={"name": "Ada"}, key="k1")
    assert len(await names(stripe_sandbox)) == count
    await client.call("customers.create", params={"name": "Ada"}, key="k1")
    assert await names(stripe_sandbox) == ["Ada"]


async def test_faults_when_they_make_no_sense(stripe_sandbox: StripeSandbox) -> None:
    for body in ({"fault": "earthquake"}, {}, {"fault": "slow", "seconds": 10_000}, {"fault": [["x"]]}):
        with pytest.raises(SandboxError):
            await control(stripe_sandbox, "faults", **body)


def is_good(delivery: Any, secret: str) -> bool:
    try:
        verify([delivery.signature.encode()], delivery.body, [secret], int(clock.now().timestamp()))
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize(
    ("fault", "signatures"),
    [
        (None, [True]),
        ("duplicate", [True, True]),
        ("drop", []),
        ("delay", []),
        ("bad_signature", [False]),
        ("old_timestamp", [False]),
        ("future_timestamp", [False]),
        ("other_livemode", [True]),
        ("old_api_version", [True]),
    ],
)
async def test_delivery_when_a_fault_is_planned(
    stripe_sandbox: StripeSandbox, fault: str | None, signatures: list[bool]
) -> None:
    if fault:
        await control(stripe_sandbox, "faults", fault=fault, match={"type": "customer.*"})
    await stripe_sandbox.call("customers.create", name="Ada")
    secret = await stripe_sandbox.sandbox.webhook_secret()
    deliveries = await stripe_sandbox.sandbox.change(due_deliveries)
    assert [is_good(delivery, secret) for delivery in deliveries] == signatures
    for delivery in deliveries:
        sent = json.loads(delivery.body)
        assert sent["livemode"] is (fault == "other_livemode")
        assert (sent["api_version"] == "2019-12-03") is (fault == "old_api_version")


async def test_delivery_when_it_fails_and_is_repeated(stripe_sandbox: StripeSandbox) -> None:
    await stripe_sandbox.call("customers.create", name="Ada")
    (event,) = await stripe_sandbox.events()
    at = []
    for _ in range(7):
        await stripe_sandbox.sandbox.change(lambda state: note_delivery(state, event["id"], succeeded=False))
        delivery = (await stripe_sandbox.object(event["id"]))["_delivery"]
        at.append(delivery["next_at"] - delivery["first_at"])
    assert at == pytest.approx([1, 5, 30, 120, 600, 3600, 3600], abs=2)
    await stripe_sandbox.sandbox.change(lambda state: note_delivery(state, event["id"], succeeded=True))
    assert await stripe_sandbox.events() == []
    await control(stripe_sandbox, f"events/{event['id']}/redeliver")
    assert len(await stripe_sandbox.events()) == 1
