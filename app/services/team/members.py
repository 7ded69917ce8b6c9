"""Owns the members of an organisation: listing them, changing their role and status, letting them go."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal, Principal
from app.core.database import Owner, Unscoped
from app.core.errors import NotFound
from app.core.events import emit
from app.core.mail_addresses import parse_address
from app.core.paging import Keyset, Page, Pager, Sort
from app.core.permissions import ROLE_NAMES, Permission, Role
from app.repositories.team import Sought, Standing, TeamListing, TeamRepository, TeamSessionRepository
from app.schemas.team.members import Member, MemberQuery, MemberReference, MemberUpdate, Removal, Removed
from app.services.files.addresses import avatar_url
from app.services.team.desk import (
    Actor,
    active_organization,
    enter_team,
    find_role,
    owner_must_transfer,
    person_of,
)
from app.services.team.events.members import (
    MemberActivated,
    MemberLeft,
    MemberRemoved,
    MemberRoleChanged,
    MemberSuspended,
    SessionsEnded,
)
from app.services.team.removal import end_membership
from app.services.team.sessions import send_home, tell_of_ended


class MemberService:
    """What members, and programs of theirs, see of the team."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal

    async def list(self, query: MemberQuery) -> Page[Member]:
        """A page of members, with `include=invitations` of those who are invited, too."""
        has_invited = query.include == "invitations"
        listing = TeamListing(
            active_organization(self.principal),
            Sought(query.q, query.role, query.status),
            invited_at=clock.now() if has_invited else None,
        )
        rows = await _pager(listing).rows(self.session, listing.statement, query, query.sort, is_scalar=False)
        return Page[Member].model_validate(rows.map(lambda row: read(row, self.principal)))

    async def get(self, member_id: UUID) -> Member:
        """One member. 404."""
        row = await TeamRepository(self.session).row(active_organization(self.principal), member_id)
        if row is None:
            raise NotFound()
        return read(row, self.principal)


class MemberActService:
    """What administrators do with members; it reaches sessions and keys of other people."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.team = TeamRepository(session)

    async def change(self, member_id: UUID, body: MemberUpdate) -> Member:
        """Give a member another role or status; it holds from their next request on.

        404; 409 `cannot_act_on_self`, `owner_must_transfer`; 403 `role_not_grantable`; 422 `unknown_role`.
        """
        actor = await enter_team(self.session, self.principal, Permission.members_update)
        target = await self._target(actor, MemberReference(member_id=member_id))
        changes = body.changes()
        if "role" in changes:
            await self._change_role(actor, target, changes["role"])
        if "status" in changes and changes["status"] != target.member.status:
            await self._change_status(target, changes["status"])
        row = await self.team.row(actor.organization.id, member_id)
        return read(row, self.principal)

    async def remove(self, reference: MemberReference) -> Removed:
        """End a membership; what went with it is on the receipt. Problems as `change`."""
        actor = await enter_team(self.session, self.principal, Permission.members_remove)
        target = await self._target(actor, reference)
        removal = await end_membership(self.session, target.member, clock.now())
        await emit(
            self.session,
            MemberRemoved(
                member_id=target.member.id, user_id=target.member.user_id, effects=effects_of(removal)
            ),
            private={"organization_id": actor.organization.id},
        )
        return Removed(removed=removal)

    async def end_sessions(self, member_id: UUID) -> None:
        """End a member's sessions here; any other one must be confirmed before it enters. As `change`."""
        actor = await enter_team(self.session, self.principal, Permission.members_remove)
        member = (await self._target(actor, MemberReference(member_id=member_id))).member
        now = clock.now()
        await self.team.change(member, {"access_valid_from": now})
        ended = await TeamSessionRepository(self.session).end_active(
            member.organization_id, member.user_id, now
        )
        await tell_of_ended(self.session, ended, "ended_by_administrator")
        await emit(
            self.session,
            SessionsEnded(member_id=member.id, user_id=member.user_id, sessions=len(ended)),
            private={"organization_id": actor.organization.id},
        )

    async def leave(self, asked: UUID | None) -> None:
        """Leave the active organisation, or `asked`, which the request names; 409 `owner_must_transfer`.

        404 for whoever is no member there. A suspended member may leave too, and has to name it: nothing else
        is open to them, so that it is nobody's active organisation.
        """
        organization_id = asked or active_organization(self.principal)
        organization = await self.team.lock_organization(organization_id)
        standing = await self.team.standing(organization_id, user_id=person_of(self.principal))
        if organization is None or standing is None:
            raise NotFound(detail="There is no such organisation for you.")
        if standing.member.role == Role.owner:
            raise owner_must_transfer()
        removal = await end_membership(self.session, standing.member, clock.now())
        await emit(
            self.session,
            MemberLeft(
                member_id=standing.member.id, user_id=standing.member.user_id, effects=effects_of(removal)
            ),
            organization_id=organization_id,
        )

    async def _target(self, actor: Actor, reference: MemberReference) -> Standing:
        canonical = parse_address(reference.email).canonical if reference.email is not None else None
        target = await self.team.standing(
            actor.organization.id,
            member_id=reference.member_id,
            user_id=reference.user_id,
            canonical=canonical,
        )
        if target is None:
            raise NotFound()
        actor.refuse_to_act_on(target)
        return target

    async def _change_role(self, actor: Actor, target: Standing, key: str) -> None:
        choice = await find_role(self.session, actor.organization.id, key)
        actor.refuse_to_grant(choice)
        member, before = target.member, target.role_key
        if choice.key == before:
            return
        await self.team.change(member, {"role": choice.role, "team_role_id": choice.team_role_id})
        await emit(
            self.session,
            MemberRoleChanged(
                member_id=member.id,
                user_id=member.user_id,
                from_=before,
                to=choice.key,
                changes={"role": [before, choice.key]},
            ),
            private={"organization_id": actor.organization.id, "role_name": choice.name},
        )

    async def _change_status(self, target: Standing, status: str) -> None:
        member, before = target.member, target.member.status
        await self.team.change(member, {"status": status})
        kind = MemberActivated if status == "active" else MemberSuspended
        if kind is MemberSuspended:
            # The keys that they made stop with the membership, because every request of a key asks for it.
            await send_home(self.session, member.organization_id, member.user_id, clock.now())
        await emit(
            self.session,
            kind(
                member_id=member.id,
                user_id=member.user_id,
                from_=before,
                to=status,
                changes={"status": [before, status]},
            ),
            private={"organization_id": member.organization_id},
        )


def effects_of(removal: Removal) -> dict[str, Any]:
    """The counts of a receipt, as events tell them."""
    return removal.model_dump(exclude={"member_id"})


def read(row: Any, principal: Principal) -> Member:
    """A row of the list as this caller sees it."""
    is_member = row.type == "member"
    role_name = row.role_name or ROLE_NAMES[Role(row.role)]
    return Member(
        type=row.type,
        id=row.id,
        user_id=row.user_id,
        email=row.email,
        full_name=row.full_name,
        avatar_url=avatar_url(row.avatar_file_id),
        role=row.role,
        role_name=role_name,
        status=row.status,
        mfa_enabled=row.mfa_enabled if principal.may(Permission.members_update) else None,
        last_active_at=row.last_active_at,
        joined_at=row.joined_at if is_member else None,
        invited_by=row.invited_by,
    )


def _pager(listing: TeamListing) -> Pager:
    keyset = Keyset(listing.column("created_at"), listing.column("id"))
    names = {"full_name": "full_name", "last_active_at": "last_active_at"}
    sorts = {
        "-joined_at": Sort(keyset.created_at, True, has_cursor=True),
        "joined_at": Sort(keyset.created_at, False, has_cursor=True),
        **{name: Sort(listing.column(column), False) for name, column in names.items()},
        **{f"-{name}": Sort(listing.column(column), True) for name, column in names.items()},
    }
    return Pager("members", keyset, sorts)


Members = Annotated[MemberService, Depends()]
MemberActs = Annotated[MemberActService, Depends()]
