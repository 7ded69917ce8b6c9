"""The routes of invitations: the team sends them, invited people answer them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.core.access import Principal, allow, public
from app.core.errors import problems
from app.core.limits import limited
from app.core.paging import Page, PageQuery
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.base import PathId
from app.schemas.team.invitations import (
    AcceptInvitation,
    AcceptMine,
    InvitationPreview,
    InvitationProof,
    InvitationQuery,
    InvitationRead,
    InvitationReference,
    Invite,
    InvitedMany,
    Joined,
    MyInvitation,
)
from app.services.team.invitations.accepting import Accepting, Holding
from app.services.team.invitations.inviting import Inviting
from app.services.team.invitations.reading import Invitations

router = APIRouter(route_class=StrictRoute, prefix="/api/team", tags=["team"])

Inviter = Annotated[Principal, Depends(allow(Permission.members_invite))]
SignedIn = Annotated[Principal, Depends(allow())]
Holder = Annotated[None, Depends(public("whoever holds the mail may come from any browser"))]

TOKEN_LIMIT = Depends(limited("invitation_token", by="address"))
NO_STORE = {"Cache-Control": "no-store"}

TOKEN_GONE = ["token_used", "token_expired"]
JOIN_PROBLEMS = {
    402: ["plan_limit_reached"],
    403: ["invitation_email_mismatch", "session_limited_to_organization"],
    409: ["already_member"],
}
CLOSING_PROBLEMS = problems({403: ["role_not_grantable"], 409: ["invitation_not_pending"]})

TOKEN_IN_BODY = {"Deprecation": "@1767225600"}
"""The client sends a token of its own, which nobody has read since 2026 began (RFC 9745)."""


@router.post(
    "/invite",
    status_code=201,
    response_model=InvitationRead | InvitedMany,
    responses={
        200: {"model": InvitedMany | InvitationRead, "description": "Several addresses, or invited before."},
        **problems(
            {
                402: ["plan_limit_reached"],
                403: ["role_not_grantable"],
                409: ["already_member", "invitation_pending"],
                422: ["own_address", "unknown_role"],
                429: ["rate_limited"],
            }
        ),
    },
)
async def invite_member(
    _: Inviter, inviting: Inviting, body: Invite, response: Response
) -> InvitationRead | InvitedMany:
    """Invite by mail.

    One `email` answers 201 with the invitation, or 200 when the address is invited into this role already.
    Several `emails` answer 200 and say of each what became of it; their order decides who gets the last
    seats. The answer is the same whether or not an address has an account.
    """
    if body.names_a_token:
        response.headers.update(TOKEN_IN_BODY)
    if body.emails is not None:
        response.status_code = 200
        return await inviting.invite_all(body.emails, body.role, body.message)
    outcome = await inviting.invite(body.email or "", body.role, body.message)
    if outcome.status == "already_pending":
        response.status_code = 200
    else:
        response.headers["Location"] = f"/api/team/invitations/{outcome.invitation.id}"
    return outcome.invitation


@router.get("/invitations", responses=problems({422: ["sort_needs_page", "page_too_deep", "cursor_invalid"]}))
async def list_invitations(
    _: Inviter, invitations: Invitations, query: Annotated[InvitationQuery, Query()]
) -> Page[InvitationRead]:
    """List invitations.

    Newest first, also those that were answered. One whose time is over counts as `expired` at once.
    """
    return Page[InvitationRead].model_validate(await invitations.list(query))


@router.delete("/invitations", status_code=204, deprecated=True, responses=CLOSING_PROBLEMS)
async def cancel_invitation_alias(
    _: Inviter, inviting: Inviting, query: Annotated[InvitationReference, Query()]
) -> None:
    """Take an invitation back, named in the query.

    Use `DELETE /api/team/invitations/{invitation_id}`.
    """
    await inviting.cancel(query.id)


@router.get(
    "/invitations/mine", responses=problems({422: ["sort_needs_page", "page_too_deep", "cursor_invalid"]})
)
async def list_my_invitations(
    _: SignedIn, accepting: Accepting, query: Annotated[PageQuery, Query()]
) -> Page[MyInvitation]:
    """List the open invitations to one's own address.

    Newest first, from every organisation.
    """
    return Page[MyInvitation].model_validate(await accepting.list(query))


@router.post(
    "/invitations/mine/{invitation_id}/accept",
    responses=problems({**JOIN_PROBLEMS, 410: ["invitation_revoked"]}),
)
async def accept_my_invitation(
    _: SignedIn, accepting: Accepting, invitation_id: PathId, body: AcceptMine | None = None
) -> Joined:
    """Accept an invitation to one's own address.

    The session works in that organisation from now on, unless `switch` is false or it demands more of a
    session, such as a second factor.
    """
    return await accepting.accept_mine(invitation_id, switch=body is None or body.switch)


@router.post(
    "/invitations/mine/{invitation_id}/decline",
    status_code=204,
    responses=problems({410: ["invitation_revoked"]}),
)
async def decline_my_invitation(_: SignedIn, accepting: Accepting, invitation_id: PathId) -> None:
    """Decline an invitation to one's own address.

    Declining again changes nothing.
    """
    await accepting.decline_mine(invitation_id)


@router.post(
    "/invitations/preview",
    dependencies=[TOKEN_LIMIT],
    responses=problems({400: ["token_invalid"], 410: [*TOKEN_GONE, "invitation_revoked"]}),
)
async def preview_invitation(
    _: Holder, holding: Holding, body: InvitationProof, response: Response
) -> InvitationPreview:
    """Look at an invitation by the token of its mail.

    Changes nothing. `has_account` says whether to sign in and accept, or to sign up with the token.
    """
    response.headers.update(NO_STORE)
    return await holding.preview(body.token)


@router.post(
    "/invitations/accept",
    dependencies=[TOKEN_LIMIT],
    responses=problems({400: ["token_invalid"], **JOIN_PROBLEMS, 410: [*TOKEN_GONE, "invitation_revoked"]}),
)
async def accept_invitation(_: SignedIn, accepting: Accepting, body: AcceptInvitation) -> Joined:
    """Accept an invitation by the token of its mail.

    Only the account whose confirmed address was invited can. The session works in that organisation from now
    on, unless `switch` is false or it demands more of a session, such as a second factor.
    """
    return await accepting.accept(body.token, switch=body.switch)


@router.post(
    "/invitations/decline",
    status_code=204,
    dependencies=[TOKEN_LIMIT],
    responses=problems({400: ["token_invalid"], 410: [*TOKEN_GONE, "invitation_revoked"]}),
)
async def decline_invitation(_: Holder, holding: Holding, body: InvitationProof) -> None:
    """Decline an invitation by the token of its mail.

    Declining again changes nothing.
    """
    await holding.decline(body.token)


@router.get("/invitations/{invitation_id}")
async def get_invitation(_: Inviter, invitations: Invitations, invitation_id: PathId) -> InvitationRead:
    """Get an invitation.

    Its token is only in the mail.
    """
    return await invitations.get(invitation_id)


@router.post(
    "/invitations/{invitation_id}/resend",
    status_code=202,
    responses=problems(
        {403: ["role_not_grantable"], 409: ["invitation_not_pending", "resend_limit_reached"]}
    ),
)
async def resend_invitation(
    _: Inviter, inviting: Inviting, invitation_id: PathId, response: Response
) -> InvitationRead:
    """Mail an invitation again.

    With a new token, which is good for as long as the first one was; the older one does not work any more.
    """
    response.headers["Location"] = f"/api/team/invitations/{invitation_id}"
    return await inviting.resend(invitation_id)


@router.delete("/invitations/{invitation_id}", status_code=204, responses=CLOSING_PROBLEMS)
async def cancel_invitation(_: Inviter, inviting: Inviting, invitation_id: PathId) -> None:
    """Take an invitation back.

    Its token does not work any more, and its seat is free.
    """
    await inviting.cancel(invitation_id)
