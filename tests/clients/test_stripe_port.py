"""The port to Stripe: which client there is, what its errors become, and that the key appears nowhere."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from pydantic import ValidationError

from app.clients.stripe import (
    API_VERSION,
    StripeDeclined,
    StripeError,
    StripeMisconfigured,
    StripeMissing,
    StripeNotConfigured,
    StripeRefused,
    StripeUnavailable,
    port,
    stripe_client,
    use_client,
    webhook_secrets,
)
from app.clients.stripe.sandbox.transport import SandboxTransport
from app.core.config import Settings
from tests.support.stripe_sandbox import StripeSandbox

PRODUCTION = {
    "environment": "production",
    "secret_keys": "k1:5/THQwpc9qSsOSKQpESqwCTzlMWREwcc8lxdYi/ibo8=",
    "public_url": "https://api.luneo.app",
    "database_url": "postgresql://luneo:x7Gq@db/luneo",
}


@pytest.fixture
def _no_client() -> Iterator[None]:
    before = use_client(None)
    yield
    use_client(before)


def choose(monkeypatch: pytest.MonkeyPatch, **values: Any) -> port.StripeClient:
    settings = Settings(_env_file=None, **values)
    monkeypatch.setattr(port, "get_settings", lambda: settings)
    return stripe_client()


@pytest.mark.usefixtures("_no_client")
def test_client_when_there_is_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    client = choose(monkeypatch, data_dir=tmp_path)
    assert client.sandbox is not None
    assert client.livemode is False
    assert stripe_client() is client
    assert client.owns("cus_sbxAbc")


@pytest.mark.usefixtures("_no_client")
async def test_client_when_production_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StripeNotConfigured):
        choose(monkeypatch, **PRODUCTION)
    assert await webhook_secrets() == []


@pytest.mark.usefixtures("_no_client")
@pytest.mark.parametrize(
    ("key", "livemode"), [("sk_live_abc", True), ("rk_live_abc", True), ("sk_test_abc", False)]
)
async def test_client_when_there_is_a_key(monkeypatch: pytest.MonkeyPatch, key: str, livemode: bool) -> None:
    client = choose(monkeypatch, stripe_secret_key=key, stripe_webhook_secrets="whsec_a, whsec_b,")
    assert (client.sandbox, client.livemode) == (None, livemode)
    assert not client.owns("cus_sbxAbc")
    assert client.owns("cus_abc")
    assert await webhook_secrets() == ["whsec_a", "whsec_b"]
    assert stripe.enable_telemetry is False
    await client.close()


async def test_secrets_when_the_sandbox_is_the_client(stripe_sandbox: StripeSandbox) -> None:
    assert await webhook_secrets() == [await stripe_sandbox.sandbox.webhook_secret()]


@pytest.mark.parametrize(
    ("key", "allowed", "starts"),
    [("sk_live_a", False, True), ("sk_test_a", False, False), ("sk_test_a", True, True), (None, False, True)],
)
def test_settings_when_production_has_a_test_key(key: str | None, allowed: bool, starts: bool) -> None:
    values: dict[str, Any] = {**PRODUCTION, "stripe_secret_key": key, "stripe_allow_test_key": allowed}
    if starts:
        assert Settings(_env_file=None, **values).stripe_secret_key == key
        return
    with pytest.raises(ValidationError, match="STRIPE_ALLOW_TEST_KEY") as refusal:
        Settings(_env_file=None, **values)
    assert "sk_test_a" not in str(refusal.value.errors(include_input=False))


class Canned(stripe.HTTPClient):
    """Answers every request alike, and keeps what it was asked."""

    name = "canned"

    def __init__(self, status: int, error: Any) -> None:
        super().__init__()
        self.answer = (json.dumps({"error": error}), status, {"request-id": "req_1"})
        self.headers: dict[str, str] = {}

    async def request_async(self, method: str, url: str, headers: Any, post_data: Any = None) -> Any:
        self.headers = dict(headers)
        return self.answer


def over(transport: stripe.HTTPClient, key: str = "sk_live_topsecret") -> port.StripeClient:
    return port.StripeClient(transport, key, max_retries=0)


INVALID = "invalid_request_error"
DECLINE = {
    "type": "card_error",
    "code": "card_declined",
    "decline_code": "lost_card",
    "message": "Your card was declined.",
    "payment_intent": {"id": "pi_1", "object": "payment_intent"},
}


@pytest.mark.parametrize(
    ("status", "error", "expected", "code"),
    [
        (402, DECLINE, StripeDeclined, "card_declined"),
        (
            404,
            {"type": INVALID, "code": "resource_missing"},
            StripeMissing,
            "resource_missing",
        ),
        (
            400,
            {"type": INVALID, "code": "amount_too_small"},
            StripeRefused,
            "amount_too_small",
        ),
        (400, {"type": INVALID}, StripeRefused, INVALID),
        (400, {"type": "idempotency_error"}, StripeRefused, "idempotency_error"),
        (
            401,
            {"type": INVALID, "message": "Invalid: sk_live_topsecret"},
            StripeMisconfigured,
            INVALID,
        ),
        (403, {"type": INVALID, "message": "sk_live_topsecret may not"}, StripeMisconfigured, INVALID),
        (429, {"type": INVALID, "code": "rate_limit"}, StripeUnavailable, "rate_limit"),
        (409, {"type": INVALID, "code": "lock_timeout"}, StripeUnavailable, "lock_timeout"),
        (500, {"type": "api_error"}, StripeUnavailable, "api_error"),
    ],
)
async def test_error_when_stripe_refuses(
    status: int, error: Any, expected: type[StripeError], code: str | None
) -> None:
    with pytest.raises(StripeError) as refusal:
        await over(Canned(status, error)).call("customers.retrieve", "cus_1")
    found = refusal.value
    assert type(found) is expected
    assert "topsecret" not in str(found)
    assert (found.status, found.request_id, found.code) == (status, "req_1", code)
    if expected is StripeDeclined:
        assert (found.decline_code, found.object) == ("lost_card", DECLINE["payment_intent"])


async def test_error_when_its_body_is_a_word() -> None:
    with pytest.raises(StripeUnavailable):
        await over(Canned(503, "down")).call("customers.retrieve", "cus_1")


async def test_error_when_the_answer_is_no_json() -> None:
    transport = Canned(200, None)
    transport.answer = ("<html>", 200, {})
    with pytest.raises(StripeUnavailable):
        await over(transport).call("customers.retrieve", "cus_1")


async def test_request_when_it_is_sent() -> None:
    transport = Canned(200, None)
    transport.answer = (json.dumps({"id": "cus_1", "object": "customer"}), 200, {})
    answer = await over(transport).call("customers.create", params={"email": "a@b.example"}, key="k-1")
    assert type(answer) is dict
    assert transport.headers["Idempotency-Key"] == "k-1"
    assert transport.headers["Stripe-Version"] == API_VERSION == "2026-10-28.endive"
    assert "X-Stripe-Client-Telemetry" not in transport.headers


async def test_request_when_the_key_is_not_the_sandbox_s(stripe_sandbox: StripeSandbox) -> None:
    client = over(SandboxTransport(stripe_sandbox.sandbox))
    with pytest.raises(StripeMisconfigured):
        await client.call("customers.create")


async def test_pages_when_stripe_fails_in_the_middle(stripe_sandbox: StripeSandbox) -> None:
    for name in "abc":
        await stripe_sandbox.call("customers.create", name=name)
    pages = stripe_sandbox.client.pages("customers.list", params={"limit": 2})
    assert [(await anext(pages))["name"], (await anext(pages))["name"]] == ["c", "b"]
    await stripe_sandbox.plan_fault("rate_limited", path="/v1/customers")
    with pytest.raises(StripeUnavailable):
        await anext(pages)


@pytest.mark.parametrize("body", ["[]", "1", '"x"', "null", "{", ""])
async def test_error_when_the_answer_is_no_object(body: str) -> None:
    transport = Canned(200, None)
    transport.answer = (body, 200, {})
    with pytest.raises(StripeUnavailable):
        await over(transport).call("customers.retrieve", "cus_1")
