"""Owns what people are told of permissions: the matrix, and why somebody may do something or not."""

from typing import Annotated

from fastapi import Depends

from app.core.access import CurrentPrincipal, permission_denied
from app.core.database import Owner
from app.core.errors import FieldError, Invalid, NotFound
from app.core.permission_descriptions import DESCRIPTIONS
from app.core.permissions import HOLDERS, KNOWN, OWNER_ONLY, ROLE_PERMISSIONS, Permission, Role
from app.repositories.team import RoleRepository, Standing, TeamRepository
from app.schemas.team.permissions import (
    Explain,
    Explanation,
    PermissionMatrix,
    PermissionRead,
    Reason,
    RolePermissions,
)
from app.services.team.desk import active_organization, person_of
from app.services.team.roles import sorted_names


class PermissionService:
    """Explains the one registry of permissions."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal

    async def matrix(self) -> PermissionMatrix:
        """Every permission, what each role of the organisation allows, and the caller's own."""
        customs = await RoleRepository(self.session).of(active_organization(self.principal))
        return PermissionMatrix(
            permissions=[described(permission) for permission in Permission],
            roles=[
                *(
                    RolePermissions(key=role.value, permissions=sorted_names(ROLE_PERMISSIONS[role]))
                    for role in Role
                ),
                *(
                    RolePermissions(
                        key=role.key, permissions=sorted_names(Standing.permissions_of_role(role))
                    )
                    for role in customs
                ),
            ],
            mine=sorted_names(self.principal.permissions),
        )

    async def explain(self, body: Explain) -> Explanation:
        """Whether a member may do something, and why.

        403 `permission_denied` when that is asked of another member without `members:update`; 422
        `unknown_permission`; 404 for who is no member.
        """
        user_id = body.user_id or person_of(self.principal)
        if user_id != self.principal.user_id and not self.principal.may(Permission.members_update):
            raise permission_denied(Permission.members_update)
        permission = KNOWN.get(body.permission)
        if permission is None:
            detail = "There is no such permission."
            raise Invalid(
                "unknown_permission", detail, errors=[FieldError("/permission", "unknown_permission", detail)]
            )
        team = TeamRepository(self.session)
        standing = await team.standing(active_organization(self.principal), user_id=user_id)
        if standing is None:
            raise NotFound()
        return explanation(standing, permission)


def described(permission: Permission) -> PermissionRead:
    """A permission with what it is for."""
    resource, _, action = permission.value.partition(":")
    return PermissionRead(
        name=permission.value, description=DESCRIPTIONS[permission], resource=resource, action=action
    )


def explanation(standing: Standing, permission: Permission) -> Explanation:
    """Whether this membership allows it: by its status and its role."""
    reasons = []
    is_active = standing.member.status == "active"
    has_right = permission in standing.permissions
    if not is_active:
        reasons.append(Reason(code="membership_suspended", detail="The membership is suspended."))
    if has_right:
        reasons.append(
            Reason(code="granted_by_role", detail=f"The role `{standing.role_key}` allows `{permission}`.")
        )
    else:
        reasons.append(_missing(standing, permission))
    return Explanation(allowed=is_active and has_right, reasons=reasons)


def _missing(standing: Standing, permission: Permission) -> Reason:
    if not HOLDERS[permission]:
        return Reason(code="staff_only", detail=f"Only staff of the platform have `{permission}`.")
    if permission in OWNER_ONLY:
        return Reason(code="owner_only", detail=f"Only the owner has `{permission}`.")
    having = ", ".join(f"`{role}`" for role in HOLDERS[permission])
    return Reason(
        code="role_lacks_permission",
        detail=f"The role `{standing.role_key}` lacks `{permission}`; built-in roles with it: {having}.",
    )


Permissions = Annotated[PermissionService, Depends()]
