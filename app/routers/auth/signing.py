"""The routes under `/api/auth`: sign-up, confirmation, sign-in, sessions' tokens, the caller."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.core.access import allow, authenticate
from app.core.errors import problems
from app.core.requests import StrictRoute
from app.routers.auth.markers import (
    LOGIN_LIMIT,
    MAIL_LIMIT,
    NO_STORE,
    SIGNUP_LIMIT,
    TOKEN_PROBLEMS,
    TOKEN_REFUSED,
    UNUSABLE,
    Anybody,
    Mailed,
    SignedIn,
)
from app.schemas.auth import (
    Address,
    Confirm,
    ConfirmationSent,
    Confirmed,
    Me,
    Providers,
    Refresh,
    SessionOpened,
    SignIn,
    SignInAnswer,
    SignUp,
    SteppedUp,
    StepUp,
    SwitchedOrganization,
    SwitchOrganization,
)
from app.services.auth.confirmation import Confirmations, confirmation_page
from app.services.auth.invited_signup import InvitedSignUps
from app.services.auth.refreshing import Refreshing
from app.services.auth.resending import Resending
from app.services.auth.sessions import Sessions, providers
from app.services.auth.sign_in import SignIns
from app.services.auth.sign_out import SignOuts, SignOutScope
from app.services.auth.signup import SignUps
from app.services.auth.step_up import StepUps

router = APIRouter(route_class=StrictRoute, prefix="/api/auth", tags=["auth"])
alias_router = APIRouter(route_class=StrictRoute, prefix="/api", tags=["auth"])

LinkToken = Annotated[str | None, Query(max_length=1024, description="The token of the mail.")]
LinkTokenHash = Annotated[
    str | None, Query(max_length=1024, description="The same under its old name.", deprecated=True)
]


ScopeToEnd = Annotated[SignOutScope, Query(description="This session, all others, or all.")]


@router.post(
    "/signup",
    status_code=202,
    response_model=ConfirmationSent | SignInAnswer,
    dependencies=[SIGNUP_LIMIT],
    responses={
        201: {"model": SessionOpened, "description": "By an invitation: confirmed, joined and signed in."},
        **problems(
            {
                400: ["token_invalid"],
                402: ["plan_limit_reached"],
                403: ["signup_closed", "invitation_email_mismatch"],
                409: ["account_exists"],
                410: ["token_used", "token_expired", "invitation_revoked"],
                422: ["password_rejected", "policy_version_unknown"],
            }
        ),
    },
)
async def sign_up(
    _: Anybody, signups: SignUps, invited: InvitedSignUps, body: SignUp, response: Response
) -> ConfirmationSent | SignInAnswer:
    """Sign up by address and password.

    The answer is the same whether or not the address has an account; what happens next is said by mail.
    With a PKCE `code_challenge`, confirming from the same browser also signs in. With the `invitation_token`
    of a mail to this address the account is confirmed, a member and signed in at once (201).
    """
    if body.invitation_token is None:
        return await signups.sign_up(body)
    response.status_code = 201
    response.headers["Location"] = "/api/auth/me"
    return await invited.sign_up(body, body.invitation_token)


@router.get(
    "/confirm",
    status_code=303,
    response_class=RedirectResponse,
    responses=problems({400: ["token_invalid"]}),
)
async def open_confirmation_link(
    _: Mailed, token: LinkToken = None, token_hash: LinkTokenHash = None
) -> RedirectResponse:
    """Lead from a mail's link to the app.

    Changes nothing, so that programs that look at links before people do cannot use them up.
    """
    return RedirectResponse(confirmation_page(token or token_hash), 303, NO_STORE)


@router.head(
    "/confirm",
    status_code=303,
    response_class=RedirectResponse,
    responses=problems({400: ["token_invalid"]}),
)
async def look_at_confirmation_link(
    _: Mailed, token: LinkToken = None, token_hash: LinkTokenHash = None
) -> RedirectResponse:
    """Say where a mail's link leads, without a body.

    For mail programs that look at links beforehand. It uses nothing up.
    """
    return RedirectResponse(confirmation_page(token or token_hash), 303, NO_STORE)


@router.post("/confirm", dependencies=[LOGIN_LIMIT], responses=TOKEN_PROBLEMS)
async def confirm_email(_: Mailed, confirmations: Confirmations, body: Confirm) -> Confirmed:
    """Confirm an address by the token of the link or by the code beside it.

    `session` is null unless the token comes with the `code_verifier` of the sign-up's `code_challenge`.
    """
    return await confirmations.confirm(body)


@router.post("/resend-confirmation", status_code=202, dependencies=[MAIL_LIMIT])
async def resend_confirmation(_: Anybody, resending: Resending, body: Address) -> ConfirmationSent:
    """Mail the confirmation again.

    The answer is the same for every address; the older link does not work any more.
    """
    await resending.send_again(body.email)
    return ConfirmationSent()


@alias_router.post(
    "/send-verification-email",
    status_code=202,
    deprecated=True,
    dependencies=[MAIL_LIMIT],
    responses=problems({401: TOKEN_REFUSED}),
)
async def send_verification_email_alias(
    _: Anybody, request: Request, resending: Resending, body: Address | None = None
) -> ConfirmationSent:
    """Mail the confirmation again: to the given address, or without a body to the caller's own."""
    if body is not None:
        await resending.send_again(body.email)
    else:
        principal = await authenticate(request, allow())
        await resending.send_again_to(principal)
    return ConfirmationSent()


@router.post(
    "/login",
    dependencies=[LOGIN_LIMIT],
    responses=problems({401: ["invalid_credentials"], 403: UNUSABLE, 429: ["too_many_attempts"]}),
)
async def sign_in(_: Anybody, sign_ins: SignIns, body: SignIn) -> SignInAnswer:
    """Sign in by address and password.

    After ten failures in a row the address is locked for a while, whether or not it has an account.
    """
    return await sign_ins.sign_in(body)


@router.post(
    "/refresh",
    responses=problems(
        {
            401: ["refresh_token_invalid", "refresh_token_reused", "session_revoked", "session_expired"],
            429: ["rate_limited"],
        }
    ),
)
async def refresh_session(_: Anybody, refreshing: Refreshing, body: Refresh) -> SessionOpened:
    """Exchange the newest refresh token for the next pair.

    A refresh token works once. One that comes back ends its session, except that a client which sends
    `X-Device-Key` may repeat a refresh for some seconds when it lost the answer.
    """
    return await refreshing.refresh(body)


@router.post("/logout", status_code=204)
async def sign_out(_: SignedIn, sign_outs: SignOuts, scope: ScopeToEnd = "local") -> None:
    """End this session (`local`), all others (`others`) or all (`global`).

    The tokens of what is ended stop working at once. Again is no fault.
    """
    await sign_outs.sign_out(scope)


@router.get("/me")
async def get_me(_: SignedIn, sessions: Sessions) -> Me:
    """Who the caller is: account, profile, session, organisations and permissions.

    `permissions` are those in the active organisation. `blocked_by` of an organisation says why it cannot be
    entered as things stand.
    """
    return await sessions.me()


@router.post(
    "/step-up",
    responses=problems(
        {
            401: ["invalid_credentials", "mfa_code_invalid"],
            409: ["second_factor_required", "password_required"],
            429: ["too_many_attempts"],
        }
    ),
)
async def step_up(_: SignedIn, step_ups: StepUps, body: StepUp) -> SteppedUp:
    """Confirm again who is there, for acts that demand a recent check.

    An account with a second factor confirms with it, and the session has aal 2 from then on. Others confirm
    with their password, or, where they have none, with a code from `POST /api/auth/step-up/email`.
    """
    return await step_ups.confirm(body)


@router.post(
    "/switch-organization",
    responses=problems(
        {
            401: ["step_up_required"],
            403: [
                "session_limited_to_organization",
                "membership_suspended",
                "sso_required",
                "mfa_enrollment_required",
            ],
            404: ["not_found"],
        }
    ),
)
async def switch_organization(
    _: SignedIn, sessions: Sessions, body: SwitchOrganization
) -> SwitchedOrganization:
    """Work in another of one's organisations from now on.

    It is the active one of this session until the next switch. For a single request send `X-Organization-Id`
    instead.
    """
    return await sessions.switch_organization(body.organization_id)


@router.get("/providers")
async def list_providers(_: Anybody, response: Response) -> Providers:
    """The ways to sign in that this service offers.

    For the page that signs people in: what it should offer them.
    """
    response.headers.update(NO_STORE)
    return providers()
