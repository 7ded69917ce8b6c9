"""Owns custom roles: what they may hold, who may change them, and what a change would do."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Conflict, FieldError, Invalid, NotFound, translate_constraint, version_mismatch
from app.core.etags import is_stale
from app.core.events import emit
from app.core.ids import uuid7
from app.core.paging import Keyset, Page, Pager, Sort
from app.core.permissions import (
    KNOWN,
    OWNER_ONLY,
    ROLE_DESCRIPTIONS,
    ROLE_NAMES,
    ROLE_PERMISSIONS,
    Permission,
    Role,
)
from app.models.team import TeamRole
from app.repositories.team import RoleRepository, Standing
from app.schemas.base import PublicProfile
from app.schemas.team.roles import RoleCreate, RoleEffects, RolePreview, RoleQuery, RoleRead, RoleUpdate
from app.services.billing.entitlements import require_feature
from app.services.files.addresses import avatar_url
from app.services.team.desk import Actor, active_organization, enter_team, role_not_grantable
from app.services.team.events.roles import RoleCreated, RoleDeleted, RoleUpdated

MAX_CUSTOM_ROLES = 20
SHOWN_MEMBERS = 100
CUSTOM_ROLES = "custom_roles"
FIRST = datetime(2000, 1, 1, tzinfo=UTC)


def role_key_taken() -> Conflict:
    """409 for the key of another role of the organisation."""
    return Conflict("role_key_taken", "There is a role with this key already; choose another one.")


translate_constraint("team_roles_key_key", role_key_taken())

PAGER = Pager(
    "roles",
    Keyset(TeamRole.created_at, TeamRole.id),
    {"created_at": Sort(TeamRole.created_at, False, has_cursor=True)},
)
OLDEST_FIRST = "created_at"


class RoleService:
    """What a team does with its roles."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.roles = RoleRepository(session)

    async def list(self, query: RoleQuery) -> Page[RoleRead]:
        """A page of roles: they are so few that all of them are read."""
        organization_id = active_organization(self.principal)
        holders = await self.roles.holders(organization_id)
        places = [(builtin_place(role), builtin(role, holders.get((role, None), 0))) for role in Role]
        places += [
            ((row.created_at, row.id), custom(row, holders.get(("custom", row.id), 0)))
            for row in await self.roles.of(organization_id)
        ]
        begin = 0
        if query.page is not None:
            begin = (query.page - 1) * query.limit
        elif (after := PAGER.position(self.session, query, OLDEST_FIRST)) is not None:
            begin = sum(place <= after for place, _ in places)
        shown = places[begin : begin + query.limit]
        last = shown[-1][0] if shown and begin + query.limit < len(places) else None
        return Page[RoleRead](
            items=[role for _, role in shown],
            next_cursor=PAGER.cursor(self.session, query, OLDEST_FIRST, last),
            total=len(places) if query.page is not None or query.count else None,
        )

    async def get(self, role_id: UUID) -> RoleRead:
        """One custom role. 404, also for the built-in ones, which have no id."""
        return await self._read(await self._find(role_id))

    async def create(self, body: RoleCreate) -> RoleRead:
        """Make a role. 422 `unknown_permission`; 403 `role_not_grantable`; 409 `role_key_taken`,
        `too_many`; 402 `feature_not_in_plan`.
        """
        permissions = known_permissions(body.permissions)
        actor = await enter_team(self.session, self.principal, Permission.roles_manage)
        refuse_out_of_reach(actor, permissions)
        organization_id = actor.organization.id
        if await self.roles.by_key(organization_id, body.key) is not None:
            raise role_key_taken()
        if await self.roles.count(organization_id) >= MAX_CUSTOM_ROLES:
            raise Conflict("too_many", f"There are {MAX_CUSTOM_ROLES} custom roles at most; delete one.")
        await require_feature(self.session, organization_id, CUSTOM_ROLES)
        role = await self.roles.add(
            TeamRole(
                id=uuid7(),
                key=body.key,
                name=body.name,
                description=body.description,
                permissions=sorted(permissions),
                created_by=self.principal.user_id,
            )
        )
        await emit(
            self.session,
            RoleCreated(
                role_id=role.id,
                key=role.key,
                added=role.permissions,
                removed=[],
                changes={"permissions": [None, role.permissions]},
            ),
        )
        return custom(role, 0)

    async def update(self, role_id: UUID, body: RoleUpdate, etags: Collection[int] | None) -> RoleRead:
        """Change a role; its members have their new rights with their next request.

        `etags` are the versions of `If-Match`. 422 `unknown_permission`; 404; 403 `role_not_grantable`; 412.
        """
        sent = body.changes(without=frozenset({"version"}))
        if "permissions" in sent:
            sent["permissions"] = sorted(known_permissions(sent["permissions"]))
        actor = await enter_team(self.session, self.principal, Permission.roles_manage)
        role = await self._find(role_id)
        before, listed = Standing.permissions_of_role(role), list(role.permissions)
        actor.refuse_unless_below(before)
        if "permissions" in sent:
            refuse_out_of_reach(actor, known_permissions(sent["permissions"]))
        if is_stale(role.version, body.version, etags):
            raise version_mismatch(role.version)
        changed = {name: value for name, value in sent.items() if value != getattr(role, name)}
        if not changed:
            return await self._read(role)
        updated = await self.roles.change(actor.organization.id, role_id, role.version, changed)
        if updated is None:
            raise version_mismatch((await self._find(role_id)).version)
        after = Standing.permissions_of_role(updated)
        await emit(
            self.session,
            RoleUpdated(
                role_id=role_id,
                key=updated.key,
                added=sorted(after - before),
                removed=sorted(before - after),
                # What people wrote is only named: it may be about somebody.
                changes={
                    name: [listed, value] if name == "permissions" else None
                    for name, value in changed.items()
                },
            ),
        )
        return await self._read(updated)

    async def preview(self, role_id: UUID, body: RolePreview) -> RoleEffects:
        """What these permissions would give and take, and from whom; changes nothing. As `update`."""
        wanted = known_permissions(body.permissions)
        actor = await enter_team(self.session, self.principal, Permission.roles_manage)
        role = await self._find(role_id)
        present = Standing.permissions_of_role(role)
        actor.refuse_unless_below(present)
        refuse_out_of_reach(actor, wanted)
        people = await self.roles.people_with(actor.organization.id, role_id, SHOWN_MEMBERS)
        return RoleEffects(
            gains=sorted(wanted - present),
            losses=sorted(present - wanted),
            members=[
                PublicProfile(
                    id=one.user_id, full_name=one.full_name, avatar_url=avatar_url(one.avatar_file_id)
                )
                for one in people
            ],
        )

    async def delete(self, role_id: UUID) -> None:
        """Delete a role that nobody has and nobody was offered. 404; 403; 409 `role_in_use`."""
        actor = await enter_team(self.session, self.principal, Permission.roles_manage)
        role = await self._find(role_id)
        actor.refuse_unless_below(Standing.permissions_of_role(role))
        if not await self.roles.remove_unless_used(role):
            members, invitations = await self.roles.uses(actor.organization.id, role_id)
            raise Conflict(
                "role_in_use",
                "Give its members another role and cancel the invitations that offer it first.",
                members=members,
                invitations=invitations,
            )
        await emit(
            self.session,
            RoleDeleted(
                role_id=role_id,
                key=role.key,
                added=[],
                removed=role.permissions,
                changes={"permissions": [role.permissions, None]},
            ),
        )

    async def _find(self, role_id: UUID) -> TeamRole:
        role = await self.roles.find(active_organization(self.principal), role_id)
        if role is None:
            raise NotFound()
        return role

    async def _read(self, role: TeamRole) -> RoleRead:
        members, _ = await self.roles.uses(active_organization(self.principal), role.id)
        return custom(role, members)


def known_permissions(names: Iterable[str]) -> frozenset[Permission]:
    """The permissions of these names, with the one that every role has. 422 `unknown_permission`."""
    errors = [
        FieldError(f"/permissions/{index}", "unknown_permission", "There is no such permission.")
        for index, name in enumerate(names)
        if name not in KNOWN
    ]
    if errors:
        raise Invalid("unknown_permission", "Some of these are no permissions; see `errors`.", errors=errors)
    return frozenset({KNOWN[name] for name in names} | {Permission.organization_read})


def refuse_out_of_reach(actor: Actor, permissions: frozenset[Permission]) -> None:
    """403 `role_not_grantable` for what only the owner has, and for what the caller does not have."""
    if permissions & OWNER_ONLY:
        raise role_not_grantable()
    actor.refuse_unless_below(permissions)


def builtin_place(role: Role) -> tuple[datetime, UUID]:
    """Where a built-in role stands in the list: before every custom one, the owner first."""
    position = list(Role).index(role)
    return FIRST + timedelta(seconds=position), UUID(int=position)


def builtin(role: Role, members: int) -> RoleRead:
    """A built-in role as it is shown."""
    return RoleRead(
        id=None,
        key=role.value,
        name=ROLE_NAMES[role],
        description=ROLE_DESCRIPTIONS[role],
        permissions=sorted_names(ROLE_PERMISSIONS[role]),
        is_builtin=True,
        members_count=members,
        version=1,
    )


def custom(role: TeamRole, members: int) -> RoleRead:
    """A custom role as it is shown, without names that are no permissions any more."""
    return RoleRead(
        id=role.id,
        key=role.key,
        name=role.name,
        description=role.description,
        permissions=sorted_names(Standing.permissions_of_role(role)),
        is_builtin=False,
        members_count=members,
        version=role.version,
    )


def sorted_names(permissions: Iterable[Permission]) -> list[str]:
    """Names of permissions in alphabetical order."""
    return sorted(permission.value for permission in permissions)


Roles = Annotated[RoleService, Depends()]
