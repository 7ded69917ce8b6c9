"""Questions to discount codes: redeeming one under its row lock, and giving it back."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import func, or_, select, update

from app.models.orders import DiscountCode, DiscountRedemption
from app.repositories.base import Repository


class DiscountRepository(Repository[DiscountCode]):
    """Discount codes of the organisation, and what orders redeemed of them."""

    model: ClassVar[type[DiscountCode]] = DiscountCode

    async def find(self, code: str) -> DiscountCode | None:
        """The code as it stands, whether or not it applies."""
        return await self.one(DiscountCode.code == code)

    async def redeem(self, code: str, *, subtotal: int, currency: str, now: datetime) -> DiscountCode | None:
        """Count one more redemption if all conditions but the buyer's own limit hold; None when one does not.

        Its row stays locked until the transaction ends, so that `live_redemptions` is exact afterwards.
        """
        statement = (
            update(DiscountCode)
            .where(
                DiscountCode.code == code,
                DiscountCode.is_active,
                or_(DiscountCode.starts_at.is_(None), DiscountCode.starts_at <= now),
                or_(DiscountCode.ends_at.is_(None), DiscountCode.ends_at > now),
                or_(
                    DiscountCode.max_redemptions.is_(None),
                    DiscountCode.redeemed < DiscountCode.max_redemptions,
                ),
                DiscountCode.min_subtotal <= subtotal,
                or_(DiscountCode.currency.is_(None), DiscountCode.currency == currency),
            )
            .values(redeemed=DiscountCode.redeemed + 1, updated_at=func.clock_timestamp())
            .returning(DiscountCode)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        redeemed: DiscountCode | None = (await self.session.execute(statement)).scalar_one_or_none()
        return redeemed

    async def lock(self, order_id: UUID, code: str | None) -> None:
        """Lock the code that an order redeemed and the one that it is to have, in the order of their ids."""
        redeemed = select(DiscountRedemption.discount_id).where(
            DiscountRedemption.order_id == order_id, DiscountRedemption.released_at.is_(None)
        )
        statement = (
            select(DiscountCode.id)
            .where(or_(DiscountCode.code == code, DiscountCode.id.in_(redeemed)))
            .order_by(DiscountCode.id)
            .with_for_update(key_share=True)
        )
        await self.session.execute(statement)

    async def live_redemptions(self, discount_id: UUID, email: str | None) -> int:
        """How often the buyer with this canonical address has redeemed the code without giving it back."""
        statement = select(func.count(DiscountRedemption.order_id)).where(
            DiscountRedemption.discount_id == discount_id,
            DiscountRedemption.customer_email_canonical == email,
            DiscountRedemption.released_at.is_(None),
        )
        return int(await self.session.scalar(statement) or 0)

    async def keep(self, order_id: UUID, discount_id: UUID, *, email: str | None, amount: int) -> None:
        """Write down that an order redeemed a code, in place of what it may have redeemed before."""
        values = {"discount_id": discount_id, "customer_email_canonical": email, "amount": amount}
        await RedemptionRepository(self.session).upsert(
            keys=["organization_id", "order_id"],
            values={"order_id": order_id, **values},
            changes={**values, "released_at": None},
        )

    async def readdress(self, order_id: UUID, email: str | None) -> None:
        """Count what an order redeemed, if it did, for the buyer with this canonical address."""
        await self.session.execute(
            update(DiscountRedemption)
            .where(DiscountRedemption.order_id == order_id)
            .values(customer_email_canonical=email)
            .execution_options(synchronize_session=False)
        )

    async def release(self, order_id: UUID, now: datetime) -> None:
        """Give back the code that an order redeemed, if it did."""
        discount_id = await self.session.scalar(
            update(DiscountRedemption)
            .where(DiscountRedemption.order_id == order_id, DiscountRedemption.released_at.is_(None))
            .values(released_at=now)
            .returning(DiscountRedemption.discount_id)
            .execution_options(synchronize_session=False)
        )
        if discount_id is not None:
            await self.session.execute(
                update(DiscountCode)
                .where(DiscountCode.id == discount_id)
                .values(redeemed=DiscountCode.redeemed - 1, updated_at=func.clock_timestamp())
                .execution_options(synchronize_session=False)
            )


class RedemptionRepository(Repository[DiscountRedemption]):
    """What orders redeemed."""

    model: ClassVar[type[DiscountRedemption]] = DiscountRedemption
