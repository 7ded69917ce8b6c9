"""The routes of magic links, mailed codes and the reset of passwords."""

from fastapi import APIRouter

from app.core.errors import problems
from app.core.requests import StrictRoute
from app.routers.auth.markers import LOGIN_LIMIT, MAIL_LIMIT, UNUSABLE, Anybody, Mailed
from app.schemas.auth import (
    Address,
    MagicLink,
    MagicLinkSent,
    MagicLinkVerify,
    PasswordWasReset,
    ResetPassword,
    ResetSent,
    SignInAnswer,
)
from app.services.auth.magic_links import MagicLinks, MagicSignIns
from app.services.auth.resetting import Forgotten, Resetting

router = APIRouter(route_class=StrictRoute, prefix="/api/auth", tags=["auth"])

DEAD = ["token_used", "token_expired"]


@router.post("/password/forgot", status_code=202, dependencies=[MAIL_LIMIT])
async def forgot_password(_: Anybody, forgotten: Forgotten, body: Address) -> ResetSent:
    """Mail a link to a new password.

    The answer is the same for every address; the older link does not work any more.
    """
    return await forgotten.ask(body.email)


@router.post(
    "/password/reset",
    dependencies=[LOGIN_LIMIT],
    responses=problems(
        {
            400: ["token_invalid"],
            401: ["mfa_required", "mfa_code_invalid"],
            410: DEAD,
            422: ["password_rejected"],
            429: ["too_many_attempts"],
        }
    ),
)
async def reset_password(_: Mailed, resetting: Resetting, body: ResetPassword) -> PasswordWasReset:
    """Set a new password with the mail's token, and with a code where the account has a second factor.

    It confirms the address, ends every session and opens none: sign in with the new password.
    """
    return await resetting.reset(body)


@router.post(
    "/magic-link",
    status_code=202,
    dependencies=[MAIL_LIMIT],
    responses=problems({422: ["redirect_not_allowed"]}),
)
async def send_magic_link(_: Anybody, links: MagicLinks, body: MagicLink) -> MagicLinkSent:
    """Mail a link to sign in with, and a code beside it.

    Keep the verifier of the challenge and the `request_id`: only with the verifier does either work. The
    answer is the same for every address. The older link does not work any more.
    """
    return await links.ask(body)


@router.post(
    "/magic-link/verify",
    dependencies=[LOGIN_LIMIT],
    responses=problems(
        {
            400: ["token_invalid"],
            401: ["verifier_invalid"],
            403: [*UNUSABLE, "signup_closed"],
            410: DEAD,
        }
    ),
)
async def verify_magic_link(_: Mailed, sign_ins: MagicSignIns, body: MagicLinkVerify) -> SignInAnswer:
    """Sign in with the mail's token, or with its code where the mail was opened on another device.

    It confirms the address. A password that somebody gave an address without ever confirming it is dropped;
    set a new one. A wrong verifier ends the link, and so does the fifth wrong code.
    """
    return await sign_ins.verify(body)
