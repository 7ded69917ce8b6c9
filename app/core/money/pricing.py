"""Pricing an order: discount, shipping, tax per rate, and the share of each in every line.

Tax is computed once per rate on the whole document, as EN 16931 wants, and then given to the lines. Net, tax
and gross of a rate are three facts: nobody recomputes one of them from another to check it.
"""

from collections import defaultdict
from collections.abc import Sequence

from app.core.money.priced import (
    Discount,
    PricedDiscount,
    PricedLine,
    PricedShipping,
    PriceLine,
    Pricing,
    Shipping,
    TaxGroup,
)
from app.core.money.primitives import WHOLE_BPS, allocate, checked_amount, half_up

PRICING_VERSION = 1
"""Version of the stored `pricing` object."""


class PricingInconsistent(ArithmeticError):
    """A computed price breaks a rule that always holds; the code is wrong, not the caller."""


def price_order(
    lines: Sequence[PriceLine],
    *,
    currency: str,
    prices_include_tax: bool,
    discount: Discount | None = None,
    shipping: Shipping | None = None,
) -> Pricing:
    """Price an order: goods, discount, shipping, tax per rate, and the share of each in every line.

    Lines stand in position order. The discount never pays for shipping. The currency is only carried along;
    whether it is supported is the caller's question. Raises AmountOutOfRange when an amount leaves
    0..MAX_AMOUNT.
    """
    goods = [checked_amount(line.unit_price * line.quantity) for line in lines]
    subtotal = checked_amount(sum(goods))
    discount_amount = _discount_amount(discount, subtotal)
    shares = allocate(discount_amount, goods)
    shipping_amount = _shipping_amount(shipping, discount, subtotal - discount_amount)
    elements = [
        (line.rate_bps, amount - share) for line, amount, share in zip(lines, goods, shares, strict=True)
    ]
    if shipping is not None and shipping_amount:
        elements.append((shipping.rate_bps, shipping_amount))
    groups, taxes = _tax_elements(elements, prices_include_tax)
    priced_lines = tuple(
        _priced_line(position, line, shares[position], taxes[position], prices_include_tax)
        for position, line in enumerate(lines)
    )
    shipping_tax = sum(taxes[len(lines) :])
    priced_shipping = None
    if shipping is not None:
        shipping_total = shipping_amount if prices_include_tax else shipping_amount + shipping_tax
        priced_shipping = PricedShipping(
            shipping.code, shipping_amount, shipping.rate_bps, shipping_tax, shipping_total
        )
    tax_amount = sum(group.tax_amount for group in groups)
    total = subtotal - discount_amount + shipping_amount + (0 if prices_include_tax else tax_amount)
    pricing = Pricing(
        version=PRICING_VERSION,
        currency=currency,
        prices_include_tax=prices_include_tax,
        lines=priced_lines,
        discount=_priced_discount(discount, discount_amount),
        shipping=priced_shipping,
        tax_groups=groups,
        subtotal=subtotal,
        discount_amount=discount_amount,
        shipping_amount=shipping_amount,
        shipping_tax_amount=shipping_tax,
        tax_amount=tax_amount,
        total_amount=checked_amount(total),
    )
    verify_pricing(pricing)
    return pricing


def _priced_line(
    position: int, line: PriceLine, share: int, tax: int, prices_include_tax: bool
) -> PricedLine:
    goods = line.unit_price * line.quantity
    return PricedLine(
        position=position,
        base_price=line.base_price,
        option_deltas=line.option_deltas,
        unit_price=line.unit_price,
        quantity=line.quantity,
        goods_amount=goods,
        discount_amount=share,
        tax_rate_bps=line.rate_bps,
        tax_amount=tax,
        total_amount=goods - share if prices_include_tax else goods - share + tax,
    )


def _priced_discount(discount: Discount | None, amount: int) -> PricedDiscount | None:
    if discount is None:
        return None
    return PricedDiscount(discount.code, discount.kind, discount.value, amount)


def _discount_amount(discount: Discount | None, subtotal: int) -> int:
    if discount is None or discount.kind == "free_shipping":
        return 0
    if discount.kind == "percent":
        return half_up(subtotal * discount.value, WHOLE_BPS)
    return min(discount.value, subtotal)


def _shipping_amount(shipping: Shipping | None, discount: Discount | None, goods_after_discount: int) -> int:
    if shipping is None or (discount is not None and discount.kind == "free_shipping"):
        return 0
    if shipping.free_from is not None and goods_after_discount >= shipping.free_from:
        return 0
    return shipping.amount


def _tax_elements(
    elements: Sequence[tuple[int, int]], prices_include_tax: bool
) -> tuple[tuple[TaxGroup, ...], list[int]]:
    """The tax groups by ascending rate, and the tax of each element; an element is (rate_bps, amount)."""
    members: dict[int, list[int]] = defaultdict(list)
    for index, (rate_bps, _) in enumerate(elements):
        members[rate_bps].append(index)
    groups = []
    taxes = [0] * len(elements)
    for rate_bps, indexes in sorted(members.items()):
        amounts = [elements[index][1] for index in indexes]
        base = sum(amounts)
        if prices_include_tax:
            net = half_up(base * WHOLE_BPS, WHOLE_BPS + rate_bps)
            tax = base - net
        else:
            net = base
            tax = half_up(base * rate_bps, WHOLE_BPS)
        groups.append(TaxGroup(rate_bps, net, tax, net + tax))
        for index, share in zip(indexes, allocate(tax, amounts), strict=True):
            taxes[index] = share
    return tuple(groups), taxes


def verify_pricing(pricing: Pricing) -> None:
    """Raise PricingInconsistent unless every rule that must hold after pricing does hold."""
    elements = [(line.tax_amount, line.total_amount) for line in pricing.lines]
    if pricing.shipping is not None:
        elements.append((pricing.shipping.tax_amount, pricing.shipping.total_amount))
    code = pricing.discount
    full_code = code is not None and code.kind == "percent" and code.value == WHOLE_BPS
    line_discounts = sum(line.discount_amount for line in pricing.lines)
    group_gross = sum(group.gross_amount for group in pricing.tax_groups)
    rules = {
        "the line discounts add up": line_discounts == pricing.discount_amount,
        "the element taxes add up": sum(tax for tax, _ in elements) == pricing.tax_amount,
        "the element totals add up": sum(total for _, total in elements) == pricing.total_amount,
        "the group gross amounts add up": group_gross == pricing.total_amount,
        "a tax lies within its total": all(0 <= tax <= total for tax, total in elements),
        "the total is not negative": pricing.total_amount >= 0,
        "a 100 % code leaves no goods to pay": not full_code or pricing.discount_amount == pricing.subtotal,
    }
    for rule, holds in rules.items():
        if not holds:
            raise PricingInconsistent(rule)
