"""Changing and ending a plan: what is shown is what is charged, and nothing changes before it is paid."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, text

from app.core import clock
from app.core.database import Database, SystemSession
from app.models.billing import Invoice, PaymentMethod
from app.models.stripe_webhooks import StripeCommand
from app.services.billing.paying.cancelling import may_purge
from tests.factories.products import make_product
from tests.support.billing import Shop
from tests.support.personas import Persona
from tests.support.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.commits

PLANS = (("business", "month"), ("premium", "year"))
"""Upgrades of the plan that is bought here."""


@pytest.fixture
async def shop(client: AsyncClient, database: Database, stripe_sandbox: StripeSandbox) -> Shop:
    made = Shop(client, database, stripe_sandbox)
    await made.open()
    return made


async def post(shop: Shop, who: Persona, path: str, body: Any = None) -> Response:
    return await shop.client.post(f"/api/billing{path}", json=body, headers=who.headers)


async def preview(shop: Shop, who: Persona, plan: str, interval: str = "month") -> dict[str, Any]:
    answer = await post(shop, who, "/subscription/preview", {"plan": plan, "interval": interval})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def change(
    shop: Shop, who: Persona, plan: str, interval: str = "month", token: str | None = None
) -> Response:
    body = {"plan": plan, "interval": interval}
    return await shop.client.put(
        "/api/billing/subscription",
        json=body if token is None else {**body, "preview_token": token},
        headers=who.headers,
    )


async def use_card(shop: Shop, who: Persona, card: str) -> None:
    """Pay with another card from now on."""
    customer = (await shop.stripe.call("customers.list"))["data"][0]["id"]
    made = await shop.stripe.call("payment_methods.attach", card, customer=customer)
    await shop.settle()
    methods = (await shop.client.get("/api/billing/payment-methods", headers=who.headers)).json()["items"]
    (method_id,) = [item["id"] for item in methods if item["last4"] == made["card"]["last4"]]
    path = f"/api/billing/payment-methods/{method_id}"
    chosen = await shop.client.patch(path, json={"is_default": True}, headers=who.headers)
    assert chosen.json()["is_default"] is True, chosen.text
    await shop.settle()


async def test_upgrade_when_it_was_previewed(shop: Shop, alice: Persona, db: SystemSession) -> None:
    await shop.buy(alice)
    await shop.control("clock", advance="P10D")
    shown = await preview(shop, alice, "business")
    assert 0 < shown["amount_due_now"] < 14900 - 4700 + 1
    assert sum(line["amount"] for line in shown["lines"]) == shown["amount_due_now"]
    assert shown["next_invoice"]["amount"] == 14900
    # The clock goes on while somebody thinks; the amount does not.
    await shop.control("clock", advance="PT2H")
    answer = await change(shop, alice, "business", token=shown["preview_token"])
    assert (answer.status_code, answer.json()["plan"]) == (200, "business")
    await shop.settle()
    invoices = await db.scalars(select(Invoice.amount_paid).order_by(Invoice.created_at.desc()))
    assert invoices.first() == shown["amount_due_now"]
    assert (await change(shop, alice, "business")).json()["code"] == "no_change"


async def test_upgrade_when_its_token_is_not_good(shop: Shop, alice: Persona) -> None:
    assert (await change(shop, alice, "business")).json()["code"] == "no_subscription"
    await shop.buy(alice)
    missing = await change(shop, alice, "business")
    assert (missing.status_code, missing.json()["code"]) == (422, "preview_required")
    token = (await preview(shop, alice, "business"))["preview_token"]
    forged = await change(shop, alice, "business", token=token[:-4] + "AAAA")
    other = await change(shop, alice, "business", "year", token=token)
    assert {forged.json()["code"], other.json()["code"]} == {"preview_token_invalid"}
    with clock.travel(timedelta(seconds=600)):
        refused = await change(shop, alice, "business", token=token)
    assert (refused.status_code, refused.json()["code"]) == (409, "preview_expired")


async def test_upgrade_when_another_change_was_made_after_its_preview(shop: Shop, alice: Persona) -> None:
    """What was shown was the difference to a plan that is not the present one any more."""
    await shop.buy(alice)
    shown = await preview(shop, alice, "business", "year")
    between = await preview(shop, alice, "premium", "year")
    made = await change(shop, alice, "premium", "year", between["preview_token"])
    assert (made.status_code, made.json()["interval"]) == (200, "year")
    late = await change(shop, alice, "business", "year", shown["preview_token"])
    assert (late.status_code, late.json()["code"]) == (409, "preview_expired")
    again = await preview(shop, alice, "business", "year")
    assert (await change(shop, alice, "business", "year", again["preview_token"])).status_code == 200


async def test_usage_when_months_become_years(shop: Shop, alice: Persona) -> None:
    """Another rhythm of invoices begins no other period of the meter: what was used stays used."""
    began_at = (await shop.buy(alice)).meter_anchor_at
    used = {"metric": "renders", "quantity": 5, "idempotency_key": "before"}
    assert (await post(shop, alice, "/usage-events", used)).status_code == 201
    await shop.control("clock", advance="P10D")
    shown = await preview(shop, alice, "premium", "year")
    assert (await change(shop, alice, "premium", "year", shown["preview_token"])).status_code == 200
    await shop.settle()
    assert (await shop.subscription(alice)).meter_anchor_at == began_at
    usage = (await shop.client.get("/api/billing/usage", headers=alice.headers)).json()["items"]
    assert [item["used"] for item in usage if item["metric"] == "renders"] == [5]


async def test_change_when_another_is_being_made(
    shop: Shop, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.buy(alice)
    tokens = {plan: (await preview(shop, alice, *plan))["preview_token"] for plan in PLANS}
    answer = shop.stripe.client.call
    others: list[Response] = []

    async def call(operation: str, *ids: str, **options: Any) -> dict[str, Any]:
        if operation == "subscriptions.update":
            others.extend([await change(shop, alice, *plan, tokens[plan]) for plan in PLANS])
        return await answer(operation, *ids, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shop.stripe.client, "call", call)
        made = await change(shop, alice, *PLANS[0], tokens[PLANS[0]])
    assert (made.status_code, made.json()["plan"]) == (200, "business")
    assert {(other.status_code, other.json()["code"]) for other in others} == {(409, "change_in_progress")}
    assert {other.headers["retry-after"] for other in others} == {"2"}
    assert len((await shop.stripe.call("invoices.list"))["data"]) == 2


async def test_change_when_stripe_knows_of_another_one(shop: Shop, alice: Persona) -> None:
    """What was done in the dashboard is told late: nobody is charged, and the next answer is right."""
    await shop.buy(alice, "business")
    assert (await change(shop, alice, "premium")).status_code == 200
    (schedule,) = (await shop.stripe.call("subscription_schedules.list"))["data"]
    await shop.stripe.call("subscription_schedules.release", schedule["id"])
    replaced = await change(shop, alice, "premium", "year")
    assert replaced.json()["pending_change"]["interval"] == "year"
    token = (await preview(shop, alice, "business", "year"))["preview_token"]
    subscription = await shop.subscription(alice)
    await shop.stripe.call("subscriptions.cancel", subscription.stripe_subscription_id)
    for path, body in (
        ("/subscription", {"plan": "business", "interval": "year", "preview_token": token}),
        ("/subscription", {"plan": "business", "interval": "year", "preview_token": token}),
    ):
        refused = await shop.client.put(f"/api/billing{path}", json=body, headers=alice.headers)
        assert refused.status_code == 409
    assert refused.json()["code"] == "no_subscription"


@pytest.mark.parametrize(
    ("card", "code"),
    [("pm_sbx_attach_only", "card_declined"), ("pm_card_authenticationRequired", "payment_action_required")],
)
async def test_upgrade_when_it_is_not_paid(shop: Shop, alice: Persona, card: str, code: str) -> None:
    await shop.buy(alice)
    await use_card(shop, alice, card)
    shown = await preview(shop, alice, "business")
    refused = await change(shop, alice, "business", token=shown["preview_token"])
    assert (refused.status_code, refused.json()["code"]) == (402, code)
    assert refused.json()["hosted_invoice_url"]
    assert ("client_secret" in refused.json()) is (code == "payment_action_required")
    await shop.settle()
    subscription = await shop.subscription(alice)
    assert (subscription.plan_code, subscription.status) == ("premium", "active")
    assert subscription.pending_update_expires_at is not None


async def test_downgrade_when_the_period_ends(shop: Shop, alice: Persona, db: SystemSession) -> None:
    await shop.buy(alice, "business")
    await db.execute(text("UPDATE plans SET limits = limits || '{\"products\": 1}' WHERE code = 'premium'"))
    await db.commit()
    for _ in range(2):
        await make_product(db, owner=alice)
    shown = await preview(shop, alice, "premium")
    assert shown["amount_due_now"] == 0
    assert {"metric": "products", "used": 2, "new_limit": 1} in shown["fit_check"]
    answer = (await change(shop, alice, "premium")).json()
    assert (answer["plan"], answer["pending_change"]["plan"]) == ("business", "premium")
    assert answer["pending_change"]["effective_at"] == shown["effective_at"]
    # Another one takes its place, and it can be taken back.
    replaced = await shop.client.patch(
        "/api/billing/subscription", json={"plan": "premium", "interval": "year"}, headers=alice.headers
    )
    assert replaced.json()["pending_change"]["interval"] == "year"
    for _ in range(2):
        path = "/api/billing/subscription/pending-change"
        assert (await shop.client.delete(path, headers=alice.headers)).status_code == 204
    assert (await shop.subscription(alice)).pending_price_id is None
    await change(shop, alice, "premium")
    await shop.settle()
    assert (await shop.subscription(alice)).plan_code == "business"
    await shop.control("clock", advance="P32D")
    await shop.settle()
    subscription = await shop.subscription(alice)
    assert (subscription.plan_code, subscription.pending_price_id) == ("premium", None)


async def test_upgrade_when_a_downgrade_was_to_come(shop: Shop, alice: Persona) -> None:
    await shop.buy(alice, "premium", "year")
    await change(shop, alice, "premium")
    token = (await preview(shop, alice, "business", "year"))["preview_token"]
    answer = (await change(shop, alice, "business", "year", token=token)).json()
    assert (answer["plan"], answer["interval"], answer["pending_change"]) == ("business", "year", None)


async def test_subscription_when_it_is_cancelled_and_resumed(shop: Shop, alice: Persona) -> None:
    await shop.buy(alice)
    ends = await post(shop, alice, "/subscription/cancel", {"reason": "too_expensive", "comment": "Sorry"})
    assert (ends.status_code, ends.json()["cancel_at_period_end"]) == (200, True)
    again = await post(shop, alice, "/subscription/cancel")
    assert again.json() == ends.json()
    assert (await change(shop, alice, "premium", "year")).status_code == 422
    for _ in range(2):
        resumed = await post(shop, alice, "/subscription/resume")
        assert (resumed.status_code, resumed.json()["cancel_at_period_end"]) == (200, False)
    assert (await shop.client.delete("/api/billing/subscription", headers=alice.headers)).status_code == 204
    await shop.control("clock", advance="P32D")
    await shop.settle()
    subscription = await shop.subscription(alice)
    assert (subscription.status, subscription.cancel_reason) == ("canceled", "too_expensive")
    assert (await post(shop, alice, "/subscription/resume")).json()["code"] == "subscription_ended"
    assert (await post(shop, alice, "/subscription/cancel")).json()["code"] == "no_subscription"
    assert (await shop.checkout(alice)).status_code == 201


async def test_default_when_another_is_chosen(
    shop: Shop, alice: Persona, charlie: Persona, statements: Any, db: SystemSession
) -> None:
    await shop.buy(alice)
    entered = [
        (await shop.stripe.call("payment_methods.create", type="card", card={"token": token}))["id"]
        for token in ("tok_mastercard", "tok_visa", "tok_mastercard")
    ]
    answer = await post(shop, alice, "/payment-methods", {"payment_method_id": entered[0]})
    assert answer.status_code == 201, answer.text
    assert answer.json()["is_default"] is False
    again = await post(shop, alice, "/payment-methods", {"payment_method_id": entered[1]})
    assert again.status_code == 200  # The same card as that of the checkout.
    assert (
        await post(shop, charlie, "/payment-methods", {"payment_method_id": entered[0]})
    ).status_code == 404
    path = f"/api/billing/payment-methods/{answer.json()['id']}"
    with statements() as seen:
        chosen = await shop.client.put(path, json={"is_default": True}, headers=alice.headers)
    assert chosen.json()["is_default"] is True
    assert sum(statement.startswith("UPDATE payment_methods") for statement in seen) == 2
    await shop.settle()
    subscription = (await shop.stripe.call("subscriptions.list"))["data"][0]
    method = await db.scalar(select(PaymentMethod.stripe_payment_method_id).where(PaymentMethod.is_default))
    assert subscription["default_payment_method"] == method
    assert (await shop.client.delete(path, headers=alice.headers)).status_code == 204
    (left,) = (await shop.client.get("/api/billing/payment-methods", headers=alice.headers)).json()["items"]
    assert (left["last4"], left["is_default"]) == ("4242", True)
    spare = (await post(shop, alice, "/payment-methods", {"payment_method_id": entered[2]})).json()
    by_query = f"/api/billing/payment-methods?id={spare['id']}"
    assert (await shop.client.delete(by_query, headers=alice.headers)).status_code == 204
    last = await shop.client.delete(f"/api/billing/payment-methods?id={left['id']}", headers=alice.headers)
    assert last.json()["code"] == "last_payment_method"
    await shop.settle()
    assert (
        len((await shop.stripe.call("payment_methods.list", customer=subscription["customer"]))["data"]) == 1
    )


async def test_methods_when_they_are_stripes_names_for_tests(shop: Shop, alice: Persona) -> None:
    """Each name stands for a new method, as at Stripe: nobody needs a browser to try the route."""
    kept = {}
    for name, kind in (("pm_card_mastercard", "card"), ("pm_sbx_sepa", "sepa"), ("pm_sbx_paypal", "paypal")):
        answer = await post(shop, alice, "/payment-methods", {"payment_method_id": name})
        assert (answer.status_code, answer.json()["type"]) == (201, kind), answer.text
        kept[name] = answer.json()["id"]
    again = await post(shop, alice, "/payment-methods", {"payment_method_id": "pm_card_mastercard"})
    assert (again.status_code, again.json()["id"]) == (200, kept["pm_card_mastercard"])
    declined = {"payment_method_id": "pm_card_visa_chargeDeclined"}
    refused = await post(shop, alice, "/payment-methods", declined)
    assert (refused.status_code, refused.json()["code"]) == (402, "card_declined")
    shown = (await shop.client.get("/api/billing/payment-methods", headers=alice.headers)).json()["items"]
    assert {item["id"] for item in shown} == set(kept.values())


async def test_method_when_the_same_card_is_kept_meanwhile(
    shop: Shop, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = [
        (await shop.stripe.call("payment_methods.create", type="card", card={"token": "tok_visa"}))["id"]
        for _ in range(2)
    ]
    answer = shop.stripe.client.call
    faster: list[Response] = []

    async def call(operation: str, *ids: str, **options: Any) -> dict[str, Any]:
        if operation == "payment_methods.attach" and ids[0] == first:
            faster.append(await post(shop, alice, "/payment-methods", {"payment_method_id": second}))
        return await answer(operation, *ids, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shop.stripe.client, "call", call)
        slower = await post(shop, alice, "/payment-methods", {"payment_method_id": first})
    assert [faster[0].status_code, slower.status_code] == [201, 200]
    assert slower.json()["id"] == faster[0].json()["id"]


async def test_setup_when_it_begins(shop: Shop, alice: Persona) -> None:
    answer = await post(shop, alice, "/payment-methods")
    assert answer.status_code == 201
    assert answer.json()["client_secret"].startswith(answer.json()["setup_intent_id"])
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["location"] == "/api/billing/payment-methods"


async def test_organisation_when_it_is_deleted(
    shop: Shop, alice: Persona, database: Database, db: SystemSession
) -> None:
    await shop.buy(alice)
    await db.execute(text("UPDATE organizations SET kind = 'team'"))
    slug = await db.scalar(text("SELECT slug FROM organizations"))
    await db.commit()
    path = f"/api/organizations/{alice.organization_id}?confirm={slug}"
    assert (await shop.client.delete(path, headers=alice.headers)).status_code == 204
    command = await db.scalar(select(StripeCommand).where(StripeCommand.kind == "subscription.cancel"))
    assert command is not None
    async with database.transaction() as session:
        assert await may_purge(session, alice.organization_id) is False
    await shop.settle()
    assert (await shop.subscription(alice)).status == "canceled"
    async with database.transaction() as session:
        assert await may_purge(session, alice.organization_id) is False
    await shop.settle()
    assert (await shop.stripe.call("customers.list"))["data"] == []
    async with database.transaction() as session:
        assert await may_purge(session, alice.organization_id) is True


async def test_portal_when_it_is_opened(shop: Shop, alice: Persona) -> None:
    first = await post(shop, alice, "/portal", {"return_path": "/billing"})
    assert first.status_code == 201, first.text
    assert first.json()["url"] == first.headers["location"]
    body = {"return_path": "/billing", "flow": "subscription_cancel"}
    assert (await post(shop, alice, "/portal", body)).json()["code"] == "no_subscription"
    await shop.buy(alice)
    assert (await post(shop, alice, "/portal", body)).status_code == 201
    assert len((await shop.stripe.call("customers.list"))["data"]) == 1


async def test_invoice_when_it_is_to_be_paid(shop: Shop, alice: Persona, db: SystemSession) -> None:
    await shop.buy(alice)
    paid = await db.scalar(select(Invoice.id))
    assert (await post(shop, alice, f"/invoices/{paid}/pay")).json()["code"] == "invoice_not_open"
    await use_card(shop, alice, "pm_sbx_attach_only")
    await shop.control("clock", advance="P32D")
    await shop.settle()
    due = await db.scalar(select(Invoice.id).where(Invoice.status == "open"))
    answer = await post(shop, alice, f"/invoices/{due}/pay")
    assert (answer.status_code, "/invoices/" in answer.json()["hosted_invoice_url"]) == (200, True)


async def test_details_when_stripe_is_told(shop: Shop, alice: Persona) -> None:
    await shop.buy(alice)
    body = {"name": "Atelier", "address": {"line1": "1 rue A", "region": "Bretagne", "country": "FR"}}
    told = await shop.client.put("/api/billing/details", json=body, headers=alice.headers)
    assert told.json()["is_synced"] is False
    await shop.settle()
    assert (await shop.client.get("/api/billing/details", headers=alice.headers)).json()["is_synced"] is True
    (theirs,) = (await shop.stripe.call("customers.list"))["data"]
    assert (theirs["name"], theirs["address"]["state"]) == ("Atelier", "Bretagne")
