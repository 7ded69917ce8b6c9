"""The sandbox of Stripe over HTTP: the wire, the controls and the pages of payers."""

import json
from functools import partial
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from app.clients.stripe.sandbox.completing import complete
from app.core.config import Settings
from app.main import create_app
from tests.support.stripe_sandbox import StripeSandbox

BASE = "/sandbox/stripe"
OWN = {"Origin": "http://api.luneo.test"}
KEY = {"Authorization": "Bearer sk_test_x"}
pytestmark = pytest.mark.usefixtures("stripe_sandbox")


async def new_session(sandbox: StripeSandbox, **more: Any) -> dict[str, Any]:
    price = {"currency": "eur", "unit_amount": 4500, "product_data": {"name": "<b>Bag</b>"}}
    return await sandbox.call(
        "checkout.sessions.create",
        mode="payment",
        line_items=[{"price_data": price, "quantity": 1}],
        success_url="https://shop.example/thanks?id={CHECKOUT_SESSION_ID}",
        cancel_url="https://shop.example/cart",
        **more,
    )


async def control(client: AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"{BASE}/control/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_wire_when_a_tool_speaks_it(client: AsyncClient) -> None:
    made = await client.post(f"{BASE}/v1/customers", data={"email": "a@b.example"}, headers=KEY)
    assert made.status_code == 200
    identifier = made.json()["id"]
    found = await client.get(f"{BASE}/v1/customers", params={"limit": 1}, headers=KEY)
    assert [item["id"] for item in found.json()["data"]] == [identifier]
    gone = await client.delete(f"{BASE}/v1/customers/{identifier}", headers=KEY)
    assert gone.json() == {"id": identifier, "object": "customer", "deleted": True}
    assert (await client.get(f"{BASE}/v1/payouts", headers=KEY)).status_code == 404
    assert (await client.get(f"{BASE}/v1/account")).status_code == 401


async def test_page_when_the_payer_pays(client: AsyncClient, stripe_sandbox: StripeSandbox) -> None:
    session = await new_session(stripe_sandbox)
    address = session["url"].removeprefix("http://api.luneo.test")
    page = await client.get(address)
    assert page.status_code == 200
    assert "45.00 EUR" in page.text
    assert "&lt;b&gt;Bag" in page.text
    assert "<script" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self' https://shop.example;" in policy
    assert "unsafe" not in policy
    refused = await client.post(address, data={"outcome": "card_declined"}, headers=OWN)
    assert (refused.status_code, "declined" in refused.text) == (402, True)
    paid = await client.post(address, data={"outcome": "card"}, headers=OWN)
    assert paid.status_code == 303
    assert paid.headers["location"] == f"https://shop.example/thanks?id={session['id']}"
    assert (await client.get(address)).status_code == 410
    assert (await client.post(address, data={"outcome": "card"}, headers=OWN)).status_code == 410


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null"])
async def test_form_when_another_page_sends_it(
    client: AsyncClient, stripe_sandbox: StripeSandbox, origin: str | None
) -> None:
    session = await new_session(stripe_sandbox)
    answer = await client.post(
        f"{BASE}/checkout/{session['id']}",
        data={"outcome": "card"},
        headers={"Origin": origin} if origin else {},
    )
    assert answer.status_code == 403
    assert (await stripe_sandbox.object(session["id"]))["status"] == "open"


async def test_controls_when_another_page_uses_them(client: AsyncClient) -> None:
    """Browsers ask nobody before they send a form without a body, wherever it comes from."""
    made = await client.post(f"{BASE}/v1/customers", data={"email": "a@b.example"}, headers=KEY)
    path = f"{BASE}/v1/customers/{made.json()['id']}"
    forged = await client.post(f"{BASE}/control/reset", headers={"Origin": "https://evil.example"})
    assert (forged.status_code, forged.json()["code"]) == (403, "foreign_origin")
    assert (await client.get(path, headers=KEY)).status_code == 200
    assert (await client.post(f"{BASE}/control/reset", headers=OWN)).status_code == 200
    assert (await client.get(path, headers=KEY)).status_code == 404


async def test_authentication_when_the_payer_answers(
    client: AsyncClient, stripe_sandbox: StripeSandbox
) -> None:
    intent = await stripe_sandbox.call(
        "payment_intents.create",
        amount=5000,
        currency="eur",
        confirm=True,
        payment_method="pm_card_authenticationRequired",
        return_url="https://shop.example/back",
    )
    address = intent["next_action"]["redirect_to_url"]["url"].removeprefix("http://api.luneo.test")
    assert (await client.get(address)).status_code == 200
    done = await client.post(address, data={"passes": "true"}, headers=OWN)
    assert (done.status_code, done.headers["location"]) == (303, "https://shop.example/back")
    assert (await stripe_sandbox.object(intent["id"]))["status"] == "succeeded"
    assert (await client.post(address, data={"passes": "true"}, headers=OWN)).status_code == 409


async def test_controls_when_a_developer_plays(client: AsyncClient, stripe_sandbox: StripeSandbox) -> None:
    session = await new_session(stripe_sandbox)
    refused = await client.post(
        f"{BASE}/control/sessions/{session['id']}/complete", json={"outcome": "insufficient_funds"}
    )
    assert (refused.status_code, refused.json()["error"]["decline_code"]) == (402, "insufficient_funds")
    done = await control(client, f"sessions/{session['id']}/complete", outcome="card")
    assert done["payment_status"] == "paid"
    intent = await stripe_sandbox.object(done["payment_intent"])
    refund = await stripe_sandbox.call("refunds.create", payment_intent=intent["id"], amount=500)
    assert (await control(client, f"refunds/{refund['id']}/fail"))["status"] == "failed"
    dispute = await control(client, "disputes", charge=intent["latest_charge"])
    closed = await control(client, f"disputes/{dispute['id']}/close", outcome="lost")
    assert closed["status"] == "lost"
    before = await control(client, "clock", advance="PT1S")
    after = await control(client, "clock", advance="P1M")
    assert after["offset"] - before["offset"] >= 28 * 86_400
    events = await control(client, "events", pending=True)
    types = [event["type"] for event in events["data"]]
    assert types[:2] == ["charge.dispute.closed", "charge.updated"]
    overview = await client.get(f"{BASE}/")
    assert "charge.dispute.closed" in overview.text
    other = await new_session(stripe_sandbox)
    assert (await control(client, f"sessions/{other['id']}/expire"))["status"] == "expired"
    await control(client, "reset")
    assert (await control(client, "events"))["data"] == []


BODIES: list[Any] = [
    {},
    {"advance": "P9999Y"},
    {"advance": "P"},
    {"advance": ""},
    {"advance": 1},
    {"advance": ["P1D"]},
    {"advance": {"a": {"b": {"c": {"d": {}}}}}},
    {"advance": "P1D" * 5000},
    {"dunning_end": "never"},
    {"dunning_end": "\ud800"},
]


@pytest.mark.parametrize("body", BODIES)
async def test_controls_when_they_make_no_sense(client: AsyncClient, body: Any) -> None:
    content = json.dumps(body)  # The client's own way would refuse to send half a character.
    headers = {"Content-Type": "application/json"}
    answer = await client.post(f"{BASE}/control/clock", content=content, headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["", "nothing", "sessions/x/complete", "refunds/re_1/fail", "a" * 3000])
async def test_controls_when_there_is_no_such_thing(client: AsyncClient, path: str) -> None:
    answer = await client.post(f"{BASE}/control/{path}", json={})
    assert answer.status_code == 404, answer.text


@pytest.mark.parametrize(
    "path", ["checkout/cs_x", "authenticate/pi_x", "portal/x", "invoices/x", "invoices/x.pdf"]
)
async def test_pages_when_there_is_no_such_thing(client: AsyncClient, path: str) -> None:
    assert (await client.get(f"{BASE}/{path}")).status_code == 404


async def subscribed(sandbox: StripeSandbox) -> tuple[str, str]:
    """A customer, and the subscription that was paid on a page."""
    customer = await sandbox.call("customers.create", email="a@b.example")
    price = {"currency": "eur", "unit_amount": 2900, "product_data": {"name": "Pro"}}
    session = await sandbox.call(
        "checkout.sessions.create",
        mode="subscription",
        customer=customer["id"],
        line_items=[{"price_data": {**price, "recurring": {"interval": "month"}}}],
        success_url="https://app.example",
        metadata={"organization_id": "o1"},
        subscription_data={"metadata": {"organization_id": "o1"}},
    )
    await sandbox.sandbox.change(partial(complete, session_id=session["id"], outcome="3ds_passed"))
    done = await sandbox.call("checkout.sessions.retrieve", session["id"], expand=["subscription"])
    assert (done["payment_status"], done["subscription"]["status"]) == ("paid", "active")
    assert done["subscription"]["metadata"] == {"organization_id": "o1"}
    return customer["id"], done["subscription"]["id"]


async def test_portal_when_the_customer_uses_it(client: AsyncClient, stripe_sandbox: StripeSandbox) -> None:
    customer, subscription = await subscribed(stripe_sandbox)
    made = await stripe_sandbox.call(
        "billing_portal.sessions.create", customer=customer, return_url="https://app.example/billing"
    )
    address = made["url"].removeprefix("http://api.luneo.test")
    page = await client.get(address)
    assert subscription in page.text
    assert "https://app.example/billing" in page.text
    for act, ends in (("cancel", True), ("resume", False)):
        answer = await client.post(address, data={"act": act, "subscription": subscription}, headers=OWN)
        assert answer.status_code == 303
        assert (await stripe_sandbox.object(subscription))["cancel_at_period_end"] is ends
    declined = {"act": "update_method", "method": "pm_card_visa_chargeDeclined"}
    assert (await client.post(address, data=declined, headers=OWN)).status_code == 402
    good = {"act": "update_method", "method": "pm_card_mastercard"}
    assert (await client.post(address, data=good, headers=OWN)).status_code == 303
    method = (await stripe_sandbox.object(subscription))["default_payment_method"]
    assert (await stripe_sandbox.object(method))["card"]["brand"] == "mastercard"
    assert (await client.post(address, data={"act": "steal"}, headers=OWN)).status_code == 422


async def test_invoice_when_it_is_paid_on_its_page(
    client: AsyncClient, stripe_sandbox: StripeSandbox
) -> None:
    customer, subscription = await subscribed(stripe_sandbox)
    method = await stripe_sandbox.call("payment_methods.attach", "pm_sbx_attach_only", customer=customer)
    await stripe_sandbox.call("subscriptions.update", subscription, default_payment_method=method["id"])
    await control(client, "clock", advance="P1M")
    (invoice,) = (await stripe_sandbox.call("invoices.list", status="open"))["data"]
    address = f"{BASE}/invoices/{invoice['id']}"
    assert "29.00 EUR" in (await client.get(address)).text
    pdf = await client.get(f"{address}.pdf")
    assert (pdf.headers["content-type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
    refused = await client.post(address, data={"method": "pm_card_visa_chargeDeclined"}, headers=OWN)
    assert refused.status_code == 402
    paid = await client.post(address, data={"method": "pm_card_visa"}, headers=OWN)
    assert paid.status_code == 303
    assert (await stripe_sandbox.object(invoice["id"]))["status"] == "paid"
    assert (await stripe_sandbox.object(subscription))["status"] == "active"


@pytest.mark.parametrize("outcome", ["card_declined", "3ds_failed"])
async def test_subscription_when_its_first_payment_is_refused(
    client: AsyncClient, stripe_sandbox: StripeSandbox, outcome: str
) -> None:
    customer = await stripe_sandbox.call("customers.create", email="a@b.example")
    price = {"currency": "eur", "unit_amount": 2900, "product_data": {"name": "Pro"}}
    session = await stripe_sandbox.call(
        "checkout.sessions.create",
        mode="subscription",
        customer=customer["id"],
        line_items=[{"price_data": {**price, "recurring": {"interval": "month"}}}],
        success_url="https://app.example",
    )
    path = f"{BASE}/control/sessions/{session['id']}/complete"
    assert (await client.post(path, json={"outcome": outcome})).status_code == 402
    page = await client.post(f"{BASE}/checkout/{session['id']}", data={"outcome": outcome}, headers=OWN)
    assert (page.status_code, 'role="alert"' in page.text) == (402, True)
    assert (await stripe_sandbox.object(session["id"]))["status"] == "open"
    assert (await stripe_sandbox.call("subscriptions.list", status="all"))["data"] == []
    assert (await client.post(path, json={"outcome": "card"})).status_code == 200


async def test_wire_when_an_answer_is_lost(client: AsyncClient) -> None:
    await control(client, "faults", fault="timeout_after", match={"path": "/v1/account"})
    assert (await client.get(f"{BASE}/v1/account", headers=KEY)).status_code == 504
    assert (await client.get(f"{BASE}/v1/account", headers=KEY)).status_code == 200


async def test_deliveries_when_the_intake_answers(client: AsyncClient, stripe_sandbox: StripeSandbox) -> None:
    await stripe_sandbox.call("customers.create", email="a@b.example")
    answers = await stripe_sandbox.deliver(client, times=2)
    assert [json.loads(answer.content)["duplicate"] for answer in answers] == [False, True]
    assert await stripe_sandbox.events() == []


@pytest.mark.parametrize(
    ("values", "exists"),
    [
        ({}, True),
        ({"stripe_secret_key": "sk_test_abc"}, False),
        (
            {
                "environment": "production",
                "database_url": "postgresql://luneo:x7Gq@db/luneo",
                "secret_keys": "k1:5/THQwpc9qSsOSKQpESqwCTzlMWREwcc8lxdYi/ibo8=",
                "public_url": "https://api.luneo.app",
            },
            False,
        ),
    ],
)
async def test_routes_when_there_is_a_key_or_production(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], exists: bool
) -> None:
    settings = Settings(_env_file=None, **values)
    monkeypatch.setattr("app.main.get_settings", lambda: settings)
    async with AsyncClient(transport=ASGITransport(app=create_app()), base_url="http://x.test") as http:
        assert (await http.get(f"{BASE}/")).status_code == (200 if exists else 404)
        assert (await http.post(f"{BASE}/control/reset", json={})).status_code == (200 if exists else 404)


async def test_wire_when_a_key_is_used_again(client: AsyncClient) -> None:
    """The key of a tool is Stripe's, and not this service's own."""
    headers = {**KEY, "Idempotency-Key": "k1"}
    first = await client.post(f"{BASE}/v1/customers", data={"email": "a@b.example"}, headers=headers)
    again = await client.post(f"{BASE}/v1/customers", data={"email": "a@b.example"}, headers=headers)
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    other = await client.post(f"{BASE}/v1/customers", data={"email": "c@d.example"}, headers=headers)
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
