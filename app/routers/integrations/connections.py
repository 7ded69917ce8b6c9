"""Connections to other services."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.core.access import Principal, allow, public
from app.core.errors import problems
from app.core.limits import limited
from app.core.paging import Page
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.base import PathId
from app.schemas.integrations.connections import (
    AuthorizationRead,
    IntegrationComplete,
    IntegrationConnect,
    IntegrationLogQuery,
    IntegrationLogRead,
    IntegrationPage,
    IntegrationQuery,
    IntegrationRead,
    IntegrationTest,
    IntegrationUpdate,
)
from app.services.integrations.connections.completing import Completing
from app.services.integrations.connections.disconnecting import Disconnecting
from app.services.integrations.connections.keeping import Integrations
from app.services.integrations.connections.returning import Returning
from app.services.integrations.connections.starting import Connecting
from app.services.integrations.connections.testing import Testing

router = APIRouter(route_class=StrictRoute, prefix="/api/integrations", tags=["integrations"])

Reader = Annotated[Principal, Depends(allow(Permission.integrations_read, key=True))]
LogReader = Annotated[Principal, Depends(allow(Permission.integrations_read))]
Keeper = Annotated[Principal, Depends(allow(Permission.integrations_manage))]
Browser = Annotated[None, Depends(public("the provider sends the browser here; the state is the proof"))]
InQuery = Annotated[PathId, Query(alias="id", description="The connection.")]
Named = Annotated[str, Path(description="The service.", examples=["slack"])]

NO_STORE = {"Cache-Control": "no-store"}
CURSOR = ["cursor_invalid", "page_too_deep"]
UPDATE: dict[str, Any] = {"responses": problems({422: ["invalid_config"]})}


def created(response: Response, row: IntegrationRead) -> IntegrationRead:
    """201 with the address of the connection."""
    response.status_code = 201
    response.headers["Location"] = f"/api/integrations/{row.id}"
    return row


@router.get("", responses=problems({422: CURSOR}))
async def list_integrations(
    _: Reader, integrations: Integrations, query: Annotated[IntegrationQuery, Query()]
) -> IntegrationPage:
    """List connections.

    Newest first, those that were ended too. `available` lists the services that can be connected, with the
    rights that may be asked for and what each has to be told beforehand.
    """
    return await integrations.list(query)


@router.put("", deprecated=True, **UPDATE)
@router.patch("", deprecated=True, **UPDATE)
async def update_integration_alias(
    _: Keeper, integrations: Integrations, integration_id: InQuery, body: IntegrationUpdate
) -> IntegrationRead:
    """Change a connection, named in the query.

    See `PATCH /api/integrations/{integration_id}`.
    """
    return await integrations.update(integration_id, body)


@router.delete("", status_code=204, deprecated=True)
async def disconnect_integration_alias(
    _: Keeper, disconnecting: Disconnecting, integration_id: InQuery
) -> None:
    """End a connection, named in the query.

    See `DELETE /api/integrations/{integration_id}`.
    """
    await disconnecting.disconnect(integration_id)


@router.post(
    "/connect",
    responses={
        201: {"model": IntegrationRead, "description": "Connected, where nobody has to be asked."},
        **problems(
            {
                404: ["not_found"],
                409: ["account_mismatch"],
                422: [
                    "unknown_service",
                    "redirect_not_allowed",
                    "scope_not_allowed",
                    "invalid_params",
                    "credentials_rejected",
                    "url_not_allowed",
                ],
                503: ["integration_not_configured", "provider_unavailable"],
            }
        ),
    },
)
async def connect_integration(
    _: Keeper, connecting: Connecting, body: IntegrationConnect, response: Response
) -> AuthorizationRead | IntegrationRead:
    """Connect a service.

    For most services the answer is `authorize_url`: open it in the browser, let the person approve, and give
    what the app then finds behind `#integration_completion=` to `POST /api/integrations/complete`, within ten
    minutes. Services with keys, and those that come to you, are connected at once (201).
    """
    response.headers.update(NO_STORE)
    answer = await connecting.connect(body)
    return created(response, answer) if isinstance(answer, IntegrationRead) else answer


@router.post(
    "/complete",
    status_code=201,
    responses=problems(
        {
            400: ["state_invalid"],
            403: ["connection_owner_mismatch"],
            404: ["not_found"],
            409: ["connection_failed", "account_mismatch"],
            410: ["state_expired"],
            503: ["provider_unavailable", "integration_not_configured"],
        }
    ),
)
async def complete_integration(
    _: Keeper, completing: Completing, body: IntegrationComplete, response: Response
) -> IntegrationRead:
    """Complete a connection.

    Only the person who began it can, in the same organisation, and once. `reason` of `connection_failed` is
    `exchange_failed`, `scopes_missing` (the grant was given back) or `key_unavailable`; begin again then.
    """
    return created(response, await completing.complete(body.completion))


@router.get(
    "/callback/{service}",
    status_code=303,
    response_class=RedirectResponse,
    dependencies=[Depends(limited("public_read_ip", by="address"))],
)
async def receive_integration_callback(
    _: Browser, service: Named, returning: Returning, request: Request
) -> RedirectResponse:
    """Receive a browser back from a service, and lead it to the app.

    The app finds `#integration_completion=…` or `#integration_error=…` at the end of its `redirect_after`.
    Errors: `state_invalid` (at `/integrations`), `state_expired`, `access_denied`, `exchange_failed`,
    `provider_unavailable`. Nothing is connected yet.
    """
    target = await returning.come_back(service, request.query_params.multi_items())
    return RedirectResponse(target, 303, NO_STORE)


@router.get("/{integration_id}")
async def get_integration(_: Reader, integrations: Integrations, integration_id: PathId) -> IntegrationRead:
    """Get a connection.

    `error_code` says what is wrong with it, if anything is; its credentials are never shown.
    """
    return await integrations.get(integration_id)


@router.put("/{integration_id}", **UPDATE)
@router.patch("/{integration_id}", **UPDATE)
async def update_integration(
    _: Keeper, integrations: Integrations, integration_id: PathId, body: IntegrationUpdate
) -> IntegrationRead:
    """Change a connection.

    Only the fields that are sent change. Which settings `config` may hold depends on the service.
    """
    return await integrations.update(integration_id, body)


@router.delete("/{integration_id}", status_code=204)
async def disconnect_integration(_: Keeper, disconnecting: Disconnecting, integration_id: PathId) -> None:
    """End a connection.

    Its credentials are wiped at once, and the grant is given back to the service afterwards. Connect the same
    account again and it is the same connection.
    """
    await disconnecting.disconnect(integration_id)


@router.post(
    "/{integration_id}/test",
    responses=problems({409: ["not_connected"], 503: ["integration_not_configured"]}),
)
async def try_integration(_: Keeper, testing: Testing, integration_id: PathId) -> IntegrationTest:
    """Test a connection.

    Asks the service something harmless. `ok: false` comes with an `error_code`, which the connection then has
    too, until a test succeeds.
    """
    return await testing.test(integration_id)


@router.post(
    "/{integration_id}/refresh",
    responses=problems(
        {
            409: ["reauthorization_required", "refresh_not_supported", "not_connected"],
            503: ["provider_unavailable", "integration_not_configured"],
        }
    ),
)
async def refresh_integration(_: Keeper, testing: Testing, integration_id: PathId) -> IntegrationRead:
    """Refresh a connection's tokens now.

    They are refreshed by themselves before they expire; this is for whoever wants to see it. Tokens that were
    refreshed in the last five seconds stay as they are.
    """
    return await testing.refresh(integration_id)


@router.get("/{integration_id}/logs", responses=problems({422: CURSOR}))
async def list_integration_logs(
    _: LogReader,
    integrations: Integrations,
    integration_id: PathId,
    query: Annotated[IntegrationLogQuery, Query()],
) -> Page[IntegrationLogRead]:
    """List what was done with a connection.

    Newest first, of the last 30 days.
    """
    return await integrations.logs(integration_id, query)
