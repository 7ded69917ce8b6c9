"""Owns what is fetched from Stripe for each type of event, and which other objects it names."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

from app.clients.stripe import StripeClient, StripeMissing
from app.services.stripe_webhooks.effects import EventUnresolved

Fetch = Callable[[StripeClient, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Fetches the object that a hint (the delivered one) names."""

MAX_ID = 255


def id_of(value: object) -> str | None:
    """The id of a member that may be expanded: the id itself, or the object that carries it."""
    found = value.get("id") if isinstance(value, dict) else value
    return found if isinstance(found, str) and 0 < len(found) <= MAX_ID else None


def _named(hint: dict[str, Any], member: str) -> str:
    found = id_of(hint.get(member))
    if found is None:
        raise EventUnresolved(f"the event names no {member}")
    return found


async def _retrieve(
    client: StripeClient,
    hint: dict[str, Any],
    *,
    operation: str,
    member: str = "id",
    expand: tuple[str, ...] = (),
) -> dict[str, Any]:
    params = {"expand": list(expand)} if expand else None
    return await client.call(operation, _named(hint, member), params=params)


async def _session(client: StripeClient, hint: dict[str, Any]) -> dict[str, Any]:
    """A Checkout Session with every one of its lines."""
    expand = ("payment_intent", "subscription", "line_items")
    found = await _retrieve(client, hint, operation="checkout.sessions.retrieve", expand=expand)
    lines = found.get("line_items")
    if isinstance(lines, dict) and lines.get("has_more"):
        every = client.pages("checkout.sessions.line_items.list", found["id"], params={"limit": 100})
        found["line_items"] = {**lines, "data": [line async for line in every], "has_more": False}
    return found


async def _refunds(client: StripeClient, hint: dict[str, Any]) -> dict[str, Any]:
    """The PaymentIntent with all its refunds under `refunds`, since a charge no longer carries them all."""
    intent = await _retrieve(
        client,
        hint,
        operation="payment_intents.retrieve",
        member="payment_intent",
        expand=("latest_charge.balance_transaction",),
    )
    every = client.pages("refunds.list", params={"payment_intent": intent["id"], "limit": 100})
    return {**intent, "refunds": [refund async for refund in every]}


async def _as_delivered(client: StripeClient, hint: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - a Fetch
    """What has no object at Stripe: an upcoming invoice, a draft that is gone."""
    return dict(hint)


_INTENT = partial(
    _retrieve, operation="payment_intents.retrieve", expand=("latest_charge.balance_transaction",)
)
_SUBSCRIPTION = partial(_retrieve, operation="subscriptions.retrieve")
PAYMENTS = "payments.data.payment.payment_intent"
"""What is expanded of an invoice: its payments, and of each why it failed."""

_INVOICE = partial(_retrieve, operation="invoices.retrieve", expand=(PAYMENTS,))

_GROUPS: tuple[tuple[str, str, Fetch], ...] = (
    (
        "checkout.session",
        "completed async_payment_succeeded async_payment_failed expired",
        _session,
    ),
    (
        "payment_intent",
        "succeeded amount_capturable_updated processing requires_action payment_failed canceled",
        _INTENT,
    ),
    ("charge", "refunded refund.updated", _refunds),
    ("refund", "created updated failed", _refunds),
    ("charge", "updated", partial(_retrieve, operation="charges.retrieve", expand=("balance_transaction",))),
    (
        "charge.dispute",
        "created updated closed funds_withdrawn funds_reinstated",
        partial(_retrieve, operation="disputes.retrieve"),
    ),
    (
        "customer.subscription",
        "created updated deleted paused resumed pending_update_applied pending_update_expired trial_will_end",
        _SUBSCRIPTION,
    ),
    (
        "subscription_schedule",
        "updated released completed canceled",
        partial(_retrieve, operation="subscription_schedules.retrieve"),
    ),
    (
        "invoice",
        "created finalized updated sent overdue will_be_due voided marked_uncollectible paid"
        " payment_succeeded payment_failed payment_action_required finalization_failed",
        _INVOICE,
    ),
    ("invoice", "upcoming deleted", _as_delivered),
    ("invoice_payment", "paid", partial(_INVOICE, member="invoice")),
    (
        "payment_method",
        "attached updated automatically_updated detached",
        partial(_retrieve, operation="payment_methods.retrieve"),
    ),
    ("setup_intent", "succeeded setup_failed", partial(_retrieve, operation="setup_intents.retrieve")),
    ("customer", "updated deleted", partial(_retrieve, operation="customers.retrieve")),
    ("credit_note", "created updated voided", partial(_retrieve, operation="credit_notes.retrieve")),
    (
        "price",
        "created updated deleted",
        partial(_retrieve, operation="prices.retrieve", expand=("product",)),
    ),
    ("product", "created updated deleted", partial(_retrieve, operation="products.retrieve")),
)

FETCHED: dict[str, Fetch] = {
    f"{prefix}.{name}": fetch for prefix, names, fetch in _GROUPS for name in names.split()
}
"""How the object is fetched, by the type of event: the types of the Stripe page, section 4."""


def is_known(event_type: str) -> bool:
    """Whether events of this type are processed."""
    return event_type in FETCHED


async def fetch_for(client: StripeClient, event_type: str, hint: dict[str, Any]) -> dict[str, Any]:
    """The object of an event as Stripe has it now; for a `deleted` type that is gone, that it is deleted.

    EventUnresolved when it is not there; errors of the client.
    """
    try:
        return await FETCHED[event_type](client, hint)
    except StripeMissing:
        if event_type.endswith(".deleted"):
            return {"id": id_of(hint), "object": hint.get("object"), "deleted": True}
        raise EventUnresolved("Stripe does not know the object") from None


OWNERS = ("customer", "payment_intent", "subscription", "invoice", "checkout_session", "charge")
"""Members that name an object whose organisation is that of the event's."""


def _subscription_details(found: dict[str, Any]) -> dict[str, Any]:
    """What an invoice says of its subscription; empty for anything else, whatever was delivered."""
    parent = found.get("parent")
    details = parent.get("subscription_details") if isinstance(parent, dict) else None
    return details if isinstance(details, dict) else {}


def objects_named(fetched: dict[str, Any]) -> dict[str, str]:
    """The objects by which an organisation is found, and their types: the object's own id comes first."""
    named: dict[str, str] = {}
    own = id_of(fetched)
    if own is not None:
        named[own] = str(fetched.get("object"))
    for member in OWNERS:
        found = id_of(fetched.get(member))
        if found is not None:
            named.setdefault(found, "checkout.session" if member == "checkout_session" else member)
    subscription = id_of(_subscription_details(fetched).get("subscription"))
    if subscription is not None:
        named.setdefault(subscription, "subscription")
    return named


def metadata_id(fetched: dict[str, Any], member: str) -> UUID | None:
    """An id of ours in the object's metadata, or in that of the subscription of an invoice."""
    for metadata in (fetched.get("metadata"), _subscription_details(fetched).get("metadata")):
        if isinstance(metadata, dict) and isinstance(metadata.get(member), str):
            try:
                return UUID(metadata[member])
            except ValueError:
                continue
    return None
