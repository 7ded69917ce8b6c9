"""What goes into pricing an order and what comes out of it, as immutable records."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from app.core.money.primitives import checked_amount, checked_rate

DiscountKind = Literal["percent", "fixed", "free_shipping"]


@dataclass(frozen=True, slots=True)
class OptionDelta:
    """What one personalisation option adds to a unit's price, in minor units; negative lowers it."""

    code: str
    delta: int


@dataclass(frozen=True, slots=True)
class PriceLine:
    """One line to price: `unit_price` is the product's price plus all option deltas.

    `base_price` and `option_deltas` only explain the unit price; they are carried into the result unchanged.
    Raises AmountOutOfRange, or ValueError for a quantity below 1 or a rate outside 0..10000.
    """

    unit_price: int
    quantity: int
    rate_bps: int
    base_price: int = 0
    option_deltas: tuple[OptionDelta, ...] = ()

    def __post_init__(self) -> None:
        checked_amount(self.unit_price)
        checked_amount(self.base_price)
        checked_rate(self.rate_bps)
        if type(self.quantity) is not int or self.quantity < 1:
            raise ValueError("a quantity is an int of at least 1")


@dataclass(frozen=True, slots=True)
class Discount:
    """A discount code: `value` is basis points (percent), minor units (fixed) or 0 (free_shipping)."""

    code: str
    kind: DiscountKind
    value: int

    def __post_init__(self) -> None:
        checked_amount(self.value)
        if self.kind not in {"percent", "fixed", "free_shipping"}:
            raise ValueError("a discount is percent, fixed or free_shipping")
        if self.kind == "percent":
            checked_rate(self.value)


@dataclass(frozen=True, slots=True)
class Shipping:
    """A shipping rate: it costs nothing when goods after discount reach `free_from` (None: never free)."""

    code: str
    amount: int
    rate_bps: int
    free_from: int | None = None

    def __post_init__(self) -> None:
        checked_amount(self.amount)
        checked_rate(self.rate_bps)
        if self.free_from is not None:
            checked_amount(self.free_from)


@dataclass(frozen=True, slots=True)
class PricedLine:
    """A line with its share of discount and tax; `total_amount` is what the buyer pays, tax included."""

    position: int
    base_price: int
    option_deltas: tuple[OptionDelta, ...]
    unit_price: int
    quantity: int
    goods_amount: int
    discount_amount: int
    tax_rate_bps: int
    tax_amount: int
    total_amount: int


@dataclass(frozen=True, slots=True)
class PricedDiscount:
    """The discount code with the amount it took off the goods."""

    code: str
    kind: DiscountKind
    value: int
    amount: int


@dataclass(frozen=True, slots=True)
class PricedShipping:
    """Shipping with its tax; `total_amount` is what the buyer pays for it, tax included."""

    code: str
    amount: int
    tax_rate_bps: int
    tax_amount: int
    total_amount: int


@dataclass(frozen=True, slots=True)
class TaxGroup:
    """Everything taxed at one rate, shipping included: three stored facts with net + tax = gross."""

    rate_bps: int
    net_amount: int
    tax_amount: int
    gross_amount: int


@dataclass(frozen=True, slots=True)
class Pricing:
    """The price of an order with everything that explains it; all amounts in minor units of `currency`."""

    version: int
    currency: str
    prices_include_tax: bool
    lines: tuple[PricedLine, ...]
    discount: PricedDiscount | None
    shipping: PricedShipping | None
    tax_groups: tuple[TaxGroup, ...]
    subtotal: int
    discount_amount: int
    shipping_amount: int
    shipping_tax_amount: int
    tax_amount: int
    total_amount: int

    def as_dict(self) -> dict[str, Any]:
        """The `pricing` object as it is stored and answered: dicts, lists and integers only."""
        return _plain_members(self)


def _plain_members(record: Any) -> dict[str, Any]:
    """A dataclass as a dict in the order of its fields, all the way down, with lists for tuples."""
    members = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, tuple):
            value = [_plain_members(item) for item in value]
        elif hasattr(value, "__dataclass_fields__"):
            value = _plain_members(value)
        members[field.name] = value
    return members
