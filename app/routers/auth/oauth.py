"""The routes of sign-in with Google and GitHub."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import RedirectResponse

from app.core.access import public
from app.core.errors import problems
from app.core.requests import StrictRoute
from app.routers.auth.markers import LOGIN_LIMIT, NO_STORE, UNUSABLE, Anybody
from app.schemas.auth import SignInAnswer
from app.schemas.auth.oauth import AuthCodeExchange, OAuthCallback, OAuthStart, ProviderName
from app.services.auth.external.exchange import Exchanges
from app.services.auth.external.trips import Trips

router = APIRouter(route_class=StrictRoute, prefix="/api/auth", tags=["auth"])

Provider = Annotated[ProviderName, Path(description="The provider.")]
Returning = Annotated[None, Depends(public("a provider sends browsers back here, and the state says whose"))]

CALLBACK_PROBLEMS = problems({400: ["state_invalid"]})


@router.get(
    "/oauth/{provider}/start",
    status_code=302,
    response_class=RedirectResponse,
    dependencies=[LOGIN_LIMIT],
    responses=problems({404: ["not_found"], 422: ["redirect_not_allowed"], 503: ["provider_not_configured"]}),
)
async def start_oauth(
    _: Anybody, provider: Provider, trips: Trips, query: Annotated[OAuthStart, Query()]
) -> RedirectResponse:
    """Lead the browser to a provider, to sign in there.

    Open this address in the browser itself. The app keeps the verifier of `code_challenge` and gives it to
    `POST /api/auth/token` in the end; whoever else gets hold of the answer can do nothing with it.
    """
    return RedirectResponse(await trips.start(provider, query), 302, NO_STORE)


@router.get(
    "/oauth/{provider}/callback",
    status_code=303,
    response_class=RedirectResponse,
    dependencies=[LOGIN_LIMIT],
    responses=CALLBACK_PROBLEMS,
)
async def finish_oauth(
    _: Returning, provider: Provider, trips: Trips, query: Annotated[OAuthCallback, Query()]
) -> RedirectResponse:
    """Receive a browser back from a provider, and lead it to the app.

    The app finds `#auth_code=…` or `#error=…` at the end of its `redirect_to`. Errors: `access_denied`,
    `provider_unavailable` (try again), `provider_refused` (what came back is no proof),
    `provider_not_configured`, `email_not_verified`, `account_exists_link_required` (sign in another way and
    link it in the settings), `signup_closed`.
    """
    return RedirectResponse(await trips.come_back(provider, query), 303, NO_STORE)


@router.get(
    "/callback",
    status_code=303,
    response_class=RedirectResponse,
    deprecated=True,
    dependencies=[LOGIN_LIMIT],
    responses=CALLBACK_PROBLEMS,
)
async def finish_oauth_alias(
    _: Returning, trips: Trips, query: Annotated[OAuthCallback, Query()]
) -> RedirectResponse:
    """Receive a browser back from a provider by the old address; `state` says from which."""
    return RedirectResponse(await trips.come_back(None, query), 303, NO_STORE)


@router.post(
    "/token",
    dependencies=[LOGIN_LIMIT],
    responses=problems(
        {
            400: ["token_invalid"],
            401: ["verifier_invalid"],
            403: UNUSABLE,
            409: ["identity_in_use", "identity_already_linked"],
            410: ["token_used", "token_expired"],
        }
    ),
)
async def exchange_auth_code(_: Anybody, exchanges: Exchanges, body: AuthCodeExchange) -> SignInAnswer:
    """Exchange the `auth_code` of a sign-in for a session, within a minute.

    An account with a second factor is asked for it first. A code that comes twice ends the session that it
    opened.
    """
    return await exchanges.exchange(body)
