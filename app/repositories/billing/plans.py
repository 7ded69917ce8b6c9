"""Owns the questions to plans and grants."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select

from app.models.billing import Plan, PlanGrant
from app.repositories.base import Repository

FREE = "free"
"""What an organisation has that pays nothing."""


class PlanRepository(Repository[Plan]):
    """Plans, for any session: the organisation in the question is the bound."""

    model = Plan

    async def of_organization(self, organization_id: UUID, now: datetime) -> Plan:
        """The plan of highest rank that the organisation has at this moment, at least the free one."""
        granted = select(PlanGrant.plan_code).where(
            PlanGrant.organization_id == organization_id,
            PlanGrant.starts_at <= now,
            or_(PlanGrant.ends_at.is_(None), PlanGrant.ends_at > now),
        )
        statement = (
            select(Plan)
            .where(or_(Plan.code == FREE, Plan.code.in_(granted)))
            .order_by(Plan.rank.desc())
            .limit(1)
        )
        plan: Plan = (await self.session.execute(statement)).scalar_one()
        return plan
