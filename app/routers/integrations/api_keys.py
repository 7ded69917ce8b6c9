"""The routes of API keys."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.paging import Page
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.base import PathId
from app.schemas.integrations.api_keys import (
    ApiKeyCreate,
    ApiKeyIssued,
    ApiKeyQuery,
    ApiKeyRead,
    ApiKeyRotate,
    ApiKeySelf,
    ApiKeyUpdate,
    ScopeList,
)
from app.services.integrations.api_keys import ApiKeys

router = APIRouter(route_class=StrictRoute, prefix="/api/integrations/api-keys", tags=["integrations"])

Keeper = Annotated[Principal, Depends(allow(Permission.api_keys_manage))]
Issuer = Annotated[Principal, Depends(allow(Permission.api_keys_manage, step_up=True))]
AnyKey = Annotated[Principal, Depends(allow(key=True))]
KeyInQuery = Annotated[PathId, Query(alias="id", description="The key.")]

ROOM: dict[int, list[str]] = {402: ["plan_limit_reached"], 409: ["too_many_api_keys"]}
SCOPE_CODES = ["unknown_scope", "scope_not_grantable", "expiry_in_past"]
UPDATE: dict[str, Any] = {
    "responses": problems({**ROOM, 409: ["api_key_revoked", "too_many_api_keys"], 422: SCOPE_CODES})
}


def issued(response: Response, key: ApiKeyIssued) -> ApiKeyIssued:
    """The new key, with its address, kept by nobody on the way."""
    response.headers["Location"] = f"/api/integrations/api-keys/{key.id}"
    response.headers["Cache-Control"] = "no-store"
    return key


@router.get("", responses=problems({422: ["cursor_invalid", "page_too_deep"]}))
async def list_api_keys(_: Keeper, keys: ApiKeys, query: Annotated[ApiKeyQuery, Query()]) -> Page[ApiKeyRead]:
    """List API keys.

    Newest first, revoked ones too. The keys themselves are shown only once, when they are made.
    """
    return await keys.list(query)


@router.post("", status_code=201, responses=problems({**ROOM, 422: SCOPE_CODES}))
async def create_api_key(_: Issuer, keys: ApiKeys, body: ApiKeyCreate, response: Response) -> ApiKeyIssued:
    """Create an API key.

    `key` is in this answer and never again. It acts in this organisation, with those of its scopes that your
    role allows at each request.
    """
    return issued(response, await keys.create(body))


@router.patch("", deprecated=True, **UPDATE)
@router.put("", deprecated=True, **UPDATE)
async def update_api_key_alias(
    _: Keeper, keys: ApiKeys, api_key_id: KeyInQuery, body: ApiKeyUpdate
) -> ApiKeyRead:
    """Change an API key, named in the query.

    See `PATCH /api/integrations/api-keys/{api_key_id}`.
    """
    return await keys.update(api_key_id, body)


@router.delete("", status_code=204, deprecated=True)
async def revoke_api_key_alias(_: Keeper, keys: ApiKeys, api_key_id: KeyInQuery) -> None:
    """Revoke an API key, named in the query.

    See `DELETE /api/integrations/api-keys/{api_key_id}`.
    """
    await keys.revoke(api_key_id)


@router.get("/scopes")
async def list_api_key_scopes(_: Keeper, keys: ApiKeys) -> ScopeList:
    """List the scopes that keys may have.

    `grantable` are those that you hold yourself. `legacy` says what the words `read`, `write` and `admin`
    stand for.
    """
    return keys.scopes()


@router.get("/self", responses=problems({403: ["api_key_required"]}))
async def get_own_api_key(_: AnyKey, keys: ApiKeys) -> ApiKeySelf:
    """Get the key that calls.

    Any key may ask, whatever its scopes: it tells whether the key is good and what it may do.
    """
    return await keys.own()


@router.get("/{api_key_id}")
async def get_api_key(_: Keeper, keys: ApiKeys, api_key_id: PathId) -> ApiKeyRead:
    """Get an API key.

    `scopes` are what it may do now, `permissions` what it was given.
    """
    return await keys.get(api_key_id)


@router.patch("/{api_key_id}", **UPDATE)
@router.put("/{api_key_id}", **UPDATE)
async def update_api_key(_: Keeper, keys: ApiKeys, api_key_id: PathId, body: ApiKeyUpdate) -> ApiKeyRead:
    """Change an API key.

    Only the fields that are sent change, from the next request on. Scopes that are added must be yours.
    """
    return await keys.update(api_key_id, body)


@router.delete("/{api_key_id}", status_code=204)
async def revoke_api_key(_: Keeper, keys: ApiKeys, api_key_id: PathId) -> None:
    """Revoke an API key.

    It is refused from the next request on, for good, and its streams are closed.
    """
    await keys.revoke(api_key_id)


@router.post(
    "/{api_key_id}/rotate",
    status_code=201,
    responses=problems(
        {
            409: ["api_key_revoked", "already_rotated", "too_many_api_keys"],
            422: ["scope_not_grantable", "expiry_in_past"],
        }
    ),
)
async def rotate_api_key(
    _: Issuer, keys: ApiKeys, api_key_id: PathId, response: Response, body: ApiKeyRotate | None = None
) -> ApiKeyIssued:
    """Rotate an API key.

    A new key, in your name and otherwise the same, takes its place; `key` is in this answer and never again.
    The older one ends at once, or after `grace_seconds`, in which both are good.
    """
    return issued(response, await keys.rotate(api_key_id, body.grace_seconds if body else 0))
