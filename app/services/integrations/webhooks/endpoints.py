"""Endpoints of webhooks as people keep them: listing, making, changing, pausing, deleting."""

from collections.abc import Collection, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.clients.outbound import CheckedUrl, UrlNotAllowed, get_outbound
from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, version_mismatch
from app.core.etags import is_stale
from app.core.events import emit
from app.core.ids import uuid7
from app.core.paging import Keyset, Page, PageQuery, Pager, Rows, Sort
from app.core.permissions import Permission
from app.models.integrations import WebhookEndpoint
from app.repositories.integrations import ApiKeyRepository
from app.repositories.integrations.webhooks import DeliveryRepository, EndpointRepository, SecretRepository
from app.schemas.integrations.webhooks import (
    WebhookCreate,
    WebhookIssued,
    WebhookQuery,
    WebhookRead,
    WebhookUpdate,
)
from app.schemas.realtime import EventTypeQuery, EventTypeRead
from app.services.billing.entitlements import check_gauge
from app.services.integrations.scopes import NO_RIGHTS, rights_or_none
from app.services.integrations.webhooks.events import (
    WebhookEndpointCreated,
    WebhookEndpointDeleted,
    WebhookEndpointEnabled,
    WebhookEndpointPaused,
    WebhookEndpointUpdated,
)
from app.services.integrations.webhooks.health import HEALTHY
from app.services.integrations.webhooks.patterns import needed_for, unknown_patterns
from app.services.integrations.webhooks.signing import new_secret
from app.services.integrations.webhooks.telling import facts_of, held_count
from app.services.realtime.pull import EventTypes

MOST_ENDPOINTS = 50
"""Of an organisation, whatever its plan."""

PAGER = Pager(
    "webhooks",
    Keyset(WebhookEndpoint.created_at, WebhookEndpoint.id),
    {"-created_at": Sort(WebhookEndpoint.created_at, True, has_cursor=True)},
)


class WebhookService:
    """What a team does with its endpoints."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.endpoints = EndpointRepository(session)

    async def list(self, query: WebhookQuery) -> Page[WebhookRead]:
        """A page of endpoints, newest first."""
        statement = self.endpoints.matching(status=query.status)
        rows = await PAGER.rows(self.session, statement, query, "-created_at")
        held = await self.endpoints.held_counts(self._organization, {row.id for row in rows.items})
        return Page[WebhookRead].model_validate(rows.map(lambda row: _read(row, held.get(row.id, 0))))

    async def get(self, endpoint_id: UUID) -> WebhookRead:
        """One endpoint. 404."""
        endpoint = await self.endpoints.get(endpoint_id)
        if endpoint is None:
            raise NotFound()
        return await self._shown(endpoint)

    async def create(self, body: WebhookCreate) -> WebhookIssued:
        """Make an endpoint; the answer holds its secret.

        402 `plan_limit_reached`; 403 `permission_denied`; 409 `too_many_webhooks`; 422 `url_not_allowed`,
        `unknown_event_type`.
        """
        url = checked(body.url)
        judge_patterns(body.events)
        await self._judge_reading(needed_for(body.events))
        await self._make_room()
        endpoint = WebhookEndpoint(
            id=uuid7(),
            created_by=self.principal.user_id,
            url=url.url,
            url_host=url.host,
            description=body.description,
            events=body.events,
            status="active" if body.is_active else "paused",
        )
        await self.endpoints.add(endpoint)
        await self.session.refresh(endpoint)
        row, secret = new_secret(self._organization, endpoint.id)
        await SecretRepository(self.session).add(row)
        await emit(self.session, WebhookEndpointCreated(**facts_of(endpoint)))
        return WebhookIssued(**_values(endpoint, 0), secret=secret)

    async def update(
        self, endpoint_id: UUID, body: WebhookUpdate, etags: Collection[int] | None = None
    ) -> WebhookRead:
        """Change the fields that were sent; when nothing differs, nothing is written.

        404; 403, 422 as `create`; 412 `version_mismatch`. Types that it has already need no right, unless
        they are to go to another address.
        """
        sent = body.changes(without=frozenset({"version", "is_active"}))
        if "events" in sent:
            judge_patterns(sent["events"])
        if "url" in sent:
            url = checked(sent["url"])
            sent |= {"url": url.url, "url_host": url.host}
        endpoint = await self._locked(endpoint_id)
        if is_stale(endpoint.version, body.version, etags):
            raise version_mismatch(endpoint.version)
        changed = {name: value for name, value in sent.items() if value != getattr(endpoint, name)}
        if changed:
            needed = needed_for(changed.get("events", endpoint.events))
            await self._judge_reading(needed if "url" in changed else needed - needed_for(endpoint.events))
            endpoint = await self._write(endpoint, changed)
            if "events" in changed:
                await self._cancel_unwanted(endpoint)
            fields = sorted(set(changed) - {"url_host"} or {"url"})
            await emit(self.session, WebhookEndpointUpdated(**facts_of(endpoint), fields=fields))
        if "is_active" in body.model_fields_set:
            endpoint = await (self._enable(endpoint) if body.is_active else self._pause(endpoint))
        return await self._shown(endpoint)

    async def enable(self, endpoint_id: UUID) -> WebhookRead:
        """Send to an endpoint again, whatever stopped it; an active one stays as it is. 404."""
        return await self._shown(await self._enable(await self._locked(endpoint_id)))

    async def pause(self, endpoint_id: UUID) -> WebhookRead:
        """Hold an endpoint's deliveries; a disabled one keeps its reason. 404."""
        return await self._shown(await self._pause(await self._locked(endpoint_id)))

    async def delete(self, endpoint_id: UUID) -> None:
        """Remove an endpoint with its history; a request under way ends, and none follows. 404."""
        endpoint = await self._locked(endpoint_id)
        event = WebhookEndpointDeleted(**facts_of(endpoint))
        await self.endpoints.remove(endpoint)
        await emit(self.session, event)

    @property
    def _organization(self) -> UUID:
        assert self.principal.organization_id is not None  # noqa: S101 - the marker asks for a permission
        return self.principal.organization_id

    async def _locked(self, endpoint_id: UUID) -> WebhookEndpoint:
        endpoint = await self.endpoints.lock(self._organization, endpoint_id)
        if endpoint is None:
            raise NotFound()
        return endpoint

    async def _judge_reading(self, needed: frozenset[Permission]) -> None:
        """403 `permission_denied` unless the caller may read all that somewhere else is to be sent."""
        lacking = sorted(needed - await self._rights()) if needed else []
        if lacking:
            raise Forbidden(
                "permission_denied",
                f"Events of these types carry what only `{lacking[0]}` lets you read; choose others.",
                permission=lacking[0],
            )

    async def _rights(self) -> frozenset[Permission]:
        """What the caller may read: of a key, what its maker may, since no key can hold all of it.

        Its scope `webhooks:manage` is given by name alone, for that reason.
        """
        if self.principal.key_id is None:
            return self.principal.permissions
        keys = ApiKeyRepository(self.session)
        key = await keys.get(self.principal.key_id)
        if key is None:
            return NO_RIGHTS
        return rights_or_none(await keys.rights_of(self._organization, [key.created_by]), key.created_by)

    async def _make_room(self) -> None:
        """Lock the organisation and refuse one endpoint more than its plan has room for."""
        await ApiKeyRepository(self.session).lock_organization(self._organization)
        there = await self.endpoints.count(self._organization)
        await check_gauge(self.session, self._organization, "webhook_endpoints", 1, used=there)
        if there >= MOST_ENDPOINTS:
            raise Conflict(
                "too_many_webhooks", f"There are {MOST_ENDPOINTS} webhooks; delete one that nobody reads."
            )

    async def _write(self, endpoint: WebhookEndpoint, values: dict[str, Any]) -> WebhookEndpoint:
        versioned = {**values, "version": endpoint.version + 1}
        return await self.endpoints.change(self._organization, endpoint.id, versioned)

    async def _enable(self, endpoint: WebhookEndpoint) -> WebhookEndpoint:
        if endpoint.status == "active":
            return endpoint
        fresh = {**HEALTHY, "status": "active", "disabled_reason": None, "disabled_at": None}
        endpoint = await self._write(endpoint, fresh)
        count = await held_count(self.session, endpoint)
        await emit(self.session, WebhookEndpointEnabled(**facts_of(endpoint), held_count=count))
        return endpoint

    async def _pause(self, endpoint: WebhookEndpoint) -> WebhookEndpoint:
        if endpoint.status != "active":
            return endpoint
        endpoint = await self._write(endpoint, {"status": "paused"})
        await emit(self.session, WebhookEndpointPaused(**facts_of(endpoint)))
        return endpoint

    async def _cancel_unwanted(self, endpoint: WebhookEndpoint) -> None:
        if "*" not in endpoint.events:
            now = await self.session.now()
            await DeliveryRepository(self.session).cancel_open(
                self._organization, endpoint.id, now, but=endpoint.events
            )

    async def _shown(self, endpoint: WebhookEndpoint) -> WebhookRead:
        return _read(endpoint, await held_count(self.session, endpoint))


class WebhookTypeService:
    """The part of the catalogue of events that webhooks carry."""

    def __init__(self, types: EventTypes) -> None:
        self.types = types

    def list(self, query: PageQuery) -> Rows[EventTypeRead]:
        """A page of types, in alphabetical order."""
        return self.types.list(EventTypeQuery(**query.model_dump(), webhook=True))


def checked(url: str) -> CheckedUrl:
    """The address as it is kept. 422 `url_not_allowed` with its `reason`."""
    try:
        return get_outbound().check_url(url)
    except UrlNotAllowed as refusal:
        fault = FieldError("/url", "url_not_allowed", str(refusal))
        raise Invalid("url_not_allowed", str(refusal), errors=[fault], reason=refusal.reason) from None


def judge_patterns(patterns: Sequence[str]) -> None:
    """422 `unknown_event_type` unless each names a type that webhooks carry."""
    detail = "Webhooks carry no such type of event; the route `event-types` lists them."
    unknown = [
        FieldError(f"/events/{place}", "unknown_event_type", detail) for place in unknown_patterns(patterns)
    ]
    if unknown:
        raise Invalid("unknown_event_type", detail, errors=unknown)


def _values(endpoint: WebhookEndpoint, held: int) -> dict[str, Any]:
    derived = {"is_active": endpoint.status == "active", "held_count": held}
    kept = {name: getattr(endpoint, name) for name in WebhookRead.model_fields if name not in derived}
    return {**kept, **derived}


def _read(endpoint: WebhookEndpoint, held: int) -> WebhookRead:
    return WebhookRead(**_values(endpoint, held))


Webhooks = Annotated[WebhookService, Depends()]
WebhookTypes = Annotated[WebhookTypeService, Depends()]
