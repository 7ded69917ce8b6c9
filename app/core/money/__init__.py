"""The arithmetic of prices, discounts, taxes and refunds: pure functions on integers of minor units."""

from app.core.money.priced import (
    Discount,
    DiscountKind,
    OptionDelta,
    PricedDiscount,
    PricedLine,
    PricedShipping,
    PriceLine,
    Pricing,
    Shipping,
    TaxGroup,
)
from app.core.money.pricing import PRICING_VERSION, PricingInconsistent, price_order, verify_pricing
from app.core.money.primitives import MAX_AMOUNT, WHOLE_BPS, AmountOutOfRange, allocate, half_up
from app.core.money.refunds import (
    RefundAmountExceeded,
    RefundGroup,
    RefundLine,
    RefundQuantityExceeded,
    refund_groups_by_amount,
    refund_groups_by_rate,
    refund_of_lines,
    refund_tax_groups,
)
from app.core.money.steps import PricingStep, price_again, pricing_steps

__all__ = [
    "MAX_AMOUNT",
    "PRICING_VERSION",
    "WHOLE_BPS",
    "AmountOutOfRange",
    "Discount",
    "DiscountKind",
    "OptionDelta",
    "PriceLine",
    "PricedDiscount",
    "PricedLine",
    "PricedShipping",
    "Pricing",
    "PricingInconsistent",
    "PricingStep",
    "RefundAmountExceeded",
    "RefundGroup",
    "RefundLine",
    "RefundQuantityExceeded",
    "Shipping",
    "TaxGroup",
    "allocate",
    "half_up",
    "price_again",
    "price_order",
    "pricing_steps",
    "refund_groups_by_amount",
    "refund_groups_by_rate",
    "refund_of_lines",
    "refund_tax_groups",
    "verify_pricing",
]
