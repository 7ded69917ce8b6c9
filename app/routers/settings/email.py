"""The routes of the change of the address."""

from typing import Annotated

from fastapi import APIRouter, Depends

from app.core.access import Principal, allow, public
from app.core.errors import problems
from app.core.limits import limited
from app.core.requests import StrictRoute
from app.schemas.settings.email import (
    ChangeEmail,
    EmailChangeDone,
    EmailChangePending,
    EmailRestored,
    EmailToken,
)
from app.services.settings.email_change import EmailChanges, EmailProofs

router = APIRouter(route_class=StrictRoute, prefix="/api/settings", tags=["settings"])

SignedIn = Annotated[Principal, Depends(allow())]
FreshlyChecked = Annotated[Principal, Depends(allow(step_up=True))]
Mailed = Annotated[None, Depends(public("whoever holds the mail may come from any browser"))]

TOKEN_LIMIT = Depends(limited("login_ip", by="address", is_sign_in=True))
TOKEN_PROBLEMS = problems(
    {400: ["token_invalid"], 409: ["email_taken"], 410: ["token_used", "token_expired"]}
)


@router.post(
    "/email",
    status_code=202,
    dependencies=[Depends(limited("email_change", by="principal"))],
    responses=problems({403: ["own_sign_in_required"], 409: ["user_sso_managed"], 422: ["email_unchanged"]}),
)
async def change_email(_: FreshlyChecked, changes: EmailChanges, body: ChangeEmail) -> EmailChangePending:
    """Begin to change the address: a link goes to the new one, a notice to the present one.

    The answer is the same when another account has the address. A change that waits is replaced.
    """
    return await changes.ask(body)


@router.delete("/email", status_code=204)
async def cancel_email_change(_: SignedIn, changes: EmailChanges) -> None:
    """Cancel the change that waits for its proof; also when there is none.

    The link that was mailed to the new address does not work any more.
    """
    await changes.cancel()


@router.post("/email/confirm", dependencies=[TOKEN_LIMIT], responses=TOKEN_PROBLEMS)
async def confirm_email_change(_: Mailed, proofs: EmailProofs, body: EmailToken) -> EmailChangeDone:
    """Let the new address count, with the token that was mailed there.

    All sessions end but the one that asked. The former address gets a link that undoes the change.
    """
    return await proofs.confirm(body)


@router.post("/email/undo", dependencies=[TOKEN_LIMIT], responses=TOKEN_PROBLEMS)
async def undo_email_change(_: Mailed, proofs: EmailProofs, body: EmailToken) -> EmailRestored:
    """Let the former address count again, with the token that was mailed there.

    All sessions end and the password is removed, and so are the second factors, backup codes and linked
    accounts that were added since. Go on with a reset of the password.
    """
    return await proofs.undo(body)
