"""The routes of what the platform's staff does to accounts."""

from typing import Annotated

from fastapi import APIRouter, Depends

from app.core.access import Principal, staff
from app.core.errors import problems
from app.core.requests import StrictRoute
from app.schemas.auth.staff import StaffReason
from app.schemas.base import PathId
from app.services.auth.staff.suspending import Suspensions

router = APIRouter(route_class=StrictRoute, prefix="/api/auth", tags=["auth"])

Staff = Annotated[Principal, Depends(staff(step_up=True))]

STAFF_ONLY = ["permission_denied"]


@router.post(
    "/users/{user_id}/suspend",
    status_code=204,
    responses=problems({403: STAFF_ONLY, 409: ["user_not_active"]}),
)
async def suspend_user(_: Staff, suspensions: Suspensions, user_id: PathId, body: StaffReason) -> None:
    """Suspend an account.

    For the platform's staff, in a session with a second factor. Every session of the account ends, nobody
    signs in to it, and a mail tells the person the reason.
    """
    await suspensions.suspend(user_id, body.reason)


@router.post(
    "/users/{user_id}/reinstate",
    status_code=204,
    responses=problems({403: STAFF_ONLY, 409: ["user_not_suspended"]}),
)
async def reinstate_user(_: Staff, suspensions: Suspensions, user_id: PathId, body: StaffReason) -> None:
    """Open a suspended account again.

    The person signs in as before; the sessions that were ended stay so.
    """
    await suspensions.reinstate(user_id, body.reason)
