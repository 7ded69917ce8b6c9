"""Rounding, splitting and the bounds of amounts; nothing else in the service rounds or splits money."""

from collections.abc import Sequence

MAX_AMOUNT = 9_007_199_254_740_991
"""The largest amount in minor units: the largest integer that JavaScript holds exactly."""

WHOLE_BPS = 10_000
"""100 % in basis points."""


class AmountOutOfRange(ValueError):
    """An amount lies outside 0..MAX_AMOUNT."""


def half_up(numerator: int, denominator: int) -> int:
    """The quotient rounded to the nearest integer, 0.5 upwards (5, 2 gives 3).

    Raises ValueError for a negative numerator or a denominator below 1.
    """
    if numerator < 0 or denominator < 1:
        raise ValueError("half_up takes a numerator of at least 0 and a denominator of at least 1")
    return (2 * numerator + denominator) // (2 * denominator)


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` by `weights` with the largest-remainder method; the parts add up to `total` exactly.

    Ties go to the lower position. Weights that are all 0 get nothing. A part is never negative, and never
    above its weight when `total` is at most the sum of the weights. Raises ValueError for a negative total
    or weight.
    """
    if total < 0 or any(weight < 0 for weight in weights):
        raise ValueError("allocate takes a total and weights of at least 0")
    if not (whole := sum(weights)):
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def checked_amount(value: int) -> int:
    """The value itself, when it is an amount that may be stored.

    Raises TypeError for a float, a boolean or a Decimal (PostgreSQL's sum of bigints is one), and
    AmountOutOfRange.
    """
    if type(value) is not int:
        raise TypeError(f"an amount is an int, not {type(value).__name__}")
    if not 0 <= value <= MAX_AMOUNT:
        raise AmountOutOfRange("the amount is outside 0..9007199254740991")
    return value


def checked_rate(value: int) -> int:
    """The value itself, when it is a rate of 0..10000 basis points; raises ValueError."""
    if type(value) is not int or not 0 <= value <= WHOLE_BPS:
        raise ValueError("a rate is an int of 0..10000 basis points")
    return value
