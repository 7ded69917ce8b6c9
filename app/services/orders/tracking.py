"""Orders for buyers without an account: asking for the link to one, and following it."""

from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Request

from app.core import clock
from app.core.access import Principal
from app.core.config import get_settings
from app.core.database import DatabaseOf, Unscoped
from app.core.errors import Gone, NotFound
from app.core.events import emit
from app.core.limits import enforce
from app.core.mail_addresses import parse_address
from app.repositories.orders.orders import OrderRepository, OrderView
from app.repositories.orders.tracking import TrackingRepository
from app.schemas.orders.buyers import PublicOrder, TrackRequest, TrackRequested
from app.services.orders.events import OrderTrackRequested
from app.services.orders.track_links import TrackLink


class TrackingService:
    """Answers buyers, who are known by the mail that they receive and by nothing else."""

    def __init__(self, request: Request, session: Unscoped, database: DatabaseOf) -> None:
        self.request = request
        self.session = session
        self.database = database

    async def request_link(self, body: TrackRequest) -> TrackRequested:
        """Have a link mailed to the order's buyer; what happens, and how long it takes, tells nothing.

        429 `rate_limited` when the same e-mail address is sent too often.
        """
        canonical = parse_address(body.email).canonical
        await enforce(self.request, "orders_track_email", key=canonical)
        number = body.order_number.strip().upper()
        found = await TrackingRepository(self.session).find(body.organization, number, canonical)
        locale = locale_of(self.request.headers.get("accept-language"))
        expires_at = clock.now() + timedelta(hours=get_settings().order_track_link_hours)
        await emit(
            self.session,
            OrderTrackRequested(
                organization_id=found.organization_id if found else None,
                order_id=found.order_id if found else None,
            ),
            private={"expires_at": expires_at.isoformat(), "locale": locale},
            organization_id=found.organization_id if found else None,
        )
        return TrackRequested()

    async def follow(self, token: str) -> PublicOrder:
        """The order that a link leads to. 404; 410 `token_expired`."""
        link = TrackLink.read(token)
        if link is None:
            raise NotFound()
        if link.expires_at <= clock.now():
            raise Gone("token_expired", "This link has expired; ask for a new one.")
        shop = Principal(kind="system", name="order_link", organization_id=link.organization_id)
        async with self.database.owner(shop, autocommit=True) as session:
            view = await OrderRepository(session).view(link.order_id)
        if view is None or not link.is_for(view.order.customer_email_canonical):
            raise NotFound()
        return _shown(view)


def _shown(view: OrderView) -> PublicOrder:
    members = {name: getattr(view.order, name, None) for name in PublicOrder.model_fields}
    return PublicOrder.model_validate({**members, "order_items": view.items})


def locale_of(languages: str | None) -> str:
    """The language of a buyer's mail: French, unless the browser asks for another one first."""
    first = (languages or "fr").split(",", 1)[0].strip().lower()
    return "fr" if first.startswith("fr") else "en"


Tracking = Annotated[TrackingService, Depends()]
