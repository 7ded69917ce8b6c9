"""Owns what people are told of the limits of their organisation's plan."""

from typing import Annotated

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.models.files import StorageUsage
from app.repositories.files import UsageRepository
from app.repositories.team import RoleRepository, TeamRepository
from app.schemas.team.permissions import Gauge, TeamLimits
from app.services.billing.entitlements import entitlements
from app.services.integrations import count_live_keys
from app.services.team.desk import active_organization
from app.services.team.roles import CUSTOM_ROLES, MAX_CUSTOM_ROLES


class LimitService:
    """Shows how much of the plan is used."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal

    async def get(self) -> TeamLimits:
        """The plan, its features, and each limit with what is used of it."""
        organization_id = active_organization(self.principal)
        plan = await entitlements(self.session, organization_id)
        now = clock.now()
        used, pending = await TeamRepository(self.session).count_seats(organization_id, now)
        keys = await count_live_keys(self.session, organization_id)
        usage = await UsageRepository(self.session).one(StorageUsage.organization_id == organization_id)
        roles = await RoleRepository(self.session).count(organization_id)
        return TeamLimits(
            plan=plan.plan,
            limits={
                "team_members": Gauge(limit=plan.limits.get("team_members"), used=used, pending=pending),
                CUSTOM_ROLES: Gauge(
                    limit=MAX_CUSTOM_ROLES if CUSTOM_ROLES in plan.features else 0, used=roles
                ),
                "api_keys": Gauge(limit=plan.limits.get("api_keys"), used=keys),
                "storage_bytes": Gauge(
                    limit=plan.limits.get("storage_bytes"), used=usage.bytes_used if usage else 0
                ),
            },
            features=sorted(plan.features),
        )


Limits = Annotated[LimitService, Depends()]
