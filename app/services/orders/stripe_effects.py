"""What events of Stripe do to orders: payments, refunds, fees and disputes."""

from typing import Any
from uuid import UUID

from app.clients.stripe import StripeClient
from app.core.database import ScopedSession, SystemSession
from app.services.billing.ledger import record
from app.services.orders.applying import PaymentApplier
from app.services.orders.checkout_state import close_checkout
from app.services.orders.disputing import apply_dispute, dispute_event, is_inquiry
from app.services.orders.link_orders import LinkOrders, link_facts
from app.services.orders.provider_refunds import RefundImporter
from app.services.stripe_webhooks.effects import (
    CustomerConflict,
    EventUnresolved,
    StripeEventRow,
    on_stripe,
)
from app.services.stripe_webhooks.fetching import id_of, metadata_id
from app.services.stripe_webhooks.link_sessions import is_of_link

NOT_AN_ORDER = "not_an_order"
OPENED = "charge.dispute.created"


@on_stripe(
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    also=link_facts,
)
async def on_session(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """A checkout was paid, is being paid, or is over: its intent says which.

    One of a payment link becomes an order first.
    """
    applier = _applier(session, event)
    if is_of_link(fetched):
        await _on_link(applier, fetched)
        return None
    order_id = metadata_id(fetched, "order_id")
    if fetched["mode"] != "payment" or order_id is None:
        return NOT_AN_ORDER
    order = await applier.take(order_id)
    await close_checkout(applier, order, fetched)
    if isinstance(intent := fetched.get("payment_intent"), dict):
        await applier.apply_payment(order, intent, is_agreed=fetched["status"] == "complete")
    return None


@on_stripe(
    "payment_intent.succeeded",
    "payment_intent.amount_capturable_updated",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
)
async def on_intent(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """A payment has come a step further."""
    applier = _applier(session, event)
    order_id = await _order_of(applier, fetched)
    if order_id is None:
        return NOT_AN_ORDER
    await applier.apply_payment(await applier.take(order_id), fetched)
    await _record_fee(session, event.owner, order_id, fetched.get("latest_charge"))
    return None


@on_stripe(
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
)
async def on_refunds(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """Money went back, or did not: every refund of the payment is compared."""
    applier = _applier(session, event)
    order_id = await _order_of(applier, fetched)
    if order_id is None:
        return NOT_AN_ORDER
    order = await applier.take(order_id)
    await applier.apply_payment(order, fetched)
    payment = await applier.payments.of_intent(event.owner, fetched["id"])
    if not fetched["refunds"]:
        return None
    if payment is None:
        raise EventUnresolved("a payment was refunded that is not here")
    events = await RefundImporter(session, order, payment).take(fetched["refunds"])
    await applier.put_back(order, events or None)
    return None


@on_stripe("charge.updated")
async def on_charge(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """What Stripe took for a payment is known."""
    applier = _applier(session, event)
    intent_id = str(id_of(fetched.get("payment_intent")))
    order_id = await applier.payments.order_of_intent(event.owner, intent_id)
    if order_id is None:
        return NOT_AN_ORDER
    await _record_fee(session, event.owner, order_id, fetched)
    return None


async def _disputed_intent(client: StripeClient, dispute: dict[str, Any]) -> dict[str, Any]:
    """The payment that is disputed, which may not have been heard of yet."""
    named = id_of(dispute.get("payment_intent"))
    found = None if named is None else await client.call("payment_intents.retrieve", named)
    return {"disputed_intent": found}


@on_stripe(
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    also=_disputed_intent,
)
async def on_dispute(session: SystemSession, fetched: dict[str, Any], event: StripeEventRow) -> str | None:
    """A buyer takes the money back through the bank; somebody wins."""
    intent = fetched["disputed_intent"]
    applier = _applier(session, event)
    order_id = None if intent is None else await _order_of(applier, intent)
    if order_id is None:
        return NOT_AN_ORDER
    order = await applier.take(order_id)
    await applier.apply_payment(order, intent)
    payment = await applier.payments.of_intent(event.owner, intent["id"])
    if payment is None:
        raise EventUnresolved("a payment is disputed that is not here")
    events = await apply_dispute(session, order, payment, fetched)
    if is_inquiry(fetched) and event.type == OPENED:
        # Money stays where it is; the seller has to answer all the same, and is told once.
        events = [dispute_event(fetched)]
    await applier.put_back(order, events)
    return None


def _applier(session: SystemSession, event: StripeEventRow) -> PaymentApplier:
    return PaymentApplier(session, event.owner, event.id, fetched_at=event.fetched_at)


async def _on_link(applier: PaymentApplier, fetched: dict[str, Any]) -> None:
    """Place the order of a payment link's session, once, and apply what has become of its payment."""
    if metadata_id(fetched, "organization_id") != applier.organization_id:
        raise CustomerConflict(str(fetched["id"]))
    order = await LinkOrders(applier.session, applier).take(fetched)
    intent = fetched.get("payment_intent")
    if not isinstance(intent, dict):
        await applier.settle_free(order)
        return
    await applier.apply_payment(order, intent, is_agreed=True)
    payment = await applier.payments.of_intent(order.organization_id, intent["id"])
    if payment is None:
        return
    if intent["refunds"]:
        events = await RefundImporter(applier.session, order, payment).take(intent["refunds"])
        await applier.put_back(order, events or None)
    await _record_fee(applier.session, order.organization_id, order.id, intent.get("latest_charge"))


async def _order_of(applier: PaymentApplier, intent: dict[str, Any]) -> UUID | None:
    """The order that an intent pays: the one that it names, or the one that it has paid."""
    named = metadata_id(intent, "order_id")
    if named is not None:
        return named
    return await applier.payments.order_of_intent(applier.organization_id, str(intent["id"]))


async def _record_fee(session: ScopedSession, organization_id: UUID, order_id: UUID, charge: Any) -> None:
    """Write down what Stripe took of a charge, once, as soon as it is known."""
    movement = charge.get("balance_transaction") if isinstance(charge, dict) else None
    if not isinstance(movement, dict) or not movement.get("fee"):
        return
    await record(
        session,
        organization_id,
        source="order",
        account="merchant",
        entry_type="fee",
        amount=-int(movement["fee"]),
        currency=str(movement["currency"]).upper(),
        source_ref=str(charge["id"]),
        recorded_at=await session.now(),
        order_id=order_id,
        stripe_payment_intent_id=id_of(charge.get("payment_intent")),
    )
