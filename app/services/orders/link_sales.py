"""What a session of a payment link sold, and at which amounts: as Stripe says, never computed anew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.currencies import is_supported
from app.core.money import (
    PRICING_VERSION,
    WHOLE_BPS,
    PricedDiscount,
    PricedLine,
    PricedShipping,
    Pricing,
    TaxGroup,
    half_up,
)
from app.services.stripe_webhooks.effects import EventDead

PRODUCT_KEY = "luneo_product_id"
"""The metadata of a product at Stripe that names ours."""

MOST_PIECES = 100_000
"""So many pieces at most are in one line of an order."""

LONGEST_NAME = 200
CODE = "payment_link"
"""Stands for the code, or the way of shipping, that the payment page took into account."""


@dataclass(frozen=True, slots=True)
class SoldLine:
    """One line of the page: what it is called, which product of ours it names, and its amounts."""

    name: str
    product_id: UUID | None
    price: PricedLine


@dataclass(frozen=True, slots=True)
class LinkSale:
    """A whole session; amounts in minor units of the pricing's currency."""

    lines: Sequence[SoldLine]
    pricing: Pricing

    @property
    def product_ids(self) -> set[UUID]:
        """The products that lines name, which need not be the organisation's."""
        return {line.product_id for line in self.lines if line.product_id is not None}


@dataclass(frozen=True, slots=True)
class _Amounts:
    """A line, or the shipping, as Stripe says it: before discount and tax, what came off, what was added."""

    subtotal: int
    discount: int
    tax: int
    total: int
    rate_bps: int

    def as_gross(self) -> "_Amounts":
        """The same as if its price had held its tax from the start."""
        return _Amounts(self.total + self.discount, self.discount, self.tax, self.total, self.rate_bps)

    @property
    def added(self) -> int:
        """The tax that came on top of the price."""
        return self.total - self.subtotal + self.discount


def read_sale(found: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> LinkSale:
    """The sale of a session with its lines, whose products and taxes are expanded.

    `prices_include_tax` is false when Stripe added the tax; where it did so for some lines only, all lines
    are taken with their tax. EventDead for what no order can say: `currency_not_supported`,
    `amounts_inconsistent`, `quantity_out_of_range`.
    """
    currency = str(found["currency"]).upper()
    if not is_supported(currency):
        raise EventDead("currency_not_supported", currency)
    items = [item for item in items if item.get("quantity") != 0]
    quantities = [int(item.get("quantity") or 1) for item in items]
    if not items or max(quantities) > MOST_PIECES:
        raise EventDead("quantity_out_of_range", str(found["id"]))
    amounts = [_of_line(item) for item in items]
    shipping = _of_shipping(found, [line.rate_bps for line in amounts])
    parts = [*amounts, *([shipping] if shipping else [])]
    is_included = all(part.added == 0 for part in parts)
    if not is_included and any(part.added != part.tax for part in parts):
        is_included = True
        amounts = [line.as_gross() for line in amounts]
        shipping = shipping.as_gross() if shipping else None
    lines = [
        SoldLine(_name(item), _product_id(item), _priced(position, quantity, line))
        for position, (item, quantity, line) in enumerate(zip(items, quantities, amounts, strict=True))
    ]
    pricing = _pricing(currency, [line.price for line in lines], shipping, is_included=is_included)
    if pricing.total_amount != found["amount_total"]:
        raise EventDead("amounts_inconsistent", str(found["id"]))
    return LinkSale(lines, pricing)


def _of_line(item: Mapping[str, Any]) -> _Amounts:
    tax, total = int(item["amount_tax"]), int(item["amount_total"])
    rates = [entry["rate"]["percentage"] for entry in item.get("taxes") or []]
    rate_bps = min(round(sum(rates) * 100), WHOLE_BPS) if rates else _rate_of(tax, total - tax, [])
    return _Amounts(int(item["amount_subtotal"]), int(item["amount_discount"]), tax, total, rate_bps)


def _of_shipping(found: Mapping[str, Any], known: Sequence[int]) -> _Amounts | None:
    cost = found.get("shipping_cost")
    if not cost:
        return None
    tax, total = int(cost["amount_tax"]), int(cost["amount_total"])
    return _Amounts(int(cost["amount_subtotal"]), 0, tax, total, _rate_of(tax, total - tax, known))


def _rate_of(tax: int, net: int, known: Sequence[int]) -> int:
    """The known rate in basis points that gives this tax, else the one that comes nearest to it."""
    if not tax or net <= 0:
        return 0
    fitting = (rate for rate in known if half_up(net * rate, WHOLE_BPS) == tax)
    return next(fitting, min(half_up(tax * WHOLE_BPS, net), WHOLE_BPS))


def _name(item: Mapping[str, Any]) -> str:
    product = _product(item)
    return str(item.get("description") or product.get("name") or "?")[:LONGEST_NAME]


def _product(item: Mapping[str, Any]) -> Mapping[str, Any]:
    found = (item.get("price") or {}).get("product")
    return found if isinstance(found, dict) else {}


def _product_id(item: Mapping[str, Any]) -> UUID | None:
    named = (_product(item).get("metadata") or {}).get(PRODUCT_KEY)
    try:
        return UUID(str(named))
    except ValueError:
        return None


def _priced(position: int, quantity: int, line: _Amounts) -> PricedLine:
    # A price at Stripe may have fractions of a unit: the next whole one is taken, and the rest comes off.
    unit_price = -(-line.subtotal // quantity)
    goods = unit_price * quantity
    return PricedLine(
        position=position,
        base_price=unit_price,
        option_deltas=(),
        unit_price=unit_price,
        quantity=quantity,
        goods_amount=goods,
        discount_amount=line.discount + goods - line.subtotal,
        tax_rate_bps=line.rate_bps,
        tax_amount=line.tax,
        total_amount=line.total,
    )


def _pricing(
    currency: str, lines: Sequence[PricedLine], shipping: _Amounts | None, *, is_included: bool
) -> Pricing:
    discount = sum(line.discount_amount for line in lines)
    elements: list[PricedLine | PricedShipping] = [*lines]
    shipped = None
    if shipping is not None:
        shipped = PricedShipping(CODE, shipping.subtotal, shipping.rate_bps, shipping.tax, shipping.total)
        elements.append(shipped)
    return Pricing(
        version=PRICING_VERSION,
        currency=currency,
        prices_include_tax=is_included,
        lines=tuple(lines),
        discount=PricedDiscount(CODE, "fixed", discount, discount) if discount else None,
        shipping=shipped,
        tax_groups=_groups(elements),
        subtotal=sum(line.goods_amount for line in lines),
        discount_amount=discount,
        shipping_amount=shipped.amount if shipped else 0,
        shipping_tax_amount=shipped.tax_amount if shipped else 0,
        tax_amount=sum(element.tax_amount for element in elements),
        total_amount=sum(element.total_amount for element in elements),
    )


def _groups(elements: Sequence[PricedLine | PricedShipping]) -> tuple[TaxGroup, ...]:
    """What each rate comes to, by ascending rate."""
    groups = []
    for rate_bps in sorted({element.tax_rate_bps for element in elements}):
        members = [element for element in elements if element.tax_rate_bps == rate_bps]
        tax = sum(member.tax_amount for member in members)
        gross = sum(member.total_amount for member in members)
        groups.append(TaxGroup(rate_bps, gross - tax, tax, gross))
    return tuple(groups)
