"""The steps by which an order was priced, told from its pricing object, and the same order priced again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.money.priced import Discount, OptionDelta, PriceLine, Pricing, Shipping
from app.core.money.pricing import price_order

DISCOUNT_FORMULAS = {
    None: "no code: 0",
    "percent": "half_up(subtotal * value, 10000)",
    "fixed": "min(value, subtotal)",
    "free_shipping": "0, and shipping costs nothing",
}

GROUP_FORMULAS = {
    True: "gross = amount; net = half_up(amount * 10000, 10000 + rate_bps); tax = gross - net",
    False: "net = amount; tax = half_up(amount * rate_bps, 10000); gross = net + tax",
}


@dataclass(frozen=True, slots=True)
class PricingStep:
    """One step: its name, its rule, what went in and what came out, in minor units."""

    step: str
    formula: str
    inputs: Mapping[str, Any]
    result: Mapping[str, Any]


def price_again(stored: Mapping[str, Any]) -> Pricing:
    """Price an order from the inputs in its pricing object.

    The shipping amount stored is the one after `free_from` and a code for free shipping. Raises ValueError,
    TypeError, LookupError or ArithmeticError when the object holds no order that could be priced.
    """
    code, shipping = stored["discount"], stored["shipping"]
    return price_order(
        [_line(line) for line in stored["lines"]],
        currency=stored["currency"],
        prices_include_tax=stored["prices_include_tax"],
        discount=None if code is None else Discount(code["code"], code["kind"], code["value"]),
        shipping=None
        if shipping is None
        else Shipping(shipping["code"], shipping["amount"], shipping["tax_rate_bps"]),
    )


def pricing_steps(pricing: Mapping[str, Any]) -> list[PricingStep]:
    """The steps of the page on money, section 5, with the figures of this pricing object.

    Nothing is computed but the amount that each element and each tax group starts from, so that figures
    which do not follow from each other stay visible.
    """
    return [*_goods_steps(pricing), *_tax_steps(pricing), _total_step(pricing)]


def _goods_steps(pricing: Mapping[str, Any]) -> list[PricingStep]:
    lines, code, subtotal = pricing["lines"], pricing["discount"], pricing["subtotal"]
    discount, goods = pricing["discount_amount"], _column(lines, "goods_amount")
    return [
        PricingStep(
            "goods",
            "goods_amount = unit_price * quantity; subtotal = sum",
            {"unit_prices": _column(lines, "unit_price"), "quantities": _column(lines, "quantity")},
            {"goods_amounts": goods, "subtotal": subtotal},
        ),
        PricingStep(
            "discount",
            DISCOUNT_FORMULAS[code["kind"] if code else None],
            {"subtotal": subtotal, "value": code["value"] if code else 0},
            {"discount_amount": discount},
        ),
        PricingStep(
            "line_discounts",
            "allocate(discount_amount, goods_amounts)",
            {"discount_amount": discount, "goods_amounts": goods},
            {"discount_amounts": _column(lines, "discount_amount")},
        ),
    ]


def _tax_steps(pricing: Mapping[str, Any]) -> list[PricingStep]:
    lines, included = pricing["lines"], bool(pricing["prices_include_tax"])
    elements = [(line["tax_rate_bps"], line["goods_amount"] - line["discount_amount"]) for line in lines]
    if pricing["shipping_amount"]:
        elements.append(((pricing["shipping"] or {}).get("tax_rate_bps"), pricing["shipping_amount"]))
    amounts = [{"rate_bps": rate_bps, "amount": amount} for rate_bps, amount in elements]
    return [
        PricingStep(
            "tax_groups",
            GROUP_FORMULAS[included],
            {"groups": _by_rate(elements)},
            {"tax_groups": list(pricing["tax_groups"])},
        ),
        PricingStep(
            "taxes",
            "allocate(tax of the group, amounts of its elements)",
            {"elements": amounts},
            {
                "tax_amounts": _column(lines, "tax_amount"),
                "shipping_tax_amount": pricing["shipping_tax_amount"],
            },
        ),
        PricingStep(
            "line_totals",
            "amount" if included else "amount + tax",
            {"elements": amounts},
            {"total_amounts": _column(lines, "total_amount")},
        ),
    ]


def _total_step(pricing: Mapping[str, Any]) -> PricingStep:
    formula = "subtotal - discount_amount + shipping_amount"
    if not pricing["prices_include_tax"]:
        formula += " + tax_amount"
    names = ("subtotal", "discount_amount", "shipping_amount", "tax_amount")
    inputs = {name: pricing[name] for name in names}
    return PricingStep("total", formula, inputs, {"total_amount": pricing["total_amount"]})


def _line(line: Mapping[str, Any]) -> PriceLine:
    return PriceLine(
        line["unit_price"],
        line["quantity"],
        line["tax_rate_bps"],
        line["base_price"],
        tuple(OptionDelta(delta["code"], delta["delta"]) for delta in line["option_deltas"]),
    )


def _column(lines: list[Mapping[str, Any]], name: str) -> list[Any]:
    return [line[name] for line in lines]


def _by_rate(elements: list[tuple[Any, int]]) -> list[dict[str, Any]]:
    """The sum of the elements of each rate, in the order of the tax groups."""
    sums: dict[Any, int] = {}
    for rate_bps, amount in elements:
        sums[rate_bps] = sums.get(rate_bps, 0) + amount
    ordered = sorted(sums, key=lambda rate_bps: (rate_bps is None, rate_bps))
    return [{"rate_bps": rate_bps, "amount": sums[rate_bps]} for rate_bps in ordered]
