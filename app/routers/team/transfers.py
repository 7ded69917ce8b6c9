"""The routes of the transfer of ownership."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.team.invitations import Joined
from app.schemas.team.transfers import OfferOwnership, TransferRead
from app.services.team.transfers.offering import ReadTransfers, Transfers

router = APIRouter(route_class=StrictRoute, prefix="/api/team/transfer-ownership", tags=["team"])

Giver = Annotated[Principal, Depends(allow(Permission.organization_transfer, step_up=True))]
Reader = Annotated[Principal, Depends(allow(Permission.members_read))]
Taker = Annotated[Principal, Depends(allow(step_up=True))]
SignedIn = Annotated[Principal, Depends(allow())]


@router.post(
    "",
    status_code=201,
    responses=problems(
        {
            401: ["step_up_required"],
            404: ["not_found"],
            409: ["target_not_eligible", "transfer_pending"],
            422: ["target_is_owner"],
            429: ["rate_limited"],
        }
    ),
)
async def offer_ownership(
    _: Giver, transfers: Transfers, body: OfferOwnership, response: Response
) -> TransferRead:
    """Offer the organisation to another member.

    Both get a mail. Nothing changes until the other accepts; until then the owner can take the offer back.
    """
    response.headers["Location"] = "/api/team/transfer-ownership"
    return await transfers.offer(body)


@router.get("", responses=problems({404: ["not_found"]}))
async def get_transfer(_: Reader, transfers: ReadTransfers) -> TransferRead:
    """Get the open transfer of ownership.

    404 when there is none.
    """
    return await transfers.get()


@router.post(
    "/accept",
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
            409: ["target_not_eligible"],
            410: ["transfer_expired"],
        }
    ),
)
async def accept_ownership(_: Taker, transfers: Transfers) -> Joined:
    """Accept the ownership of the organisation in which one works.

    The former owner stays as an administrator. A personal organisation becomes a team's, and its former owner
    gets a new personal one.
    """
    return await transfers.accept()


@router.delete("", status_code=204, responses=problems({404: ["not_found"]}))
async def close_transfer(_: SignedIn, transfers: Transfers) -> None:
    """End the open transfer of ownership.

    The owner takes the offer back by this, the other declines it.
    """
    await transfers.close()
