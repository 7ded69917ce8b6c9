"""The routes of the second factor of a sign-in, and step-up by mail."""

from fastapi import APIRouter

from app.core.errors import problems
from app.core.requests import StrictRoute
from app.routers.auth.markers import LOGIN_LIMIT, MAIL_LIMIT, UNUSABLE, Anybody, SignedIn
from app.schemas.auth import SessionOpened, SessionOpenedByBackupCode, StepUpCodeSent, VerifyMfa
from app.services.auth.second_factor.verifying import MfaVerifications
from app.services.auth.step_up import StepUps

router = APIRouter(route_class=StrictRoute, prefix="/api/auth", tags=["auth"])


@router.post(
    "/mfa/verify",
    dependencies=[LOGIN_LIMIT],
    response_model=SessionOpenedByBackupCode | SessionOpened,
    responses=problems(
        {
            401: ["mfa_token_invalid", "mfa_code_invalid", "invalid_credentials"],
            403: UNUSABLE,
            409: ["identity_in_use", "identity_already_linked"],
            429: ["too_many_attempts"],
        }
    ),
)
async def verify_second_factor(_: Anybody, verifications: MfaVerifications, body: VerifyMfa) -> SessionOpened:
    """Finish a sign-in with the second factor.

    Takes the `mfa_token` of the first factor's answer, for 300 seconds and five tries. Every code works once,
    and none older than the last one that did. After a backup code the answer says how many are left.
    """
    return await verifications.verify(body)


@router.post(
    "/step-up/email",
    status_code=202,
    dependencies=[MAIL_LIMIT],
    responses=problems({409: ["second_factor_required", "password_required"]}),
)
async def send_step_up_code(_: SignedIn, step_ups: StepUps) -> StepUpCodeSent:
    """Mail a code for `POST /api/auth/step-up`, to people who have no password to give.

    For those who sign in by a link or at a provider. Whoever has a password or a second factor confirms with
    that.
    """
    return await step_ups.send_code()
