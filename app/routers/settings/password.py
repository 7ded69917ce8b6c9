"""The routes of the password."""

from typing import Annotated

from fastapi import APIRouter, Depends

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.limits import limited
from app.core.requests import StrictRoute
from app.schemas.auth import ChangePassword, PasswordChanged, SetPassword
from app.services.auth.password_change import Passwords

router = APIRouter(route_class=StrictRoute, prefix="/api/settings", tags=["settings"])

SignedIn = Annotated[Principal, Depends(allow())]
FreshlyChecked = Annotated[Principal, Depends(allow(step_up=True))]

CHANGE_LIMIT = Depends(limited("password_change", by="principal"))
CHANGE_PROBLEMS = problems(
    {
        403: ["current_password_invalid", "own_sign_in_required"],
        409: ["password_not_set", "password_changed_meanwhile", "user_sso_managed"],
        422: ["password_rejected", "password_unchanged"],
        429: ["too_many_attempts"],
    }
)


@router.post("/password", dependencies=[CHANGE_LIMIT], responses=CHANGE_PROBLEMS)
async def change_password(_: SignedIn, passwords: Passwords, body: ChangePassword) -> PasswordChanged:
    """Change the password.

    Every other session ends. This one goes on with the tokens of the answer: those that the request came
    with are void from now on. Wrong current passwords count as failed sign-ins.
    """
    return await passwords.change(body)


@router.put("/password", dependencies=[CHANGE_LIMIT], responses=CHANGE_PROBLEMS)
async def put_password(_: SignedIn, passwords: Passwords, body: ChangePassword) -> PasswordChanged:
    """Change the password, as `POST` does.

    Body, answer and refusals are the same.
    """
    return await passwords.change(body)


@router.post(
    "/password/set",
    dependencies=[CHANGE_LIMIT],
    responses=problems(
        {
            403: ["own_sign_in_required"],
            409: ["password_already_set", "user_sso_managed"],
            422: ["password_rejected"],
        }
    ),
)
async def set_password(_: FreshlyChecked, passwords: Passwords, body: SetPassword) -> PasswordChanged:
    """Give an account that never had a password its first one.

    The second check of such an account is a mailed code.
    """
    return await passwords.set(body)
