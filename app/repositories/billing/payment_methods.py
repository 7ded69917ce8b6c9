"""Owns the questions to payment methods."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, update

from app.models.billing import BillingCustomer, PaymentMethod
from app.repositories.base import Repository


class PaymentMethodRepository(Repository[PaymentMethod]):
    """Payment methods, for any session: the question names the organisation."""

    model = PaymentMethod

    def attached(self) -> Select[Any]:
        """The statement of a list: those that can be used."""
        return self.select().where(PaymentMethod.detached_at.is_(None))

    async def usable(self, organization_id: UUID) -> Sequence[PaymentMethod]:
        """The organisation's methods, newest first."""
        statement = (
            self.attached()
            .where(PaymentMethod.organization_id == organization_id)
            .order_by(PaymentMethod.created_at.desc(), PaymentMethod.id.desc())
        )
        return (await self.session.scalars(statement)).all()

    async def find(self, organization_id: UUID, method_id: UUID) -> PaymentMethod | None:
        """One that can be used, or None."""
        return await self.one(
            PaymentMethod.organization_id == organization_id,
            PaymentMethod.id == method_id,
            PaymentMethod.detached_at.is_(None),
        )

    async def by_stripe_id(self, organization_id: UUID, stripe_id: str) -> PaymentMethod | None:
        """The mirror of a method of Stripe, also of one that is gone there."""
        return await self.one(
            PaymentMethod.organization_id == organization_id,
            PaymentMethod.stripe_payment_method_id == stripe_id,
        )

    async def default(self, organization_id: UUID) -> PaymentMethod | None:
        """What pays unless something else is said."""
        return await self.one(
            PaymentMethod.organization_id == organization_id,
            PaymentMethod.is_default.is_(True),
            PaymentMethod.detached_at.is_(None),
        )

    async def by_fingerprint(
        self, organization_id: UUID, kind: str, fingerprint: str
    ) -> PaymentMethod | None:
        """The method that is the same card or account."""
        return await self.one(
            PaymentMethod.organization_id == organization_id,
            PaymentMethod.type == kind,
            PaymentMethod.fingerprint == fingerprint,
            PaymentMethod.detached_at.is_(None),
        )

    async def change(self, method: PaymentMethod, values: Mapping[str, Any]) -> None:
        """Change a method; the caller holds the billing lock."""
        await self.session.execute(
            update(PaymentMethod)
            .where(PaymentMethod.organization_id == method.organization_id, PaymentMethod.id == method.id)
            .values(**values)
            .execution_options(synchronize_session=False)
        )
        await self.session.refresh(method)

    async def set_default(self, organization_id: UUID, method_id: UUID | None) -> None:
        """Make one the default, or none; the caller holds the billing lock.

        Two statements: one could break the unique index midway, depending on the order of the rows.
        """
        await self.session.execute(
            update(PaymentMethod)
            .where(PaymentMethod.organization_id == organization_id, PaymentMethod.is_default)
            .values(is_default=False)
            .execution_options(synchronize_session="fetch")
        )
        if method_id is not None:
            await self.session.execute(
                update(PaymentMethod)
                .where(PaymentMethod.organization_id == organization_id, PaymentMethod.id == method_id)
                .values(is_default=True)
                .execution_options(synchronize_session="fetch")
            )

    async def had_trial_elsewhere(self, organization_id: UUID, fingerprints: Sequence[str]) -> bool:
        """Whether one of these cards or accounts is that of another organisation that has had its trial.

        It looks at every organisation, and so needs an unscoped session.
        """
        statement = (
            select(func.count())
            .select_from(PaymentMethod)
            .join(BillingCustomer, BillingCustomer.organization_id == PaymentMethod.organization_id)
            .where(
                PaymentMethod.fingerprint.in_(fingerprints),
                PaymentMethod.organization_id != organization_id,
                BillingCustomer.has_had_trial,
            )
        )
        return bool(await self.session.scalar(statement))
