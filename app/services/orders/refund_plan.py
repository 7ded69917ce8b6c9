"""What a refund of an order amounts to: its lines, its part of the shipping, and the tax in it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.money import (
    RefundGroup,
    RefundLine,
    TaxGroup,
    allocate,
    refund_groups_by_rate,
    refund_of_lines,
    refund_tax_groups,
)
from app.models.orders import Order, OrderItem

GIVEN_UP = frozenset({"failed", "canceled"})
"""Refunds that gave nothing back in the end."""


@dataclass(frozen=True, slots=True)
class LineRefund:
    """Units of one line that are given back, and what is given for them."""

    item_id: UUID
    units: int
    amount: int


@dataclass(frozen=True, slots=True)
class RefundPlan:
    """A refund before it is written; amounts in minor units of the order's currency."""

    amount: int
    lines: Sequence[LineRefund] = ()
    shipping_amount: int = 0
    tax_groups: Sequence[TaxGroup] = ()


class RefundBasis:
    """A locked order with what its refunds have given back so far, which decides what the next one is."""

    def __init__(self, order: Order, refunds: Iterable[Mapping[str, Any]]) -> None:
        live = _live(refunds)
        gross, tax = Counter[int](), Counter[int]()
        for group in (group for refund in live for group in refund["tax_groups"]):
            gross[group["rate_bps"]] += group["gross_amount"]
            tax[group["rate_bps"]] += group["tax_amount"]
        self.groups = [
            RefundGroup(
                group["rate_bps"],
                group["tax_amount"],
                group["gross_amount"],
                refunded_amount=gross[group["rate_bps"]],
                refunded_tax=tax[group["rate_bps"]],
            )
            for group in order.pricing.get("tax_groups", [])
        ]
        shipping = order.pricing.get("shipping")
        self.shipping_rate: int | None = None if shipping is None else shipping["tax_rate_bps"]
        self.shipping_left = shipping_left(order, live)

    def by_amount(self, amount: int) -> RefundPlan:
        """Money alone: it comes from the tax groups by what each has left."""
        return RefundPlan(amount, tax_groups=self._taxes(amount, {}))

    def by_parts(
        self, lines: Sequence[tuple[OrderItem, int]], shipping: int = 0, *, amount: int | None = None
    ) -> RefundPlan:
        """Units of lines and a part of the shipping, at what they cost or at another `amount` for all of it.

        A lower amount is allocated to the parts by what they cost; what a higher one has more belongs to no
        line. The units are not more than the lines have left.
        """
        parts = refund_of_lines(
            [
                RefundLine(
                    item.total_amount, item.quantity, item.refunded_quantity, units, item.refunded_amount
                )
                for item, units in lines
            ]
        )
        whole = sum(parts) + shipping
        if amount is not None and amount < whole:
            *parts, shipping = allocate(amount, [*parts, shipping])
        by_rate: Counter[int] = Counter()
        for (item, _), part in zip(lines, parts, strict=True):
            by_rate[item.tax_rate_bps] += part
        if self.shipping_rate is not None:
            by_rate[self.shipping_rate] += shipping
        total = whole if amount is None else amount
        refunded = [
            LineRefund(item.id, units, part) for (item, units), part in zip(lines, parts, strict=True)
        ]
        return RefundPlan(total, refunded, shipping, self._taxes(total, by_rate))

    def _taxes(self, amount: int, by_rate: Mapping[int, int]) -> list[TaxGroup]:
        """The tax groups of a refund: of the rates of its parts first, the rest by what groups have left.

        What is given back beyond the groups, of a payment that was too high, was never taxed.
        """
        left = [group.left for group in self.groups]
        if amount >= sum(left):
            return refund_tax_groups(self.groups, left)
        known = {group.rate_bps for group in self.groups}
        parts = refund_groups_by_rate(
            self.groups, {rate_bps: part for rate_bps, part in by_rate.items() if rate_bps in known}
        )
        room = [whole - part for whole, part in zip(left, parts, strict=True)]
        rest = allocate(amount - sum(parts), room)
        return refund_tax_groups(self.groups, [part + more for part, more in zip(parts, rest, strict=True)])


def shipping_left(order: Order, refunds: Iterable[Mapping[str, Any]]) -> int:
    """What of an order's shipping, tax included, its refunds have not given back."""
    whole = order.shipping_amount + (0 if order.prices_include_tax else order.shipping_tax_amount)
    refunded: int = sum(refund["shipping_amount"] for refund in _live(refunds))
    return max(whole - refunded, 0)


def _live(refunds: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [refund for refund in refunds if refund["status"] not in GIVEN_UP]
