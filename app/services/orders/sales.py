"""A basket at the price that it is sold for: the code redeemed, the total agreed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import Owner
from app.core.errors import Conflict, Invalid
from app.core.money import Pricing
from app.models.orders import DiscountCode, OrderSettings
from app.services.orders.basket import Basket
from app.services.orders.discounts import DiscountService, as_discount
from app.services.orders.lines import item_rows, price_columns
from app.services.products.holding import ReservedProduct


@dataclass(frozen=True, slots=True)
class Sale:
    """A basket with its price and the code that lowered it."""

    basket: Basket
    pricing: Pricing
    code: DiscountCode | None

    @property
    def is_free(self) -> bool:
        """Whether there is nothing to pay."""
        return self.pricing.total_amount == 0

    def items(self, order_id: UUID) -> list[dict[str, Any]]:
        """The rows of the order's lines."""
        return item_rows(order_id, self.basket, self.pricing)

    def columns(self) -> dict[str, Any]:
        """The columns of the order that the price decides."""
        return price_columns(self.basket, self.pricing)

    def redemption(self, order_id: UUID, email: str | None) -> dict[str, Any] | None:
        """The row of `discount_redemptions`, all columns but the owner; None without a code."""
        if self.code is None:
            return None
        return {
            "order_id": order_id,
            "discount_id": self.code.id,
            "customer_email_canonical": email,
            "amount": self.pricing.discount_amount,
        }


class SaleService:
    """Prices baskets, with the redemption of a code or without any effect."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.discounts = DiscountService(session, principal)

    async def sell(
        self,
        basket: Basket,
        reserved: Iterable[ReservedProduct],
        *,
        discount_code: str | None,
        email: str | None,
        expected_total: int | None = None,
    ) -> Sale:
        """Price a basket whose stock is held, and redeem its code.

        422 `discount_not_applicable`, `mixed_currencies`; 409 `price_changed`.
        """
        prices = {}
        for product in reserved:
            if product.currency != basket.currency:
                raise Invalid("mixed_currencies", "A product's currency was changed; read it again.")
            prices[product.product_id] = product.price
        pricing = basket.price(prices)
        code = None
        if discount_code is not None:
            code = await self.discounts.redeem(
                discount_code, subtotal=pricing.subtotal, currency=basket.currency, email=email
            )
            pricing = basket.price(prices, as_discount(code))
        refuse_changed(pricing, expected_total)
        return Sale(basket, pricing, code)

    async def estimate(self, basket: Basket, *, discount_code: str | None, email: str | None) -> Sale:
        """Price a basket as it would be sold now; nothing is redeemed. 422 `discount_not_applicable`."""
        pricing = basket.price({})
        if discount_code is None:
            return Sale(basket, pricing, None)
        code = await self.discounts.preview(
            discount_code, subtotal=pricing.subtotal, currency=basket.currency, email=email
        )
        return Sale(basket, basket.price({}, as_discount(code)), code)

    async def keep(self, sale: Sale, order_id: UUID, email: str | None) -> None:
        """Write down the redemption of an order that exists already."""
        if sale.code is not None:
            amount = sale.pricing.discount_amount
            await self.discounts.keep(order_id, sale.code, email=email, amount=amount)


def refuse_changed(pricing: Pricing, expected_total: int | None) -> None:
    """Raise 409 `price_changed` when the buyer was shown another total."""
    if expected_total is not None and expected_total != pricing.total_amount:
        raise Conflict(
            "price_changed",
            "The total is another one; show it to the buyer and repeat.",
            expected=expected_total,
            actual=pricing.total_amount,
        )


def held_until(settings: OrderSettings, payment_method: str, now: datetime) -> datetime | None:
    """How long stock is held for an order that is not paid yet."""
    if payment_method == "none":
        return None
    if payment_method == "manual":
        return now + timedelta(hours=settings.manual_hold_hours)
    grace = get_settings().order_expiry_grace_minutes
    return now + timedelta(minutes=settings.payment_window_minutes + grace)
