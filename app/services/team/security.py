"""Owns what an organisation demands of its members' sessions."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Unscoped
from app.core.errors import Conflict, NotFound
from app.core.events import emit
from app.core.permissions import Permission
from app.repositories.team import TeamRepository
from app.schemas.team.organizations import OrganizationSecurity, SecurityUpdate
from app.services.auth.second_factor import has_active_factor
from app.services.team.desk import active_organization, enter_team, person_of
from app.services.team.events.organizations import OrganizationSecurityUpdated


class OrganizationSecurityService:
    """Sets the demands; they hold for every session with its next request."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal

    async def update(self, organization_id: UUID, body: SecurityUpdate) -> OrganizationSecurity:
        """Change what was sent. 404; 409 `enable_own_second_factor_first`."""
        if organization_id != active_organization(self.principal):
            raise NotFound(detail="There is no such organisation for you.")
        actor = await enter_team(self.session, self.principal, Permission.security_manage)
        organization = actor.organization
        changed = {
            name: value for name, value in body.changes().items() if value != getattr(organization, name)
        }
        if changed.get("require_mfa") and not await has_active_factor(
            self.session, person_of(self.principal)
        ):
            raise Conflict(
                "enable_own_second_factor_first", "Set up a second factor of your own before you demand one."
            )
        if changed:
            changes = {name: [getattr(organization, name), value] for name, value in changed.items()}
            for name, value in changed.items():
                setattr(organization, name, value)
            organization.version += 1
            await self.session.flush()
            await emit(
                self.session,
                OrganizationSecurityUpdated(organization_id=organization.id, changes=changes),
            )
        return OrganizationSecurity(
            require_mfa=organization.require_mfa,
            sso_enforced=organization.sso_enforced,
            session_max_seconds=organization.session_max_seconds,
            session_idle_seconds=organization.session_idle_seconds,
            members_without_mfa=await TeamRepository(self.session).count_without_factor(organization.id),
            version=organization.version,
        )


OrganizationSecurities = Annotated[OrganizationSecurityService, Depends()]
