"""Invariant: every list is a page with an end, and costs the same number of statements however long it is."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from app.core.config import get_settings
from app.core.database import SystemSession
from app.core.events import REGISTRY, AuditSpec
from app.core.ids import uuid7
from app.core.paging import Page
from app.models.auth import User
from app.models.integrations import Integration
from app.models.orders import Order, OrderStatusHistory
from app.models.products import StockMovement
from app.models.team import Organization
from app.services.audit.checkpoints import sign_head
from tests.factories.accounts import access_token_of, make_member, make_organization, make_session
from tests.factories.audit import make_export
from tests.factories.billing import grant_plan, make_invoice, make_payment_method
from tests.factories.billing import make_entry as make_revenue_entry
from tests.factories.connections import make_integration, make_log
from tests.factories.events import make_event
from tests.factories.identities import make_identity
from tests.factories.integrations import make_api_key_row
from tests.factories.invitations import make_invitation
from tests.factories.mail import make_email, make_suppression
from tests.factories.notifications import make_browser, make_notice_delivery, make_notification
from tests.factories.orders import make_order, make_refund
from tests.factories.pricing import make_discount, make_shipping_rate, make_tax_rate
from tests.factories.privacy import make_consent, make_policy
from tests.factories.products import make_product
from tests.factories.roles import make_role
from tests.factories.stripe_webhooks import make_command, make_difference, make_stripe_event
from tests.factories.webhooks import make_attempt, make_delivery, make_webhook
from tests.invariants.examples import body_schema, resolve
from tests.invariants.path_ids import family
from tests.invariants.served import Served, document, served
from tests.support.audit import make_entry
from tests.support.events import declare_event, own_registry
from tests.support.personas import Persona

Maker = Callable[[SystemSession, Persona, dict[str, Any]], Awaitable[Any]]


async def _api_keys(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_api_key_row(db, owner=owner)


async def _integrations(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_integration(db, owner=owner)


async def _integration_logs(db: SystemSession, _owner: Persona, ids: dict[str, Any]) -> Any:
    found = (await db.scalars(select(Integration).where(Integration.id == ids["integration_id"]))).one()
    await make_log(db, integration=found)


async def _invoices(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_invoice(db, owner=owner)


async def _revenue(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_revenue_entry(db, owner=owner)


async def _discounts(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_discount(db, owner=owner)


async def _taxes(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_tax_rate(db, owner=owner)


async def _shipping(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_shipping_rate(db, owner=owner)


async def _grants(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await grant_plan(db, owner.organization_id, "premium")


async def _payment_methods(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_payment_method(db, owner=owner)


async def _orders(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_order(db, owner=owner, items=2)


async def _products(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_product(db, owner=owner)


async def _movements(db: SystemSession, owner: Persona, ids: dict[str, Any]) -> Any:
    product = {"organization_id": owner.organization_id, "product_id": ids["product_id"]}
    counts = {"delta_stock": 1, "stock_after": 11, "reserved_after": 0}
    db.add(StockMovement(id=uuid7(), reason="adjust", actor_type="user", **product, **counts))
    await db.commit()


async def _refunds(db: SystemSession, _owner: Persona, ids: dict[str, Any]) -> Any:
    order = (await db.scalars(select(Order).where(Order.id == ids["order_id"]))).one()
    await make_refund(db, order=order)


async def _steps(db: SystemSession, owner: Persona, ids: dict[str, Any]) -> Any:
    of_order = OrderStatusHistory.order_id == ids["order_id"]
    count = await db.scalar(select(func.count()).select_from(OrderStatusHistory).where(of_order))
    step = {"position": (count or 0) + 100, "field": "hold_reason", "actor_type": "system"}
    db.add(OrderStatusHistory(organization_id=owner.organization_id, order_id=ids["order_id"], **step))
    await db.commit()


async def _sessions(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_session(db, owner.user_id, organization_id=owner.organization_id)


async def _identities(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_identity(db, owner.user_id, provider=f"sso:{uuid7()}")


async def _organizations(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_organization(db, owner=await db.get_one(User, owner.user_id))


async def _members(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_member(db, await db.get_one(Organization, owner.organization_id))


async def _roles(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_role(db, owner.organization_id)


async def _webhooks(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_webhook(db, owner=owner)


async def _deliveries(db: SystemSession, owner: Persona, ids: dict[str, Any]) -> Any:
    delivery = await make_delivery(db, owner=owner, endpoint_id=ids["webhook_id"])
    await make_attempt(db, owner=owner, delivery=delivery)


async def _webhook_types(_db: SystemSession, _owner: Persona, _ids: dict[str, Any]) -> Any:
    # The real ones may be more than a page holds.
    for name in [name for name in REGISTRY if not name.startswith("test.")]:
        del REGISTRY[name]
    declare_event(f"test.happened_{len(REGISTRY)}", audience="organization").webhook = True


async def _audit_entries(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_entry(db, owner.organization_id, actor=owner)


async def _audit_actions(_db: SystemSession, _owner: Persona, _ids: dict[str, Any]) -> Any:
    # The real ones may be more than a page holds.
    for name in [name for name in REGISTRY if not name.startswith("test.")]:
        del REGISTRY[name]
    declare_event(f"test.happened_{len(REGISTRY)}").audit = AuditSpec()


async def _audit_exports(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_export(db, owner=owner)


async def _checkpoints(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_entry(db, owner.organization_id, actor=owner)
    await sign_head(db, owner.organization_id)
    await db.commit()


async def _events(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_event(db, owner=owner)


async def _event_types(_db: SystemSession, _owner: Persona, _ids: dict[str, Any]) -> Any:
    # The real ones may be more than a page holds.
    for name in [name for name in REGISTRY if not name.startswith("test.")]:
        del REGISTRY[name]
    declare_event(f"test.happened_{len(REGISTRY)}", audience="personal")


async def _invitations(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_invitation(db, owner=owner)


async def _own_invitations(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    house = await make_organization(db)
    await make_invitation(db, owner=owner, organization_id=house.id, email=owner.email)


async def _stripe_events(db: SystemSession, _owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_stripe_event(db)


async def _stripe_commands(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_command(db, owner=owner)


async def _differences(db: SystemSession, _owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_difference(db)


async def _emails(db: SystemSession, _owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_email(db)


async def _suppressions(db: SystemSession, _owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_suppression(db)


async def _notifications(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_notification(db, owner=owner)


async def _notice_deliveries(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_notice_delivery(db, owner=owner)


async def _browsers(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_browser(db, owner=owner)


async def _consents(db: SystemSession, owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_consent(db, owner=owner)


async def _policies(db: SystemSession, _owner: Persona, _ids: dict[str, Any]) -> Any:
    await make_policy(db)


MAKERS: dict[str, Maker] = {
    "GET /api/audit-logs": _audit_entries,
    "GET /api/audit-logs/catalog": _audit_actions,
    "GET /api/audit-logs/checkpoints": _checkpoints,
    "GET /api/audit-logs/exports": _audit_exports,
    "GET /api/billing/grants": _grants,
    "GET /api/billing/invoices": _invoices,
    "GET /api/billing/payment-methods": _payment_methods,
    "GET /api/billing/reconciliation": _differences,
    "GET /api/billing/revenue/entries": _revenue,
    "GET /api/billing/stripe-commands": _stripe_commands,
    "GET /api/billing/stripe-events": _stripe_events,
    "GET /api/events": _events,
    "GET /api/events/types": _event_types,
    "GET /api/integrations": _integrations,
    "GET /api/integrations/api-keys": _api_keys,
    "GET /api/integrations/{integration_id}/logs": _integration_logs,
    "GET /api/integrations/webhooks": _webhooks,
    "GET /api/integrations/webhooks/event-types": _webhook_types,
    "GET /api/integrations/webhooks/{webhook_id}/deliveries": _deliveries,
    "GET /api/integrations/webhooks/{webhook_id}/history": _deliveries,
    "GET /api/orders": _orders,
    "GET /api/orders/discounts": _discounts,
    "GET /api/orders/list": _orders,
    "GET /api/orders/shipping-rates": _shipping,
    "GET /api/orders/tax-rates": _taxes,
    "GET /api/orders/{order_id}/history": _steps,
    "GET /api/orders/{order_id}/refunds": _refunds,
    "GET /api/organizations": _organizations,
    "GET /api/notifications": _notifications,
    "GET /api/notifications/operator/emails": _emails,
    "GET /api/notifications/operator/suppressions": _suppressions,
    "GET /api/notifications/history": _notice_deliveries,
    "GET /api/notifications/push-subscriptions": _browsers,
    "GET /api/privacy/consents": _consents,
    "GET /api/privacy/policies": _policies,
    "GET /api/products": _products,
    "GET /api/products/{product_id}/stock/movements": _movements,
    "GET /api/settings/identities": _identities,
    "GET /api/settings/security-log": _audit_entries,
    "GET /api/settings/sessions": _sessions,
    "GET /api/team/activity": _audit_entries,
    "GET /api/team/invitations": _invitations,
    "GET /api/team/invitations/mine": _own_invitations,
    "GET /api/team/members": _members,
    "GET /api/team/roles": _roles,
    "POST /api/orders/list": _orders,
}
"""How one more row of a list is made; one entry per list route."""

WHOLE = {
    "GET /api/billing/plans": "One item per plan of the price list.",
    "GET /api/billing/usage": "One item per limit of a plan.",
    "GET /api/integrations/api-keys/scopes": "One item per permission of the registry.",
    "GET /api/notifications/operator/templates": "One item per mail and language.",
    "GET /api/notifications/templates": "One item per mail and language.",
    "GET /api/notifications/preferences": "One item per category and channel.",
    "GET /api/privacy/consents/current": "One item per purpose.",
    "GET /api/realtime/events": "At most a hundred events, and `next_cursor` goes on for ever.",
    "GET /sandbox/idp/{provider}/user/emails": "Two addresses, on a developer's machine.",
    "GET /sandbox/mail.json": "The newest hundred, on a developer's machine.",
}
"""Answers that hold a list and are no pages, and what bounds them."""


def is_page(route: Served) -> bool:
    model = route.context.response_model
    return isinstance(model, type) and issubclass(model, Page)


# A PUT that answers the whole list that it wrote is no list to be asked for.
LISTS = [route for route in served() if is_page(route) and route.method != "PUT"]


def has_list(route: Served) -> bool:
    """Whether the answer is a list, or one under `items`."""
    model = route.context.response_model
    fields = getattr(model, "model_fields", {})
    return getattr(model, "__origin__", None) is list or "items" in fields


def test_lists_when_they_are_counted() -> None:
    assert len(LISTS) >= 3
    names = {route.name for route in LISTS}
    assert names <= set(MAKERS), f"add {sorted(names - set(MAKERS))} to MAKERS in {__name__}"
    assert set(MAKERS) <= names, f"{sorted(set(MAKERS) - names)} are no lists: take them out of MAKERS"


def test_answers_when_they_hold_a_list_without_pages() -> None:
    found = {
        route.name for route in served() if route.method == "GET" and has_list(route) and not is_page(route)
    }
    assert found <= set(WHOLE), f"{sorted(found - set(WHOLE))} answer a list that never ends: answer Page[…]"
    assert set(WHOLE) <= found, f"{sorted(set(WHOLE) - found)} are gone: take them out of WHOLE"


def parameters_of(route: Served) -> dict[str, Any]:
    """The schemas of what a list can be asked, whether it stands in the query or in the body."""
    operation = route.operation
    if route.method == "POST":
        return dict(resolve(document(), body_schema(operation) or {})["properties"])
    return {item.get("name"): item.get("schema", {}) for item in operation.get("parameters", [])}


def test_queries_when_lists_declare_them() -> None:
    wrong: list[str] = []
    for route in LISTS:
        parameters = parameters_of(route)
        limit = parameters.get("limit", {})
        if (limit.get("minimum"), limit.get("maximum")) != (1, 100):
            wrong.append(f"{route.name}: its query must be a PageQuery, whose `limit` is 1 to 100")
        wrong += [f"{route.name} has no `{name}`" for name in ("cursor", "page") if name not in parameters]
    assert not wrong, "\n".join(wrong)


@dataclass
class Listing:
    """A list of Alice's, to be asked for."""

    client: AsyncClient
    headers: dict[str, str]
    route: Served
    ids: dict[str, Any]

    async def ask(self, **query: Any) -> Response:
        address = self.route.path.format(**self.ids)
        where: Any = {"json": query} if self.route.method == "POST" else {"params": query}
        return await self.client.request(self.route.method, address, headers=self.headers, **where)

    async def all(self) -> Any:
        answer = await self.ask(limit=100, count=True)
        assert answer.status_code == 200, f"{self.route.name} answered {answer.text}"
        return answer.json()


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """What a maker declares is gone after its test."""
    with own_registry():
        yield


@pytest.fixture
async def listing(
    client: AsyncClient, db: SystemSession, alice: Persona, route: Served, monkeypatch: pytest.MonkeyPatch
) -> Listing:
    headers = alice.headers
    if route.marker.is_for_staff:
        monkeypatch.setattr(get_settings(), "platform_staff_ids", [str(alice.user_id)])
        session = await make_session(db, alice.user_id, aal=2)
        headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    return Listing(client, headers, route, await family(db, alice, route))


STEPS_OVER: list[dict[str, Any]] = [
    {"limit": 101},
    {"limit": 0},
    {"limit": "x"},
    {"page": 0},
    {"cursor": "forged"},
    {"unknown": 1},
]


@pytest.mark.parametrize("route", LISTS, ids=lambda route: route.name)
async def test_list_when_its_bounds_are_overstepped(listing: Listing) -> None:
    for query in STEPS_OVER:
        answer = await listing.ask(**query)
        assert answer.status_code == 422, f"{listing.route.name} with {query} answered {answer.status_code}"
    assert (await listing.ask(limit=100)).status_code == 200


@pytest.mark.parametrize("route", LISTS, ids=lambda route: route.name)
async def test_list_when_it_grows(
    listing: Listing, db: SystemSession, alice: Persona, statements: Any
) -> None:
    name = listing.route.name
    for _ in range(2):
        await MAKERS[name](db, alice, listing.ids)
    await listing.all()  # What is read once per process is read now.
    with statements() as few:
        short = await listing.all()
    for _ in range(10):
        await MAKERS[name](db, alice, listing.ids)
    with statements() as many:
        long = await listing.all()
    assert len(long["items"]) == len(short["items"]) + 10, f"MAKERS makes no rows of {name}"
    assert long["total"] == len(long["items"])
    assert len(many) == len(few), (
        f"{name} sends {len(few)} statements for {len(short['items'])} rows and {len(many)} for"
        f" {len(long['items'])}: fetch what a row needs for all rows at once\n" + "\n".join(many)
    )
