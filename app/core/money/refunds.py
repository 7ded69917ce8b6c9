"""What a refund gives back: amounts of lines, parts of the tax groups, and the tax in each part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.core.money.priced import TaxGroup
from app.core.money.primitives import allocate, half_up


class RefundQuantityExceeded(ValueError):
    """More units of a line would be refunded than were bought; `index` is the line's place in the request."""

    def __init__(self, index: int) -> None:
        super().__init__(f"line {index}: more units than are left to refund")
        self.index = index


class RefundAmountExceeded(ValueError):
    """More money would be given back than the tax groups of the order have left."""


@dataclass(frozen=True, slots=True)
class RefundLine:
    """One line to refund: its total and quantity, the units refunded before, the `units` to refund now.

    `refunded_amount` is what was given back for the units before.
    """

    total_amount: int
    quantity: int
    refunded_quantity: int
    units: int
    refunded_amount: int = 0


@dataclass(frozen=True, slots=True)
class RefundGroup:
    """A tax group of the order with what its earlier refunds that did not fail took from it."""

    rate_bps: int
    tax_amount: int
    gross_amount: int
    refunded_amount: int = 0
    refunded_tax: int = 0

    @property
    def left(self) -> int:
        """The gross that is not refunded yet."""
        return max(self.gross_amount - self.refunded_amount, 0)


def refund_of_lines(lines: Sequence[RefundLine]) -> list[int]:
    """The amount of each line's refund.

    It is rounded cumulatively, so that single refunds of all units add up to the line's total. When an
    earlier refund was taken back, the others may have been rounded up: no line gives back more than it has
    left. A lower amount for all lines together is split by `allocate(amount, refund_of_lines(lines))`.
    Raises RefundQuantityExceeded for more units than are left, ValueError for units below 0.
    """
    amounts = []
    for index, line in enumerate(lines):
        if line.units < 0 or line.refunded_quantity < 0:
            raise ValueError("units to refund cannot be negative")
        after = line.refunded_quantity + line.units
        if after > line.quantity:
            raise RefundQuantityExceeded(index)
        before = half_up(line.total_amount * line.refunded_quantity, line.quantity)
        amount = half_up(line.total_amount * after, line.quantity) - before
        amounts.append(min(amount, line.total_amount - line.refunded_amount))
    return amounts


def refund_groups_by_amount(groups: Sequence[RefundGroup], amount: int) -> list[int]:
    """Split a refund given by its amount over the tax groups, by the gross that each has left.

    Raises RefundAmountExceeded when the groups together have less left than the amount.
    """
    left = [group.left for group in groups]
    if amount > sum(left):
        raise RefundAmountExceeded("the refund is above what the tax groups have left")
    return allocate(amount, left)


def refund_groups_by_rate(groups: Sequence[RefundGroup], amounts: Mapping[int, int]) -> list[int]:
    """Give each tax group the amount that lines and shipping of its rate get back; `amounts` is by rate_bps.

    A goodwill refund may have taken from a group before, so that it has less left than its lines now get
    back. The excess goes to the other groups by what they have left: a full refund then gives back each
    group's tax exactly. Raises ValueError for a rate without a group, RefundAmountExceeded when all groups
    together have less left.
    """
    if unknown := amounts.keys() - {group.rate_bps for group in groups}:
        raise ValueError(f"no tax group has the rates {sorted(unknown)}")
    wanted = [amounts.get(group.rate_bps, 0) for group in groups]
    parts = [min(amount, group.left) for amount, group in zip(wanted, groups, strict=True)]
    room = [group.left - part for group, part in zip(groups, parts, strict=True)]
    excess = sum(wanted) - sum(parts)
    if excess > sum(room):
        raise RefundAmountExceeded("the refund is above what the tax groups have left")
    return [part + more for part, more in zip(parts, allocate(excess, room), strict=True)]


def refund_tax_groups(groups: Sequence[RefundGroup], parts: Sequence[int]) -> list[TaxGroup]:
    """The tax groups of a refund from its part in each group of the order, without the groups of no part.

    The tax is that of all refunds so far less that of the earlier ones, within 0 and the part itself, so that
    a full refund gives back the group's tax exactly.
    """
    refunded = []
    for group, part in zip(groups, parts, strict=True):
        if part:
            so_far = half_up(group.tax_amount * (group.refunded_amount + part), group.gross_amount)
            tax = min(max(so_far - group.refunded_tax, 0), part)
            refunded.append(TaxGroup(group.rate_bps, part - tax, tax, part))
    return refunded
