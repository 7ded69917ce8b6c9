"""Owns the questions to the customers that organisations are at Stripe, and to who answers for them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.models.auth import User
from app.models.billing import BillingCustomer
from app.models.team import Organization, TeamMember
from app.repositories.base import Repository

PAYERS = ("owner", "admin")
"""The roles that pay, and hear of it when paying fails."""


class CustomerRepository(Repository[BillingCustomer]):
    """Customers, for any session: the question names the organisation."""

    model = BillingCustomer

    async def of(self, organization_id: UUID) -> BillingCustomer | None:
        """The organisation's customer, if anything is known of one."""
        return await self.one(BillingCustomer.organization_id == organization_id)

    async def lock(self, organization_id: UUID) -> BillingCustomer:
        """Take the billing lock: the row, which is made when it is missing, until the transaction ends."""
        # Past the row guard, which refuses bulk inserts: the owner is named.
        connection = await self.session.connection()
        await connection.execute(
            insert(BillingCustomer).values(organization_id=organization_id).on_conflict_do_nothing()
        )
        row = await self.one(BillingCustomer.organization_id == organization_id, lock=True)
        if row is None:
            raise LookupError("the organisation is not this session's")
        return row

    async def change(self, organization_id: UUID, values: Mapping[str, Any]) -> None:
        """Change the customer; the caller holds the lock."""
        await self.session.execute(
            update(BillingCustomer)
            .where(BillingCustomer.organization_id == organization_id)
            .values(**values, updated_at=func.clock_timestamp())
            .execution_options(synchronize_session="fetch")
        )

    async def note_sync(self, organization_id: UUID) -> None:
        """Stripe has the details as they are; they are not changed by that."""
        await self.session.execute(
            update(BillingCustomer)
            .where(BillingCustomer.organization_id == organization_id)
            .values(synced_at=func.clock_timestamp(), sync_error=None, updated_at=BillingCustomer.updated_at)
            .execution_options(synchronize_session="fetch")
        )

    async def note_sync_error(self, organization_id: UUID, code: str) -> None:
        """Stripe does not take the details as they are, and why; they are not changed by that."""
        await self.session.execute(
            update(BillingCustomer)
            .where(BillingCustomer.organization_id == organization_id)
            .values(synced_at=None, sync_error=code, updated_at=BillingCustomer.updated_at)
            .execution_options(synchronize_session="fetch")
        )

    async def organization_name(self, organization_id: UUID) -> str:
        """What the organisation is called; empty for one that is gone."""
        found = await self.session.scalar(select(Organization.name).where(Organization.id == organization_id))
        return found or ""

    async def address_of(self, user_id: UUID) -> str | None:
        """The mail address of a person."""
        found: str | None = await self.session.scalar(select(User.email).where(User.id == user_id))
        return found

    async def payers(self, organization_id: UUID) -> Sequence[UUID]:
        """The people who run the organisation and what it pays."""
        statement = (
            select(TeamMember.user_id)
            .join(User, User.id == TeamMember.user_id)
            .where(
                TeamMember.organization_id == organization_id,
                TeamMember.status == "active",
                TeamMember.role.in_(PAYERS),
                User.status == "active",
            )
            .order_by(TeamMember.id)
        )
        return (await self.session.scalars(statement)).all()
