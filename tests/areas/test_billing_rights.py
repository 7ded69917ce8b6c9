"""Who may do what with billing, what is refused in bodies, and what works without a payment provider."""

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select, text

from app.clients.stripe import use_client
from app.core.config import Settings, get_settings
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.billing import BillingCustomer, PaymentMethod
from app.services.billing.entitlements import entitlements
from tests.factories.accounts import access_token_of, make_session
from tests.support.billing import PATHS
from tests.support.personas import Persona, make_colleague
from tests.support.stripe_sandbox import StripeSandbox

NOTHING = "0198c0de-0000-7000-8000-000000000001"
"""The id of nothing, alike in every process that collects these tests."""

CHECKOUT = {"plan": "premium", "interval": "month", **PATHS}
WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/checkout", CHECKOUT),
    ("POST", "/checkout/cs_test_1/sync", None),
    ("POST", "/subscription/preview", {"plan": "premium", "interval": "month"}),
    ("PUT", "/subscription", {"plan": "premium", "interval": "month"}),
    ("PATCH", "/subscription", {"plan": "premium", "interval": "month"}),
    ("DELETE", "/subscription", None),
    ("DELETE", "/subscription/pending-change", None),
    ("POST", "/subscription/cancel", None),
    ("POST", "/subscription/resume", None),
    ("POST", "/portal", {"return_path": "/billing"}),
    ("POST", f"/invoices/{NOTHING}/pay", None),
    ("POST", "/payment-methods", None),
    ("PATCH", f"/payment-methods/{NOTHING}", {"is_default": True}),
    ("DELETE", f"/payment-methods/{NOTHING}", None),
]
"""Every route that needs the payment provider."""


async def ask(client: AsyncClient, who: Persona | None, method: str, path: str, body: Any = None) -> Any:
    headers = who.headers if who else {}
    return await client.request(method, f"/api/billing{path}", json=body, headers=headers)


@pytest.fixture
async def staff(db: SystemSession, charlie: Persona, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The headers of a person of the platform's staff who has just confirmed their identity."""
    monkeypatch.setattr(get_settings(), "platform_staff_ids", [str(charlie.user_id)])
    session = await make_session(db, charlie.user_id, organization_id=charlie.organization_id)
    await db.execute(
        text("UPDATE sessions SET aal = 2, step_up_at = now() WHERE id = :id"), {"id": session.id}
    )
    await db.commit()
    return {"Authorization": f"Bearer {access_token_of(session)}"}


async def add_method(db: SystemSession, owner: Persona) -> PaymentMethod:
    method = PaymentMethod(
        organization_id=owner.organization_id,
        id=uuid7(),
        type="card",
        stripe_payment_method_id="pm_sbx_1",
        last4="4242",
        brand="visa",
        expiry_month=4,
        expiry_year=2020,
        is_default=True,
    )
    db.add(method)
    await db.commit()
    return method


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_writes_when_there_is_no_stripe(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any
) -> None:
    monkeypatch.setattr(Settings, "has_stripe_sandbox", False)
    before = use_client(None)
    try:
        answer = await ask(client, alice, method, path, body)
        plans = await ask(client, None, "GET", "/plans")
        subscription = await ask(client, alice, "GET", "/subscription")
    finally:
        use_client(before)
    assert (answer.status_code, answer.json()["code"]) == (503, "billing_not_configured")
    assert answer.headers["retry-after"] == "3600"
    assert (plans.status_code, subscription.status_code) == (200, 200)


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_writes_when_the_role_may_only_look(
    client: AsyncClient, bob: Persona, db: SystemSession, alice: Persona, method: str, path: str, body: Any
) -> None:
    manager = await make_colleague(db, alice, "mona", role="manager")
    for who in (bob, manager):
        answer = await ask(client, who, method, path, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert (await ask(client, None, method, path, body)).status_code == 401


async def test_reads_when_the_role_is_too_low(
    client: AsyncClient, alice: Persona, bob: Persona, db: SystemSession
) -> None:
    manager = await make_colleague(db, alice, "mona", role="manager")
    for path in ("/subscription", "/payment-methods", "/details"):
        assert (await ask(client, bob, "GET", path)).status_code == 403
        assert (await ask(client, manager, "GET", path)).status_code == 200


async def test_rows_when_they_are_another_organisations(
    client: AsyncClient, alice: Persona, charlie: Persona, db: SystemSession, stripe_sandbox: StripeSandbox
) -> None:
    method = await add_method(db, alice)
    await ask(client, alice, "PATCH", "/details", {"name": "Alice & Co"})
    assert (await ask(client, charlie, "GET", "/payment-methods")).json()["items"] == []
    assert (await ask(client, charlie, "GET", "/details")).json()["name"] is None
    path = f"/payment-methods/{method.id}"
    assert (await ask(client, charlie, "PATCH", path, {"is_default": True})).status_code == 404
    assert (await ask(client, charlie, "DELETE", path)).status_code == 404
    (shown,) = (await ask(client, alice, "GET", "/payment-methods")).json()["items"]
    assert (shown["expiry_month"], shown["expiry_year"], shown["is_expired"]) == ("04", "2020", True)


PAN = "4242424242424242"


@pytest.mark.parametrize(
    "body",
    [
        {"number": PAN},
        {"payment_method_id": "pm_1", "card": {"exp_month": 4}},
        {"a": [{"b": {"cvc": "123"}}]},
        {"iban": "FR76"},
        {"cvv": 1},
        {"deep": {"account_number": "1"}},
    ],
)
async def test_card_numbers_when_they_are_sent(
    client: AsyncClient, alice: Persona, db: SystemSession, stripe_sandbox: StripeSandbox, body: Any
) -> None:
    for method, path in (("POST", "/payment-methods"), ("POST", "/checkout"), ("PUT", "/details")):
        answer = await ask(client, alice, method, path, body)
        assert (answer.status_code, answer.json()["code"]) == (422, "raw_payment_data_refused")
        assert PAN not in answer.text
    assert await db.scalar(select(BillingCustomer.organization_id)) is None


async def test_details_when_they_change(client: AsyncClient, alice: Persona) -> None:
    empty = (await ask(client, alice, "GET", "/details")).json()
    assert (empty["name"], empty["is_synced"]) == (None, True)
    body = {"name": "Atelier", "address": {"line1": "1 rue A", "country": "FR"}, "email": "pay@luneo.test"}
    changed = (await ask(client, alice, "PUT", "/details", body)).json()
    assert (changed["name"], changed["address"]["country"]) == ("Atelier", "FR")
    alone = await ask(client, alice, "PATCH", "/details", {"tax_id": "FR123"})
    assert (alone.status_code, alone.json()["code"]) == (422, "tax_id_incomplete")
    both = await ask(client, alice, "PATCH", "/details", {"tax_id": "FR123", "tax_id_type": "eu_vat"})
    assert both.json()["tax_id"] == "FR123"
    gone = await ask(client, alice, "PATCH", "/details", {"email": None})
    assert (gone.json()["email"], gone.json()["name"]) == (None, "Atelier")


async def test_plans_when_anybody_asks(client: AsyncClient) -> None:
    answer = await ask(client, None, "GET", "/plans")
    plans = {item["code"]: item for item in answer.json()["items"]}
    assert list(plans) == ["free", "premium", "business", "enterprise"]
    assert answer.headers["cache-control"] == "public, max-age=300"
    asked = {(price["interval"], price["amount"]) for price in plans["premium"]["prices"]}
    assert asked == {("month", 4700), ("year", 47000)}
    assert plans["enterprise"]["limits"]["products"] is None


async def test_plan_when_the_staff_changes_it(
    client: AsyncClient, alice: Persona, db: SystemSession, staff: dict[str, str]
) -> None:
    prices = [{"currency": "EUR", "interval": "month", "amount": 4900}]
    body = {"limits": {"products": 7}, "prices": prices}
    assert (await ask(client, alice, "PUT", "/plans/premium", body)).status_code == 403
    answer = await client.put("/api/billing/plans/premium", json=body, headers=staff)
    assert (answer.json()["limits"], answer.json()["prices"]) == ({"products": 7}, prices)
    keys = await db.execute(
        text("SELECT lookup_key, is_active FROM plan_prices WHERE plan_code = 'premium' ORDER BY 2, 1")
    )
    assert [row for row in keys if row[1]] == [("luneo_premium_month_eur", True)]
    for loose in ({"is_public": "no"}, {"features": {"sso": 1}}):
        refused = await client.put("/api/billing/plans/premium", json=loose, headers=staff)
        assert refused.status_code == 422
    taken = await client.put("/api/billing/plans/premium", json={"rank": 20}, headers=staff)
    assert taken.json()["code"] == "rank_taken"
    assert (await client.put("/api/billing/plans/none", json={}, headers=staff)).status_code == 404


async def test_grant_when_it_is_given_and_ended(
    client: AsyncClient, alice: Persona, db: SystemSession, staff: dict[str, str]
) -> None:
    body = {
        "organization_id": str(alice.organization_id),
        "plan": "enterprise",
        "starts_at": "2026-01-01T00:00:00Z",
        "note": "Contract 17",
    }
    assert (await ask(client, alice, "POST", "/grants", body)).status_code == 403
    made = await client.post("/api/billing/grants", json=body, headers=staff)
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"/api/billing/grants/{made.json()['id']}"
    assert (await entitlements(db, alice.organization_id)).plan == "enterprise"
    path = f"/api/billing/grants?organization_id={alice.organization_id}"
    assert len((await client.get(path, headers=staff)).json()["items"]) == 1
    for _ in range(2):
        ended = await client.delete(f"/api/billing/grants/{made.json()['id']}", headers=staff)
        assert ended.status_code == 204
    assert (await entitlements(db, alice.organization_id)).plan == "free"
    wrong = await client.post("/api/billing/grants", json={**body, "plan": "gold"}, headers=staff)
    assert wrong.json()["code"] == "plan_unknown"
