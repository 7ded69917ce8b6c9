"""The routes of members."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from app.core.access import Principal, allow, asked_organization
from app.core.errors import FieldError, Invalid, problems
from app.core.paging import Page
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.base import PathId
from app.schemas.team.members import (
    Member,
    MemberQuery,
    MemberReference,
    MemberRoleUpdate,
    MemberUpdate,
    Removed,
)
from app.services.team.members import MemberActs, Members

router = APIRouter(route_class=StrictRoute, prefix="/api/team", tags=["team"])

Reader = Annotated[Principal, Depends(allow(Permission.members_read, key=True))]
Updater = Annotated[Principal, Depends(allow(Permission.members_update))]
Remover = Annotated[Principal, Depends(allow(Permission.members_remove))]
SignedIn = Annotated[Principal, Depends(allow())]

CODES = {403: ["role_not_grantable"], 409: ["owner_must_transfer", "cannot_act_on_self"]}
UPDATE_PROBLEMS = problems({**CODES, 422: ["unknown_role"]})
NAMED_PROBLEMS = problems({**CODES, 404: ["not_found"]})
"""Where a body or a query names the member."""


@router.get("/members", responses=problems({422: ["sort_needs_page", "page_too_deep", "cursor_invalid"]}))
async def list_members(_: Reader, members: Members, query: Annotated[MemberQuery, Query()]) -> Page[Member]:
    """List the members, and with `include=invitations` those who are invited.

    Who joined last comes first, unless `sort` says otherwise. `cursor` works with the sorts by `joined_at`;
    the others are paged with `page`.
    """
    return await members.list(query)


@router.put(
    "/members", deprecated=True, responses=problems({**CODES, 404: ["not_found"], 422: ["unknown_role"]})
)
async def update_member_alias(_: Updater, acts: MemberActs, body: MemberRoleUpdate) -> Member:
    """Change a member's role; use `PATCH /api/team/members/{member_id}`."""
    return await acts.change(body.member_id, MemberUpdate(role=body.role))


@router.delete("/members", status_code=204, deprecated=True, responses=NAMED_PROBLEMS)
async def remove_member_by_query_alias(
    _: Remover,
    acts: MemberActs,
    member_id: Annotated[UUID, Query(alias="id", description="The member's id.")],
) -> None:
    """Remove a member; use `DELETE /api/team/members/{member_id}`."""
    await acts.remove(MemberReference(member_id=member_id))


@router.get("/members/{member_id}")
async def get_member(_: Reader, members: Members, member_id: PathId) -> Member:
    """Get a member.

    With their role, and when they joined and were last here.
    """
    return await members.get(member_id)


@router.patch("/members/{member_id}", responses=UPDATE_PROBLEMS)
@router.put("/members/{member_id}", responses=UPDATE_PROBLEMS)
async def update_member(_: Updater, acts: MemberActs, member_id: PathId, body: MemberUpdate) -> Member:
    """Give a member another role, suspend or activate them.

    It holds with their next request. A suspended member's sessions go on in their personal organisation, and
    the API keys that they made rest. Nobody acts on members, or gives roles, with more rights than their own.
    """
    return await acts.change(member_id, body)


@router.delete("/members/{member_id}", status_code=204, responses=problems(CODES))
async def remove_member(_: Remover, acts: MemberActs, member_id: PathId) -> None:
    """Remove a member.

    Their sessions go on in their personal organisation; the API keys that they made here are revoked, and
    invitations that they sent are cancelled. What they made stays.
    """
    await acts.remove(MemberReference(member_id=member_id))


@router.delete("/members/{member_id}/sessions", status_code=204, responses=problems(CODES))
async def end_member_sessions(_: Remover, acts: MemberActs, member_id: PathId) -> None:
    """End a member's sessions in this organisation.

    Any other session of theirs must be confirmed by a step-up before it enters again.
    """
    await acts.end_sessions(member_id)


@router.post("/remove", responses=NAMED_PROBLEMS)
async def remove_member_with_receipt(_: Remover, acts: MemberActs, body: MemberReference) -> Removed:
    """Remove a member by id, person or address, and get the receipt of what went with them.

    Their sessions here end and their keys are revoked. What they made stays.
    """
    return await acts.remove(body)


@router.delete("/remove", status_code=204, deprecated=True, responses=NAMED_PROBLEMS)
async def remove_member_alias(
    _: Remover,
    acts: MemberActs,
    body: MemberReference | None = None,
    member_id: Annotated[UUID | None, Query(description="The member's id, unless a body names them.")] = None,
) -> None:
    """Remove a member; use `DELETE /api/team/members/{member_id}`."""
    if (body is None) == (member_id is None):
        detail = "Send `member_id`, or a body that names the member."
        raise Invalid("validation_error", detail, errors=[FieldError("/member_id", "required", detail)])
    await acts.remove(body or MemberReference(member_id=member_id))


@router.post("/leave", status_code=204, responses=problems({409: ["owner_must_transfer"]}))
async def leave_team(_: SignedIn, acts: MemberActs, request: Request) -> None:
    """Leave the active organisation; the session goes on in the personal one.

    A suspended member names the organisation with `X-Organization-Id`.
    """
    await acts.leave(asked_organization(request))
