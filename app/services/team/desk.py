"""Owns the rules of acting on a team: the lock, who acts, whom they may act on and what they may grant.

They are those of the team page, section 3. What they judge is read under the organisation's lock.
"""

from dataclasses import dataclass
from uuid import UUID

from app.core.access import Principal, permission_denied
from app.core.database import ScopedSession
from app.core.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from app.core.permissions import ROLE_NAMES, ROLE_PERMISSIONS, Permission, Role
from app.models.team import Organization, TeamRole
from app.repositories.team import RoleRepository, Standing, TeamRepository

BUILT_IN = {role.value: role for role in Role}


@dataclass(frozen=True, slots=True)
class RoleChoice:
    """A role that can be given: as a membership stores it, and as callers know it."""

    role: str
    team_role_id: UUID | None
    key: str
    name: str
    permissions: frozenset[Permission]

    @classmethod
    def built_in(cls, role: Role) -> "RoleChoice":
        """One of the roles that every organisation has."""
        return cls(role.value, None, role.value, ROLE_NAMES[role], ROLE_PERMISSIONS[role])

    @classmethod
    def custom(cls, row: TeamRole) -> "RoleChoice":
        """A role that an organisation has made."""
        return cls("custom", row.id, row.key, row.name, Standing.permissions_of_role(row))


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever acts, in the organisation that is locked for them, with the rights that they have now."""

    organization: Organization
    standing: Standing

    def refuse_unless_below(self, permissions: frozenset[Permission]) -> None:
        """403 `role_not_grantable` unless the caller holds all of these permissions too."""
        if not permissions <= self.standing.permissions:
            raise role_not_grantable()

    def refuse_to_act_on(self, target: Standing) -> None:
        """Judge an act on another member: oneself, the owner, somebody with more rights; in this order.

        409 `cannot_act_on_self`, 409 `owner_must_transfer`, 403 `role_not_grantable`.
        """
        if target.member.user_id == self.standing.member.user_id:
            raise Conflict("cannot_act_on_self", "Somebody else has to do this; or leave the organisation.")
        if target.member.role == Role.owner:
            raise owner_must_transfer()
        self.refuse_unless_below(target.permissions)

    def refuse_to_grant(self, choice: RoleChoice) -> None:
        """403 `role_not_grantable` for the owner's role, and for one with more rights than the caller's."""
        if choice.role == Role.owner:
            raise role_not_grantable()
        self.refuse_unless_below(choice.permissions)


def active_organization(principal: Principal) -> UUID:
    """The organisation that the caller works in. 404 when there is none that they can enter."""
    if principal.organization_id is None:
        raise NotFound(detail="There is no such organisation for you.")
    return principal.organization_id


def person_of(principal: Principal) -> UUID:
    """The signed-in person."""
    assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
    return principal.user_id


async def enter_team(session: ScopedSession, principal: Principal, permission: Permission) -> Actor:
    """Lock the active organisation and read again who acts, because both may have changed meanwhile.

    403 `permission_denied` when the caller does not hold the permission any more; 404 without organisation.
    """
    organization_id = active_organization(principal)
    team = TeamRepository(session)
    organization = await team.lock_organization(organization_id)
    if organization is None:
        raise NotFound(detail="There is no such organisation for you.")
    standing = await team.standing(organization_id, user_id=person_of(principal))
    if standing is None or standing.member.status != "active" or permission not in standing.permissions:
        raise permission_denied(permission)
    return Actor(organization, standing)


async def find_role(session: ScopedSession, organization_id: UUID, key: str) -> RoleChoice:
    """The role with this key, built-in or the organisation's own. 422 `unknown_role`."""
    role = BUILT_IN.get(key)
    if role is not None:
        return RoleChoice.built_in(role)
    found = await RoleRepository(session).by_key(organization_id, key)
    if found is None:
        detail = "There is no such role in this organisation."
        raise Invalid("unknown_role", detail, errors=[FieldError("/role", "unknown_role", detail)])
    return RoleChoice.custom(found)


def role_not_grantable() -> Forbidden:
    """403 for an act on somebody with more rights, and for a role with more rights than one's own."""
    return Forbidden(
        "role_not_grantable", "This role has rights that you do not have, or only a transfer moves it."
    )


def owner_must_transfer() -> Conflict:
    """409 for what nobody does to an owner, and no owner does."""
    return Conflict("owner_must_transfer", "The owner stays until the ownership has been transferred.")
