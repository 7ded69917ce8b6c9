"""Owns the questions to plans, their prices and the grants of operators."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, and_, cast, exists, func, or_, select, true, update

from app.models.billing import Plan, PlanGrant, PlanPrice, Subscription
from app.models.billing.subscriptions import LIVE
from app.models.team import Organization
from app.repositories.base import Repository

FREE = "free"
"""What an organisation has that pays nothing."""


class Standing(NamedTuple):
    """A plan that an organisation has, and by what: a grant, its subscription, or neither (the free one)."""

    plan: Plan
    is_granted: bool
    subscription: Subscription | None


class PlanRepository(Repository[Plan]):
    """Plans, for any session: the organisation in the question is the bound."""

    model = Plan

    async def standings(
        self, organization_ids: Collection[UUID], now: datetime
    ) -> Mapping[UUID, Sequence[Standing]]:
        """The free plan, every plan that is granted now, and that of the live subscription, of each of them.

        The lowest plan comes first.
        """
        ids = cast(list(organization_ids), ARRAY(Uuid()))
        wanted = select(func.unnest(ids).label("id")).subquery("wanted")
        is_granted = exists().where(
            PlanGrant.organization_id == wanted.c.id,
            PlanGrant.plan_code == Plan.code,
            PlanGrant.starts_at <= now,
            or_(PlanGrant.ends_at.is_(None), PlanGrant.ends_at > now),
        )
        statement = (
            select(wanted.c.id, Plan, is_granted, Subscription)
            .select_from(wanted)
            .join(Plan, true())
            .outerjoin(
                Subscription,
                and_(
                    Subscription.plan_code == Plan.code,
                    Subscription.organization_id == wanted.c.id,
                    Subscription.status.in_(LIVE),
                ),
            )
            .where(or_(Plan.code == FREE, is_granted, Subscription.id.is_not(None)))
            .order_by(Plan.rank)
        )
        found: dict[UUID, list[Standing]] = {identifier: [] for identifier in organization_ids}
        for identifier, *standing in await self.session.execute(statement):
            found[identifier].append(Standing(*standing))
        return found

    async def by_code(self, code: str, *, lock: bool = False) -> Plan | None:
        """One plan, or None."""
        return await self.one(Plan.code == code, lock=lock)

    async def public(self) -> Sequence[Plan]:
        """The plans of the price list, lowest first."""
        found = await self.session.scalars(self.select().where(Plan.is_public).order_by(Plan.rank))
        return found.all()

    async def has_rank(self, rank: int, *, besides: str) -> bool:
        """Whether another plan stands at this rank."""
        statement = select(Plan.code).where(Plan.rank == rank, Plan.code != besides)
        return await self.session.scalar(statement) is not None

    async def change(self, code: str, values: Mapping[str, Any]) -> None:
        """Change a plan."""
        await self.session.execute(
            update(Plan)
            .where(Plan.code == code)
            .values(**values, updated_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )


class PriceRepository(Repository[PlanPrice]):
    """What plans cost."""

    model = PlanPrice

    async def active(self, plan_codes: Sequence[str] | None = None) -> Sequence[PlanPrice]:
        """The prices that are asked, of these plans or of all."""
        statement = self.select().where(PlanPrice.is_active)
        if plan_codes is not None:
            statement = statement.where(PlanPrice.plan_code.in_(plan_codes))
        ordered = statement.order_by(PlanPrice.plan_code, PlanPrice.currency, PlanPrice.unit_amount)
        return (await self.session.scalars(ordered)).all()

    async def find(self, plan_code: str, interval: str, currency: str) -> PlanPrice | None:
        """The price of a plan that is asked in a currency and per interval."""
        return await self.one(
            PlanPrice.plan_code == plan_code,
            PlanPrice.billing_interval == interval,
            PlanPrice.currency == currency,
            PlanPrice.is_active.is_(True),
        )

    async def by_stripe_id(self, stripe_price_id: str) -> PlanPrice | None:
        """The price that a price of Stripe stands for, also one that is not asked any more."""
        return await self.one(PlanPrice.stripe_price_id == stripe_price_id)

    async def by_lookup_key(self, lookup_key: str) -> PlanPrice | None:
        """The price that is found at Stripe by this key."""
        return await self.one(PlanPrice.lookup_key == lookup_key)

    async def note_check(
        self, price_id: UUID, *, drift: str | None, stripe_price_id: str | None, now: datetime
    ) -> None:
        """Write what a comparison with Stripe found; without an id the one that is known stays."""
        values: dict[str, Any] = {"drift": drift, "checked_at": now}
        if stripe_price_id is not None:
            values["stripe_price_id"] = stripe_price_id
        await self._change(price_id, values)

    async def retire(self, price: PlanPrice) -> None:
        """Let a price be asked no more; whoever pays it goes on. Its lookup key becomes free."""
        await self._change(
            price.id, {"is_active": False, "lookup_key": f"{price.lookup_key}_until_{price.id.hex}"}
        )

    async def _change(self, price_id: UUID, values: Mapping[str, Any]) -> None:
        await self.session.execute(
            update(PlanPrice)
            .where(PlanPrice.id == price_id)
            .values(**values)
            .execution_options(synchronize_session=False)
        )


class GrantRepository(Repository[PlanGrant]):
    """Grants of plans, of whatever organisation: for the platform's staff."""

    model = PlanGrant

    def matching(self, organization_id: UUID | None) -> Select[Any]:
        """The statement of a list, of one organisation or of all."""
        statement = self.select()
        if organization_id is None:
            return statement
        return statement.where(PlanGrant.organization_id == organization_id)

    async def organization_exists(self, organization_id: UUID) -> bool:
        """Whether there is such an organisation that is not deleted."""
        statement = select(Organization.id).where(
            Organization.id == organization_id, Organization.deleted_at.is_(None)
        )
        return await self.session.scalar(statement) is not None

    async def end(self, grant: PlanGrant, now: datetime) -> None:
        """Let a grant end now; one that has not begun is removed, since nothing came of it."""
        if grant.starts_at >= now:
            await self.remove(grant)
            return
        await self.session.execute(
            update(PlanGrant)
            .where(PlanGrant.organization_id == grant.organization_id, PlanGrant.id == grant.id)
            .values(ends_at=now)
            .execution_options(synchronize_session=False)
        )
