"""Endpoints of webhooks, their deliveries and attempts, for tests."""

from typing import Any
from uuid import UUID

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.events import emit
from app.core.ids import uuid7
from app.models.integrations import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from app.services.integrations.webhooks.signing import new_secret
from app.services.products.events import ProductUpdated
from tests.factories.events import make_event
from tests.support.personas import Persona


async def make_webhook(
    db: SystemSession,
    *,
    owner: Persona,
    url: str = "https://hooks.example.com/luneo",
    events: list[str] | None = None,
    **values: Any,
) -> tuple[WebhookEndpoint, str]:
    """An endpoint of the owner's organisation that gets everything unless told otherwise, and its secret."""
    endpoint = WebhookEndpoint(
        organization_id=owner.organization_id,
        id=uuid7(),
        created_by=owner.user_id,
        url=url,
        url_host="hooks.example.com",
        events=events or ["*"],
        **values,
    )
    db.add(endpoint)
    await db.flush()
    row, secret = new_secret(owner.organization_id, endpoint.id)
    db.add(row)
    await db.commit()
    return endpoint, secret


async def make_delivery(
    db: SystemSession, *, owner: Persona, endpoint_id: UUID, status: str = "pending", **values: Any
) -> WebhookDelivery:
    """A delivery of a new event of the log."""
    event = await make_event(db, owner=owner)
    delivery = WebhookDelivery(
        organization_id=owner.organization_id,
        id=uuid7(),
        endpoint_id=endpoint_id,
        event_id=event.event_id,
        status=status,
        **{"event_type": event.type, "created_at": event.occurred_at, **values},
    )
    db.add(delivery)
    await db.commit()
    return delivery


async def make_attempt(
    db: SystemSession, *, owner: Persona, delivery: WebhookDelivery, number: int = 1, **values: Any
) -> WebhookAttempt:
    """An attempt of a delivery."""
    attempt = WebhookAttempt(
        organization_id=owner.organization_id,
        id=uuid7(),
        endpoint_id=delivery.endpoint_id,
        delivery_id=delivery.id,
        number=number,
        started_at=clock.now(),
        **{"trigger": "auto", "duration_ms": 12, "response_status": 200, "response_body": "ok", **values},
    )
    db.add(attempt)
    await db.commit()
    return attempt


async def happen(database: Database, owner: Persona, *, count: int = 1) -> list[UUID]:
    """Emit so many changes of products of the owner's organisation, each committed; the events' ids."""
    emitted = []
    for number in range(count):
        product = {"sku": None, "slug": f"p-{number}", "name": "Vase", "status": "active", "price": 100}
        stock = {"currency": "EUR", "stock": 1, "reserved": 0, "available": 1, "version": number + 1}
        event = ProductUpdated(product_id=uuid7(), changed=["price"], **product, **stock)  # type: ignore[arg-type]  # plain values
        async with database.transaction() as session:
            emitted.append(await emit(session, event, organization_id=owner.organization_id))
    return emitted
