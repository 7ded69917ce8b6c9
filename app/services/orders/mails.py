"""Which mails to buyers follow from the events of orders."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.core import clock
from app.core.config import get_settings
from app.core.database import SystemSession
from app.models.orders import Order
from app.repositories.orders.buyer_mails import BuyerMailRepository, MailedOrder
from app.repositories.orders.tracking import TrackingRepository
from app.services.billing.order_invoices import FRENCH
from app.services.billing.pdf.words import money
from app.services.notifications.requests import MailRequest, SignedLink, mails_for
from app.services.orders.applying import AUTHENTICATION_REQUIRED
from app.services.orders.events import (
    OrderActionRequired,
    OrderDelivered,
    OrderPaid,
    OrderPaymentFailed,
    OrderRefunded,
    OrderShipped,
    OrderTrackRequested,
)
from app.services.orders.states import UNPAID
from app.services.orders.track_links import TRACK_USE, TrackLink

TRACK_PATH = "/orders/track"
"""The page of the application that shows an order to its buyer."""

TEMPLATES = {
    OrderPaid.type: "order_confirmation",
    OrderShipped.type: "order_shipped",
    OrderDelivered.type: "order_delivered",
    OrderRefunded.type: "order_refunded",
    OrderPaymentFailed.type: "order_payment_failed",
    OrderActionRequired.type: "order_action_required",
}

LINES_TOLD = 20
"""So many lines of an order at most stand in a mail; the link leads to all of them."""

CLOSED = frozenset({"cancelled", "expired", "returned"})


@mails_for(OrderTrackRequested)
async def order_mails(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - one kind of event of this area is mailed
    data: dict[str, Any],
    private: dict[str, Any],
) -> list[MailRequest]:
    """The link to the order that somebody asked for; none when no order fitted, or its buyer is erased."""
    if data["order_id"] is None:
        return []
    organization_id, order_id = UUID(data["organization_id"]), UUID(data["order_id"])
    found = await TrackingRepository(session).get(organization_id, order_id)
    if found is None or found.order.customer_email is None:
        return []
    expires_at = datetime.fromisoformat(private["expires_at"])
    link = _link(found.order, expires_at)
    if link is None:
        return []
    request = MailRequest(
        template="order_track_link",
        to=found.order.customer_email,
        locale=private["locale"],
        category="account",
        expires_at=expires_at,
        organization_id=organization_id,
        variables={
            "number": found.order.order_number or "",
            "shop": found.shop,
            "until": f"{expires_at:%Y-%m-%d %H:%M} UTC",
        },
        link=link,
    )
    return [request]


@mails_for(OrderPaid, OrderShipped, OrderDelivered, OrderRefunded, OrderPaymentFailed, OrderActionRequired)
async def buyer_mails(
    session: SystemSession,
    event_type: str,
    data: dict[str, Any],
    private: dict[str, Any],  # noqa: ARG001 - it is empty
) -> list[MailRequest]:
    """What the buyer is told of an order; nothing any more when the buyer is erased, or it is not so now."""
    orders = BuyerMailRepository(session)
    found = await orders.order(UUID(data["organization_id"]), UUID(data["order_id"]))
    if found is None or found.order.customer_email is None or not _is_so(found.order, event_type):
        return []
    order, amount, currency = found.order, found.order.total_amount, found.order.currency
    if event_type == OrderRefunded.type:
        refund = await orders.refund(order.organization_id, UUID(data["refund"]["refund_id"]))
        if refund is None or refund.status != "succeeded" or not refund.amount:
            return []
        amount, currency = refund.amount, refund.currency
    expires_at = clock.now() + timedelta(hours=get_settings().order_track_link_hours)
    locale = locale_of_buyer(found)
    request = MailRequest(
        template=TEMPLATES[event_type],
        to=found.order.customer_email,
        locale=locale,
        category="order_customer",
        expires_at=expires_at,
        organization_id=order.organization_id,
        variables={
            "name": order.customer_name or "",
            "number": order.order_number or "",
            "shop": found.shop,
            "items": _told(found.items),
            "amount": money(amount, currency, locale),
            "carrier": order.carrier or "",
            "tracking_number": order.tracking_number or "",
            "tracking_url": order.tracking_url or "",
            "pay_url": order.checkout_url or "",
            "until": f"{expires_at:%Y-%m-%d %H:%M} UTC",
        },
        link=_link(order, expires_at),
    )
    return [request]


def locale_of_buyer(found: MailedOrder) -> str:
    """The language of mails to the buyer: by the language or the address in the order, else the seller's.

    `locale` in the metadata is what the shop or the payment page knows of the buyer.
    """
    known = found.order.metadata_.get("locale")
    if isinstance(known, str) and known:
        return "fr" if known.lower().startswith("fr") else "en"
    for place in (found.order.shipping_address, found.order.billing_address, found.seller):
        if place and place.get("country"):
            return "fr" if place["country"] in FRENCH else "en"
    return "en"


def _is_so(order: Order, event_type: str) -> bool:
    """Whether what an event told is still so, where it would trouble the buyer if it is not."""
    match event_type:
        case OrderPaid.type:
            return order.status not in CLOSED
        case OrderPaymentFailed.type:
            # On a page that is still open the buyer has seen the refusal, and may try again there.
            return order.payment_status == "failed" and order.checkout_url is None
        case OrderActionRequired.type:
            is_asked = order.payment_failure_code == AUTHENTICATION_REQUIRED
            return is_asked and order.payment_status in UNPAID
        case _:
            return True


def _link(order: Order, expires_at: datetime) -> SignedLink | None:
    """The link to an order for its buyer; None when the buyer is erased."""
    if order.customer_email_canonical is None:
        return None
    link = TrackLink.to(order.organization_id, order.id, order.customer_email_canonical, expires_at)
    return SignedLink(use=TRACK_USE, facts=link.facts, path=TRACK_PATH)


def _told(items: list[dict[str, Any]]) -> str:
    """The lines of an order, one below the other."""
    lines = [f"{item['quantity']} × {item['name']}" for item in items[:LINES_TOLD]]  # noqa: RUF001 - times
    return "\n".join([*lines, "…"] if len(items) > LINES_TOLD else lines)
