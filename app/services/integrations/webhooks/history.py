"""Deliveries as people see them: lists, one with its attempts, and the retry by hand."""

import json
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import Owner
from app.core.errors import Conflict, Gone, NotFound
from app.core.events import emit
from app.core.paging import Keyset, Page, PageQuery, Pager, Rows, Sort
from app.models.integrations import WebhookAttempt, WebhookDelivery
from app.repositories.integrations.webhooks import AttemptRepository, DeliveryRepository, EndpointRepository
from app.repositories.integrations.webhooks.deliveries import DeliveryFilter
from app.schemas.integrations.webhooks import (
    WebhookAttemptRead,
    WebhookDeliveryDetail,
    WebhookDeliveryQuery,
    WebhookDeliveryRead,
    WebhookHistoryRead,
)
from app.services.integrations.webhooks.events import WebhookDeliveryRetryRequested

SHOWN_ATTEMPTS = 100

NEWEST_FIRST = {"-created_at": Sort(WebhookDelivery.created_at, True, has_cursor=True)}
KEYSET = Keyset(WebhookDelivery.created_at, WebhookDelivery.id)
PAGER = Pager("webhook_deliveries", KEYSET, NEWEST_FIRST)
HISTORY_PAGER = Pager("webhook_history", KEYSET, NEWEST_FIRST)


class WebhookDeliveryService:
    """Reads deliveries of the caller's endpoints, and lets them be sent again."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        assert principal.organization_id is not None  # noqa: S101 - the marker asks for a permission
        self.session = session
        self.organization_id = principal.organization_id
        self.deliveries = DeliveryRepository(session)
        self.attempts = AttemptRepository(session)

    async def list(self, endpoint_id: UUID, query: WebhookDeliveryQuery) -> Page[WebhookDeliveryRead]:
        """A page of deliveries, those of the newest events first. 404."""
        wanted = DeliveryFilter(
            status=query.status,
            event_type=query.event_type,
            error_code=query.error_code,
            since=query.from_,
            until=query.to,
        )
        rows = await self._rows(PAGER, endpoint_id, query, wanted)
        return Page[WebhookDeliveryRead].model_validate(
            rows.map(lambda row: WebhookDeliveryRead(**_values(row)))
        )

    async def get(self, endpoint_id: UUID, delivery_id: UUID) -> WebhookDeliveryDetail:
        """One delivery with its event and its attempts. 404."""
        delivery = await self.deliveries.find(endpoint_id, delivery_id)
        if delivery is None:
            raise NotFound()
        bodies = await self.deliveries.envelopes([delivery.event_id])
        attempts = await self.attempts.of_delivery(self.organization_id, delivery_id, SHOWN_ATTEMPTS)
        return WebhookDeliveryDetail(
            **_values(delivery),
            event=_parsed(bodies.get(delivery.event_id)),
            attempts=[_attempt(row) for row in attempts],
        )

    async def retry(self, endpoint_id: UUID, delivery_id: UUID) -> WebhookDeliveryRead:
        """Send a delivery again, with ten attempts more.

        404; 409 `delivery_in_progress`; 410 `event_expired`. It waits like every other where its endpoint is
        paused, disabled or left alone.
        """
        if await EndpointRepository(self.session).lock(self.organization_id, endpoint_id) is None:
            raise NotFound()
        found = await self.deliveries.lock(self.organization_id, delivery_id)
        if found is None or found.endpoint_id != endpoint_id:
            raise NotFound()
        now = await self.session.now()
        if found.status == "sending":
            raise Conflict("delivery_in_progress", "It is being sent in this moment; look what comes of it.")
        if found.created_at < now - timedelta(days=get_settings().events_retention_days):
            raise Gone("event_expired", "This event is older than the log is kept.")
        again = {"status": "pending", "cycle_attempts": 0, "next_attempt_at": now, "completed_at": None}
        await self.deliveries.change(self.organization_id, delivery_id, again)
        await emit(self.session, WebhookDeliveryRetryRequested(delivery_id=delivery_id))
        await self.session.refresh(found)
        return WebhookDeliveryRead(**_values(found))

    async def history(self, endpoint_id: UUID, query: PageQuery) -> Page[WebhookHistoryRead]:
        """A page of deliveries, each in one piece. 404."""
        rows = await self._rows(HISTORY_PAGER, endpoint_id, query, DeliveryFilter())
        bodies = await self.deliveries.envelopes({row.event_id for row in rows.items})
        ids = {row.id for row in rows.items}
        answers = await self.attempts.last_bodies(self.organization_id, ids)
        return Page[WebhookHistoryRead].model_validate(
            rows.map(lambda row: _history(row, bodies.get(row.event_id), answers.get(row.id)))
        )

    async def _rows(
        self, pager: Pager, endpoint_id: UUID, query: PageQuery, wanted: DeliveryFilter
    ) -> Rows[WebhookDelivery]:
        if await EndpointRepository(self.session).get(endpoint_id) is None:
            raise NotFound()
        return await pager.rows(
            self.session, self.deliveries.matching(endpoint_id, wanted), query, "-created_at"
        )


def _values(delivery: WebhookDelivery) -> dict[str, Any]:
    derived = {
        "webhook_id": delivery.endpoint_id,
        "attempt_count": delivery.attempts,
        "next_attempt_at": delivery.next_attempt_at if delivery.status in ("pending", "retrying") else None,
    }
    kept = {name: getattr(delivery, name) for name in WebhookDeliveryRead.model_fields if name not in derived}
    return {**kept, **derived}


def _attempt(row: WebhookAttempt) -> WebhookAttemptRead:
    remote_ip = str(row.remote_ip) if row.remote_ip is not None else None
    kept = {name: getattr(row, name) for name in WebhookAttemptRead.model_fields if name != "remote_ip"}
    return WebhookAttemptRead(**kept, remote_ip=remote_ip)


def _history(delivery: WebhookDelivery, body: str | None, answer: str | None) -> WebhookHistoryRead:
    return WebhookHistoryRead(
        id=delivery.id,
        webhook_id=delivery.endpoint_id,
        event_type=delivery.event_type,
        payload=_parsed(body),
        response_status=delivery.last_response_status,
        response_body=answer,
        success=delivery.status == "succeeded",
        retry_count=max(delivery.attempts - 1, 0),
        created_at=delivery.created_at,
    )


def _parsed(body: str | None) -> dict[str, Any] | None:
    if body is None:
        return None
    envelope: dict[str, Any] = json.loads(body)
    return envelope


WebhookDeliveries = Annotated[WebhookDeliveryService, Depends()]
