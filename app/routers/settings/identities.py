"""The routes of linked accounts."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.paging import Page, PageQuery, Rows
from app.core.requests import StrictRoute
from app.schemas.auth.oauth import AuthCodeExchange, IdentityRead, IdentityStarted, IdentityToStart
from app.schemas.base import PathId
from app.services.auth.external.identities import Identities

router = APIRouter(route_class=StrictRoute, prefix="/api/settings", tags=["settings"])

SignedIn = Annotated[Principal, Depends(allow())]
FreshlyChecked = Annotated[Principal, Depends(allow(step_up=True))]


@router.get("/identities", response_model=Page[IdentityRead])
async def list_identities(
    _: SignedIn, identities: Identities, query: Annotated[PageQuery, Query()]
) -> Rows[IdentityRead]:
    """The accounts at providers that open yours, newest first.

    No token of a provider is kept.
    """
    return await identities.list(query)


@router.post(
    "/identities",
    responses=problems(
        {
            403: ["own_sign_in_required"],
            409: ["identity_already_linked", "user_sso_managed"],
            422: ["redirect_not_allowed"],
            503: ["provider_not_configured"],
        }
    ),
)
async def start_linking(_: FreshlyChecked, identities: Identities, body: IdentityToStart) -> IdentityStarted:
    """Begin to link an account at a provider.

    Send the browser to `authorize_url`. It comes back to `redirect_to` with `#auth_code=…`, which links
    nothing by itself: finish with `POST /api/settings/identities/link`.
    """
    return await identities.start(body)


@router.post(
    "/identities/link",
    status_code=201,
    responses=problems(
        {
            400: ["token_invalid"],
            401: ["verifier_invalid"],
            409: ["identity_in_use", "identity_already_linked"],
            410: ["token_used", "token_expired"],
        }
    ),
)
async def link_identity(
    _: SignedIn, identities: Identities, body: AuthCodeExchange, response: Response
) -> IdentityRead:
    """Link the account that was approved to yours.

    Only who began can finish, with the verifier of the challenge, within a minute.
    """
    linked = await identities.link(body)
    response.headers["Location"] = f"/api/settings/identities/{linked.id}"
    return linked


@router.delete(
    "/identities/{identity_id}",
    status_code=204,
    responses=problems({403: ["own_sign_in_required"], 409: ["last_credential", "user_sso_managed"]}),
)
async def unlink_identity(_: FreshlyChecked, identities: Identities, identity_id: PathId) -> None:
    """Unlink an account at a provider.

    The last way into an account stays.
    """
    await identities.unlink(identity_id)
