"""Outgoing webhooks: endpoints, secrets, deliveries, tests."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.etags import IfMatch, etag, versions_of
from app.core.paging import Page, PageQuery, Rows
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.base import PathId
from app.schemas.integrations.webhooks import (
    WebhookCreate,
    WebhookDeliveryDetail,
    WebhookDeliveryQuery,
    WebhookDeliveryRead,
    WebhookHistoryRead,
    WebhookIssued,
    WebhookQuery,
    WebhookRead,
    WebhookSecretRotate,
    WebhookSecretRotated,
    WebhookSecretShown,
    WebhookTest,
    WebhookTested,
    WebhookUpdate,
)
from app.schemas.realtime import EventTypeRead
from app.services.integrations.webhooks.endpoints import Webhooks, WebhookTypes
from app.services.integrations.webhooks.history import WebhookDeliveries
from app.services.integrations.webhooks.secrecy import WebhookSecrets
from app.services.integrations.webhooks.testing import WebhookTests

router = APIRouter(route_class=StrictRoute, prefix="/api/integrations/webhooks", tags=["integrations"])

Keeper = Annotated[Principal, Depends(allow(Permission.webhooks_manage, key=True))]
SecretKeeper = Annotated[Principal, Depends(allow(Permission.webhooks_manage, step_up=True))]
WebhookInQuery = Annotated[PathId, Query(alias="id", description="The endpoint.")]

PAGED: dict[str, Any] = {"responses": problems({422: ["cursor_invalid", "page_too_deep"]})}
BODY_CODES = ["url_not_allowed", "unknown_event_type"]
UPDATE: dict[str, Any] = {"responses": problems({412: ["version_mismatch"], 422: BODY_CODES})}


def with_etag(response: Response, webhook: WebhookRead) -> WebhookRead:
    """The endpoint, whose version goes out as the answer's `ETag` too."""
    response.headers["ETag"] = etag(webhook.version)
    return webhook


@router.get("", **PAGED)
async def list_webhooks(
    _: Keeper, webhooks: Webhooks, query: Annotated[WebhookQuery, Query()]
) -> Page[WebhookRead]:
    """List webhooks.

    Newest first. Their secrets are shown when they are made, and by `secret/reveal`.
    """
    return await webhooks.list(query)


@router.post(
    "",
    status_code=201,
    responses=problems({402: ["plan_limit_reached"], 409: ["too_many_webhooks"], 422: BODY_CODES}),
)
async def create_webhook(
    _: Keeper, webhooks: Webhooks, body: WebhookCreate, response: Response
) -> WebhookIssued:
    """Create a webhook.

    Events of these types are posted to the address, signed with `secret` by Standard Webhooks. They are sent
    at least once: remember `webhook-id` to handle each once. What they carry you must be allowed to read
    (`read_permission` of the type); of a key, its maker must.
    """
    made = await webhooks.create(body)
    response.headers["Location"] = f"/api/integrations/webhooks/{made.id}"
    response.headers["Cache-Control"] = "no-store"
    return made


@router.patch("", deprecated=True, **UPDATE)
@router.put("", deprecated=True, **UPDATE)
async def update_webhook_alias(
    _: Keeper,
    webhooks: Webhooks,
    webhook_id: WebhookInQuery,
    body: WebhookUpdate,
    response: Response,
    if_match: IfMatch = None,
) -> WebhookRead:
    """Change a webhook, named in the query.

    See `PATCH /api/integrations/webhooks/{webhook_id}`.
    """
    return with_etag(response, await webhooks.update(webhook_id, body, versions_of(if_match)))


@router.delete("", status_code=204, deprecated=True)
async def delete_webhook_alias(_: Keeper, webhooks: Webhooks, webhook_id: WebhookInQuery) -> None:
    """Delete a webhook, named in the query.

    See `DELETE /api/integrations/webhooks/{webhook_id}`.
    """
    await webhooks.delete(webhook_id)


@router.get("/event-types", response_model=Page[EventTypeRead], **PAGED)
async def list_webhook_event_types(
    _: Keeper, types: WebhookTypes, query: Annotated[PageQuery, Query()]
) -> Rows[EventTypeRead]:
    """List the types of events that webhooks carry.

    Each with the schema of its data and a sample.
    """
    return types.list(query)


@router.get("/{webhook_id}")
async def get_webhook(_: Keeper, webhooks: Webhooks, webhook_id: PathId, response: Response) -> WebhookRead:
    """Get a webhook.

    `ETag` is its version.
    """
    return with_etag(response, await webhooks.get(webhook_id))


@router.patch("/{webhook_id}", **UPDATE)
@router.put("/{webhook_id}", **UPDATE)
async def update_webhook(
    _: Keeper,
    webhooks: Webhooks,
    webhook_id: PathId,
    body: WebhookUpdate,
    response: Response,
    if_match: IfMatch = None,
) -> WebhookRead:
    """Change a webhook.

    Only the fields that are sent change. What still waits of types that it does not want any more is
    cancelled.
    """
    return with_etag(response, await webhooks.update(webhook_id, body, versions_of(if_match)))


@router.delete("/{webhook_id}", status_code=204)
async def delete_webhook(_: Keeper, webhooks: Webhooks, webhook_id: PathId) -> None:
    """Delete a webhook.

    Its history goes too. A request that is under way ends, and none follows.
    """
    await webhooks.delete(webhook_id)


@router.post("/{webhook_id}/enable")
async def enable_webhook(_: Keeper, webhooks: Webhooks, webhook_id: PathId) -> WebhookRead:
    """Enable a webhook.

    Whatever stopped it: somebody, days of failures, or a 410. What was held is sent, oldest first.
    """
    return await webhooks.enable(webhook_id)


@router.post("/{webhook_id}/pause")
async def pause_webhook(_: Keeper, webhooks: Webhooks, webhook_id: PathId) -> WebhookRead:
    """Pause a webhook.

    Its deliveries are held until it is enabled, at most as long as events are kept.
    """
    return await webhooks.pause(webhook_id)


@router.post("/{webhook_id}/secret/rotate", responses=problems({409: ["too_many_active_secrets"]}))
async def rotate_webhook_secret(
    _: SecretKeeper,
    secrets: WebhookSecrets,
    webhook_id: PathId,
    response: Response,
    body: WebhookSecretRotate | None = None,
) -> WebhookSecretRotated:
    """Rotate the secret of a webhook.

    The new one signs at once. The older one signs too until the grace is over: a day, unless you say
    otherwise.
    """
    response.headers["Cache-Control"] = "no-store"
    return await secrets.rotate(webhook_id, (body or WebhookSecretRotate.model_validate({})).grace_seconds)


@router.post("/{webhook_id}/secret/reveal", responses=problems({503: ["key_unavailable"]}))
async def reveal_webhook_secret(
    _: SecretKeeper, secrets: WebhookSecrets, webhook_id: PathId, response: Response
) -> WebhookSecretShown:
    """Show the secret of a webhook.

    The current one; the audit log keeps that it was shown.
    """
    response.headers["Cache-Control"] = "no-store"
    return await secrets.reveal(webhook_id)


@router.post(
    "/{webhook_id}/test", responses=problems({422: ["unknown_event_type"], 503: ["key_unavailable"]})
)
async def send_test_webhook(
    _: Keeper, tests: WebhookTests, webhook_id: PathId, body: WebhookTest | None = None
) -> WebhookTested:
    """Test a webhook.

    A sample is sent while you wait, also to one that is paused or disabled. `hint` says what to do when it
    fails.
    """
    return await tests.test(webhook_id, (body or WebhookTest.model_validate({})).event_type)


@router.get("/{webhook_id}/deliveries", **PAGED)
async def list_webhook_deliveries(
    _: Keeper,
    deliveries: WebhookDeliveries,
    webhook_id: PathId,
    query: Annotated[WebhookDeliveryQuery, Query()],
) -> Page[WebhookDeliveryRead]:
    """List the deliveries of a webhook.

    Those of the newest events first, for as long as events are kept.
    """
    return await deliveries.list(webhook_id, query)


@router.get("/{webhook_id}/deliveries/{delivery_id}")
async def get_webhook_delivery(
    _: Keeper, deliveries: WebhookDeliveries, webhook_id: PathId, delivery_id: PathId
) -> WebhookDeliveryDetail:
    """Get a delivery of a webhook.

    With the event as it was sent, and with every attempt and its answer.
    """
    return await deliveries.get(webhook_id, delivery_id)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/retry",
    status_code=202,
    responses=problems({409: ["delivery_in_progress"], 410: ["event_expired"]}),
)
async def retry_webhook_delivery(
    _: Keeper,
    deliveries: WebhookDeliveries,
    webhook_id: PathId,
    delivery_id: PathId,
    response: Response,
) -> WebhookDeliveryRead:
    """Send a delivery of a webhook again.

    With the same id and the same body, and with ten attempts more.
    """
    delivery = await deliveries.retry(webhook_id, delivery_id)
    response.headers["Location"] = f"/api/integrations/webhooks/{webhook_id}/deliveries/{delivery_id}"
    return delivery


@router.get("/{webhook_id}/history", **PAGED)
async def list_webhook_history(
    _: Keeper,
    deliveries: WebhookDeliveries,
    webhook_id: PathId,
    query: Annotated[PageQuery, Query()],
) -> Page[WebhookHistoryRead]:
    """List the history of a webhook.

    Each delivery with what was sent and what was answered last, those of the newest events first.
    """
    return await deliveries.history(webhook_id, query)
