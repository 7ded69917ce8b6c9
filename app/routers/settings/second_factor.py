"""The routes of the second factor."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.requests import StrictRoute
from app.schemas.auth import SecondFactor
from app.schemas.auth.two_factor import (
    BackupCodes,
    RenewBackupCodes,
    StartTwoFactor,
    TwoFactor,
    TwoFactorEnabled,
    TwoFactorStarted,
    VerifyTwoFactor,
)
from app.services.auth.two_factor.enabling import Enabling
from app.services.auth.two_factor.keeping import Keeping

router = APIRouter(route_class=StrictRoute, prefix="/api/settings", tags=["settings"])

SignedIn = Annotated[Principal, Depends(allow())]
SteppedUp = Annotated[Principal, Depends(allow(step_up=True))]

START_PROBLEMS = problems({409: ["two_factor_already_enabled"]})
VERIFY_PROBLEMS = problems(
    {409: ["two_factor_not_started"], 422: ["code_invalid"], 429: ["too_many_attempts"]}
)
DISABLE_PROBLEMS = problems(
    {
        401: ["mfa_code_invalid"],
        409: ["two_factor_not_enabled", "mfa_required_by_organization"],
        429: ["too_many_attempts"],
    }
)
LOCATION = "/api/settings/2fa"


@router.get("/2fa")
async def get_two_factor(_: SignedIn, keeping: Keeping) -> TwoFactor:
    """How one's second factor stands, and which organisations demand one.

    With three backup codes or fewer it is time for new ones.
    """
    return await keeping.read()


@router.post("/2fa", status_code=201, responses=START_PROBLEMS)
async def start_two_factor(
    _: SteppedUp, enabling: Enabling, response: Response, body: StartTwoFactor | None = None
) -> TwoFactorStarted:
    """Begin to set up an authenticator app.

    The secret is shown this once and waits ten minutes for its first code. Starting again replaces it.
    """
    response.headers["Location"] = LOCATION
    return await enabling.start(body or StartTwoFactor())


@router.post("/2fa/enable", status_code=201, deprecated=True, responses=START_PROBLEMS)
async def start_two_factor_alias(
    _: SteppedUp, enabling: Enabling, response: Response, body: StartTwoFactor | None = None
) -> TwoFactorStarted:
    """Begin to turn the second factor on: `POST /api/settings/2fa` by its old name."""
    response.headers["Location"] = LOCATION
    return await enabling.start(body or StartTwoFactor())


@router.post("/2fa/verify", responses=VERIFY_PROBLEMS)
async def verify_two_factor(_: SignedIn, enabling: Enabling, body: VerifyTwoFactor) -> TwoFactorEnabled:
    """Turn the second factor on by the first code of the authenticator.

    The backup codes are shown this once. Every other session ends, and the answer's tokens replace the
    caller's. Five wrong codes delete the authenticator that was begun.
    """
    return await enabling.verify(body)


@router.put("/2fa", deprecated=True, responses=VERIFY_PROBLEMS)
async def verify_two_factor_alias(_: SignedIn, enabling: Enabling, body: VerifyTwoFactor) -> TwoFactorEnabled:
    """Turn the second factor on: `POST /api/settings/2fa/verify` by its old name."""
    return await enabling.verify(body)


@router.post("/2fa/disable", status_code=204, responses=DISABLE_PROBLEMS)
async def disable_two_factor(_: SteppedUp, keeping: Keeping, body: SecondFactor) -> None:
    """Turn the second factor off by one of its codes, and forget its backup codes.

    The other sessions go on. 409 while an organisation of yours demands a second factor.
    """
    await keeping.disable(body)


@router.delete("/2fa", status_code=204, deprecated=True, responses=DISABLE_PROBLEMS)
async def disable_two_factor_alias(_: SteppedUp, keeping: Keeping, body: SecondFactor) -> None:
    """Turn the second factor off: `POST /api/settings/2fa/disable` by its old name."""
    await keeping.disable(body)


@router.post(
    "/2fa/backup-codes",
    responses=problems(
        {401: ["mfa_code_invalid"], 409: ["two_factor_not_enabled"], 429: ["too_many_attempts"]}
    ),
)
async def renew_backup_codes(_: SteppedUp, keeping: Keeping, body: RenewBackupCodes) -> BackupCodes:
    """Make ten new backup codes, shown this once; the old ones are void.

    Takes a code of the authenticator. Each backup code works once.
    """
    return await keeping.renew_codes(body)
