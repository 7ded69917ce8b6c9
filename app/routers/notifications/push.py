"""Browsers that take push messages."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.paging import Page, Rows
from app.core.requests import StrictRoute
from app.schemas.base import PathId
from app.schemas.notifications.push import (
    PushEndpoint,
    PushSubscriptionCreate,
    PushSubscriptionQuery,
    PushSubscriptionRead,
    VapidPublicKey,
)
from app.services.notifications.push.subscribing import Push, vapid_public_key

router = APIRouter(route_class=StrictRoute, prefix="/api/notifications", tags=["notifications"])

SignedIn = Annotated[Principal, Depends(allow())]

NOT_CONFIGURED: dict[int, list[str]] = {503: ["push_not_configured"]}
REFUSED = ["push_endpoint_not_allowed", "push_key_invalid"]


@router.get("/vapid-public-key", responses=problems(NOT_CONFIGURED))
async def get_vapid_public_key(_: SignedIn) -> VapidPublicKey:
    """Get the key that browsers subscribe with.

    Give it to `PushManager.subscribe()` as `applicationServerKey`.
    """
    return vapid_public_key()


@router.get(
    "/push-subscriptions",
    response_model=Page[PushSubscriptionRead],
    responses=problems({422: ["cursor_invalid", "page_too_deep"]}),
)
async def list_push_subscriptions(
    _: SignedIn, push: Push, query: Annotated[PushSubscriptionQuery, Query()]
) -> Rows[PushSubscriptionRead]:
    """List the caller's browsers that take push messages, newest first.

    `is_current` is the one that belongs to this session.
    """
    return await push.list(query)


@router.post(
    "/push-subscriptions",
    status_code=201,
    responses={
        200: {"description": "It was known already", "model": PushSubscriptionRead},
        **problems({**NOT_CONFIGURED, 422: REFUSED}),
    },
)
async def create_push_subscription(
    _: SignedIn, push: Push, body: PushSubscriptionCreate, response: Response
) -> PushSubscriptionRead:
    """Let a browser take push messages.

    Send what the browser's `PushSubscription.toJSON()` gives. An address that is known already gets its new
    keys (200). A person has twenty browsers at most; the oldest goes for another one. It ends with the
    session.
    """
    made = await push.add(body)
    response.status_code = 201 if made.is_new else 200
    response.headers["Location"] = f"/api/notifications/push-subscriptions/{made.read.id}"
    return made.read


@router.delete("/push-subscriptions", status_code=204, responses=problems({404: ["not_found"]}))
async def delete_push_endpoint(_: SignedIn, push: Push, query: Annotated[PushEndpoint, Query()]) -> None:
    """End push messages to a browser, named by its address: the browser knows no id.

    Send `endpoint` of the browser's own subscription.
    """
    await push.remove_endpoint(query.endpoint)


@router.delete("/push-subscriptions/{push_subscription_id}", status_code=204)
async def delete_push_subscription(_: SignedIn, push: Push, push_subscription_id: PathId) -> None:
    """End push messages to a browser.

    The other browsers go on taking them.
    """
    await push.remove(push_subscription_id)
