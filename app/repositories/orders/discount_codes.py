"""Questions to discount codes as a list that staff keep; redeeming them is asked in `discounts`."""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Select, func, select, update

from app.models.orders import DiscountCode, DiscountRedemption
from app.repositories.base import Repository


class DiscountCodeRepository(Repository[DiscountCode]):
    """Discount codes of the organisation."""

    model: ClassVar[type[DiscountCode]] = DiscountCode

    def matching(self, *, q: str | None, is_active: bool | None) -> Select[tuple[DiscountCode]]:
        """The statement of a list: codes with `q` in them, switched on or off."""
        statement = self.select().select_from(DiscountCode)
        if q is not None:
            statement = statement.where(DiscountCode.code.contains(q.upper(), autoescape=True))
        if is_active is not None:
            statement = statement.where(DiscountCode.is_active.is_(is_active))
        return statement

    async def change(self, discount_id: UUID, values: Mapping[str, Any]) -> DiscountCode:
        """Change a code that the caller has locked, as its next version."""
        statement = (
            update(DiscountCode)
            .where(DiscountCode.id == discount_id)
            .values(**values, version=DiscountCode.version + 1, updated_at=func.clock_timestamp())
            .returning(DiscountCode)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        changed: DiscountCode = (await self.session.execute(statement)).scalar_one()
        return changed

    async def was_redeemed(self, discount_id: UUID) -> bool:
        """Whether an order ever used the code, even if it gave it back; the caller has locked the code."""
        used = select(DiscountRedemption.order_id).where(DiscountRedemption.discount_id == discount_id)
        return bool(await self.session.scalar(select(used.exists())))
