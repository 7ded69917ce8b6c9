"""Rows that path ids can name: one factory per id of the document."""

from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any

from app.core import clock
from app.core.database import SystemSession
from app.models.team import Invitation, Organization
from app.repositories.team.invitations import InvitationRepository
from tests.factories.accounts import make_member, make_session
from tests.factories.audit import make_export
from tests.factories.billing import grant_plan, make_checkout, make_invoice, make_payment_method
from tests.factories.connections import make_integration
from tests.factories.events import make_event
from tests.factories.identities import make_identity
from tests.factories.integrations import make_api_key_row
from tests.factories.invitations import make_invitation
from tests.factories.mail import make_failed_email, make_suppression
from tests.factories.notifications import make_browser, make_notification
from tests.factories.orders import make_order, make_payment, make_refund
from tests.factories.pricing import make_discount
from tests.factories.products import make_product
from tests.factories.roles import make_role
from tests.factories.stripe_webhooks import make_command, make_difference
from tests.factories.webhooks import make_delivery, make_webhook
from tests.invariants.served import Served
from tests.support.audit import make_entry
from tests.support.personas import Persona

Made = Mapping[str, Any]
"""The rows of the path ids that stand to the left, by name."""


async def _api_key(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return (await make_api_key_row(db, owner=owner))[0]


async def _command(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_command(db, owner=owner)


async def _difference(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_difference(db, organization_id=owner.organization_id)


async def _checkout(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return SimpleNamespace(id=(await make_checkout(db, owner=owner)).stripe_session_id)


async def _grant(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await grant_plan(db, owner.organization_id, "premium")


async def _payment_method(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_payment_method(db, owner=owner)


async def _plan(_db: SystemSession, _owner: Persona, _made: Made) -> Any:
    return SimpleNamespace(id="premium")


async def _discount(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_discount(db, owner=owner)


async def _entry(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return SimpleNamespace(id=await make_entry(db, owner.organization_id, actor=owner))


async def _event(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return SimpleNamespace(id=(await make_event(db, owner=owner)).event_id)


async def _identity(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_identity(db, owner.user_id)


async def _integration(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_integration(db, owner=owner)


async def _invitation(db: SystemSession, owner: Persona, _made: Made) -> Any:
    # The owner's own address, so that the routes of the invited person find it too; it has one open at most.
    mine = (Invitation.organization_id == owner.organization_id, Invitation.email == owner.email)
    await InvitationRepository(db).close(*mine, status="cancelled", now=clock.now())
    return await make_invitation(db, owner=owner, email=owner.email)


async def _invoice(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_invoice(db, owner=owner)


async def _member(db: SystemSession, owner: Persona, _made: Made) -> Any:
    organization = await db.get_one(Organization, owner.organization_id)
    return await make_member(db, organization)


async def _notification(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_notification(db, owner=owner)


async def _order(db: SystemSession, owner: Persona, _made: Made) -> Any:
    order = await make_order(db, owner=owner)
    await make_invoice(db, owner=owner, order_id=order.id)
    return order


async def _organization(_db: SystemSession, owner: Persona, _made: Made) -> Any:
    return SimpleNamespace(id=owner.organization_id)


async def _payment(db: SystemSession, _owner: Persona, made: Made) -> Any:
    unapplied = {"status": "unapplied", "unapplied_reason": "amount_mismatch"}
    return await make_payment(db, order=made["order_id"], **unapplied)


async def _product(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_product(db, owner=owner)


async def _push_subscription(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_browser(db, owner=owner)


async def _refund(db: SystemSession, owner: Persona, made: Made) -> Any:
    return await make_refund(db, order=made["order_id"])


async def _role(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_role(db, owner.organization_id)


async def _session(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_session(db, owner.user_id, organization_id=owner.organization_id)


async def _user(_db: SystemSession, owner: Persona, _made: Made) -> Any:
    return SimpleNamespace(id=owner.user_id)


async def _export(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return await make_export(db, owner=owner)


async def _webhook(db: SystemSession, owner: Persona, _made: Made) -> Any:
    return (await make_webhook(db, owner=owner))[0]


async def _delivery(db: SystemSession, owner: Persona, made: Made) -> Any:
    return await make_delivery(db, owner=owner, endpoint_id=made["webhook_id"].id, status="succeeded")


async def _email(db: SystemSession, _owner: Persona, _made: Made) -> Any:
    return SimpleNamespace(id=await make_failed_email(db))


async def _suppression(db: SystemSession, _owner: Persona, _made: Made) -> Any:
    return await make_suppression(db)


async def _key(_db: SystemSession, _owner: Persona, _made: Made) -> Any:
    return SimpleNamespace(id="order_confirmation")


async def _locale(_db: SystemSession, _owner: Persona, _made: Made) -> Any:
    return SimpleNamespace(id="fr")


FACTORIES: dict[str, Callable[[SystemSession, Persona, Made], Awaitable[Any]]] = {
    "api_key_id": _api_key,
    "checkout_session_id": _checkout,
    "command_id": _command,
    "delivery_id": _delivery,
    "difference_id": _difference,
    "discount_id": _discount,
    "email_id": _email,
    "entry_id": _entry,
    "event_id": _event,
    "export_id": _export,
    "grant_id": _grant,
    "identity_id": _identity,
    "integration_id": _integration,
    "invitation_id": _invitation,
    "invoice_id": _invoice,
    "key": _key,
    "locale": _locale,
    "member_id": _member,
    "notification_id": _notification,
    "order_id": _order,
    "organization_id": _organization,
    "payment_id": _payment,
    "payment_method_id": _payment_method,
    "plan_code": _plan,
    "product_id": _product,
    "push_subscription_id": _push_subscription,
    "refund_id": _refund,
    "role_id": _role,
    "session_id": _session,
    "suppression_id": _suppression,
    "user_id": _user,
    "webhook_id": _webhook,
}
"""How a row is made that a path id can name; one entry per id of the document."""


WORDS = frozenset({"key", "locale"})
"""Path parameters of a closed list: they name no row, and mean something to every organisation."""


def names_rows(route: Served) -> bool:
    """Whether the path names rows, which are somebody's."""
    return not WORDS.issuperset(route.path_ids)


OTHER_NAMES = {"order_id": "order_number"}
"""What else names a row where its id may stand."""


async def family(db: SystemSession, owner: Persona, route: Served) -> dict[str, Any]:
    """The ids of rows of the owner's for every path id of the route, each made with those before it."""
    return {name: row.id for name, row in (await _rows(db, owner, route)).items()}


async def all_names(db: SystemSession, owner: Persona, route: Served) -> list[dict[str, Any]]:
    """Every way to name such rows: by their ids first."""
    rows = await _rows(db, owner, route)
    ids = {name: row.id for name, row in rows.items()}
    others = {name: getattr(rows[name], other) for name, other in OTHER_NAMES.items() if name in rows}
    return [ids, {**ids, **others}] if others else [ids]


async def _rows(db: SystemSession, owner: Persona, route: Served) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in route.path_ids:
        made[name] = await FACTORIES[name](db, owner, made)
    return made
