"""Which mails to buyers follow from the events of orders."""

from datetime import datetime
from typing import Any
from uuid import UUID

from app.core.database import SystemSession
from app.repositories.orders.tracking import TrackingRepository
from app.services.notifications.requests import MailRequest, SignedLink, mails_for
from app.services.orders.events import OrderTrackRequested
from app.services.orders.track_links import TRACK_USE, TrackLink

TRACK_PATH = "/orders/track"
"""The page of the application that shows an order to its buyer."""


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
    if found is None or found.order.customer_email is None or found.order.customer_email_canonical is None:
        return []
    expires_at = datetime.fromisoformat(private["expires_at"])
    link = TrackLink.to(organization_id, order_id, found.order.customer_email_canonical, expires_at)
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
        link=SignedLink(use=TRACK_USE, facts=link.facts, path=TRACK_PATH),
    )
    return [request]
