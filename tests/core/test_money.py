"""The arithmetic of money: the worked examples to the last unit, and its rules against exact fractions."""

import random
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.currencies import CURRENCIES, is_supported
from app.core.money import (
    MAX_AMOUNT,
    AmountOutOfRange,
    Discount,
    OptionDelta,
    PricedShipping,
    PriceLine,
    Pricing,
    PricingInconsistent,
    RefundAmountExceeded,
    RefundGroup,
    RefundLine,
    RefundQuantityExceeded,
    Shipping,
    TaxGroup,
    allocate,
    half_up,
    price_order,
    refund_groups_by_amount,
    refund_groups_by_rate,
    refund_of_lines,
    refund_tax_groups,
    verify_pricing,
)

HOME = Shipping("home", 590, 2000)


def price(*lines: tuple[int, int, int], included: bool = True, **more: Any) -> Pricing:
    """Price lines of (quantity, unit price, rate) in euros."""
    rows = [PriceLine(unit, quantity, rate) for quantity, unit, rate in lines]
    return price_order(rows, currency="EUR", prices_include_tax=included, **more)


def two_rates() -> Pricing:
    """The second worked example: two rates, a fixed code and shipping, tax included."""
    return price(
        (1, 12345, 2000),
        (3, 2990, 550),
        (2, 999, 2000),
        discount=Discount("TEN", "fixed", 1000),
        shipping=HOME,
    )


def column(pricing: Pricing, name: str) -> list[int]:
    return [getattr(line, name) for line in pricing.lines]


def refund_groups(pricing: Pricing) -> list[RefundGroup]:
    return [RefundGroup(g.rate_bps, g.tax_amount, g.gross_amount) for g in pricing.tax_groups]


def after(groups: list[RefundGroup], refunded: list[TaxGroup]) -> list[RefundGroup]:
    """The groups once a refund has been taken from them."""
    taken = {part.rate_bps: part for part in refunded}
    return [
        RefundGroup(
            g.rate_bps,
            g.tax_amount,
            g.gross_amount,
            g.refunded_amount + (taken[g.rate_bps].gross_amount if g.rate_bps in taken else 0),
            g.refunded_tax + (taken[g.rate_bps].tax_amount if g.rate_bps in taken else 0),
        )
        for g in groups
    ]


# The worked examples


def test_percent_code_when_one_rate_is_included():
    pricing = price((10, 2390, 2000), discount=Discount("QUARTER", "percent", 2500))
    assert (pricing.subtotal, pricing.discount_amount, pricing.total_amount) == (23900, 5975, 17925)
    assert pricing.tax_groups == (TaxGroup(2000, 14938, 2987, 17925),)


def test_single_refunds_add_up_to_the_line_when_all_units_come_back():
    refunds = [refund_of_lines([RefundLine(17925, 10, done, 1)])[0] for done in range(10)]
    assert refunds == [1793, 1792] * 5
    assert sum(refunds) == 17925


def test_refund_is_refused_when_no_unit_is_left():
    lines = [RefundLine(100, 1, 0, 1), RefundLine(17925, 10, 10, 1)]
    with pytest.raises(RefundQuantityExceeded) as refusal:
        refund_of_lines(lines)
    assert refusal.value.index == 1


def test_fixed_code_when_two_rates_and_shipping_are_included():
    pricing = two_rates()
    assert column(pricing, "goods_amount") == [12345, 8970, 1998]
    assert column(pricing, "discount_amount") == [529, 385, 86]
    assert column(pricing, "tax_amount") == [1969, 448, 319]
    assert column(pricing, "total_amount") == [11816, 8585, 1912]
    assert (pricing.subtotal, pricing.tax_amount, pricing.total_amount) == (23313, 2834, 22903)
    assert pricing.tax_groups == (TaxGroup(550, 8137, 448, 8585), TaxGroup(2000, 11932, 2386, 14318))


def test_refund_of_a_line_unit_by_unit_gives_back_the_tax_of_its_group():
    groups = refund_groups(two_rates())
    amounts, taxes = [], []
    for done in range(3):
        [amount] = refund_of_lines([RefundLine(8585, 3, done, 1)])
        [part] = refund_tax_groups(groups, refund_groups_by_rate(groups, {550: amount}))
        amounts.append(part.gross_amount)
        taxes.append(part.tax_amount)
        groups = after(groups, [part])
    assert (amounts, taxes) == ([2862, 2861, 2862], [149, 150, 149])


def test_goodwill_refund_is_split_by_gross_when_nothing_was_refunded():
    groups = refund_groups(two_rates())
    parts = refund_groups_by_amount(groups, 1000)
    assert parts == [375, 625]
    assert refund_tax_groups(groups, parts) == [TaxGroup(550, 355, 20, 375), TaxGroup(2000, 521, 104, 625)]


def test_percent_code_when_prices_exclude_tax():
    pricing = price(
        (1, 10000, 2000),
        (3, 3333, 1000),
        included=False,
        discount=Discount("EIGHTH", "percent", 1250),
        shipping=Shipping("home", 990, 2000),
    )
    assert (pricing.subtotal, pricing.discount_amount) == (19999, 2500)
    assert column(pricing, "discount_amount") == [1250, 1250]
    assert pricing.tax_groups == (TaxGroup(1000, 8749, 875, 9624), TaxGroup(2000, 9740, 1948, 11688))
    assert column(pricing, "tax_amount") == [1750, 875]
    assert column(pricing, "total_amount") == [10500, 9624]
    assert pricing.shipping is not None
    assert (pricing.shipping_tax_amount, pricing.shipping.total_amount) == (198, 1188)
    assert (pricing.tax_amount, pricing.total_amount) == (2823, 21312)


def test_total_is_nothing_when_the_code_takes_everything():
    pricing = price((1, 39900, 1900), discount=Discount("ALL", "percent", 10000))
    assert (pricing.discount_amount, pricing.tax_amount, pricing.total_amount) == (39900, 0, 0)


def test_code_never_pays_for_shipping_when_larger_than_the_goods():
    pricing = price(
        (1, 1500, 2000), discount=Discount("BIG", "fixed", 5000), shipping=Shipping("home", 490, 2000)
    )
    assert (pricing.discount_amount, pricing.total_amount) == (1500, 490)
    assert (pricing.tax_amount, pricing.shipping_tax_amount) == (82, 82)


def test_ties_go_to_the_lower_position():
    pricing = price(*[(1, 1000, 2000)] * 3, discount=Discount("TIE", "fixed", 100))
    assert column(pricing, "discount_amount") == [34, 33, 33]
    assert column(pricing, "total_amount") == [966, 967, 967]
    assert column(pricing, "tax_amount") == [161, 161, 161]
    assert pricing.tax_groups == (TaxGroup(2000, 2417, 483, 2900),)


def test_shipping_is_charged_when_goods_after_discount_miss_free_from():
    shipping = Shipping("home", 590, 2000, free_from=5000)
    charged = price((1, 6000, 2000), discount=Discount("OFF", "fixed", 1500), shipping=shipping)
    assert (charged.shipping_amount, charged.total_amount) == (590, 5090)
    assert price((1, 5000, 2000), shipping=shipping).shipping_amount == 0
    assert price((1, 4999, 2000), shipping=shipping).shipping_amount == 590


def test_shipping_is_free_when_the_code_says_so():
    pricing = price((1, 6000, 2000), discount=Discount("SHIP", "free_shipping", 0), shipping=HOME)
    assert (pricing.discount_amount, pricing.shipping_amount, pricing.total_amount) == (0, 0, 6000)
    assert pricing.as_dict()["shipping"] == {
        "code": "home",
        "amount": 0,
        "tax_rate_bps": 2000,
        "tax_amount": 0,
        "total_amount": 0,
    }


def test_exponent_is_no_matter_when_pricing():
    pricing = price_order([PriceLine(500, 3, 1000)], currency="JPY", prices_include_tax=True)
    assert pricing.tax_groups == (TaxGroup(1000, 1364, 136, 1500),)
    kuwaiti = price_order([PriceLine(1234, 1, 0)], currency="KWD", prices_include_tax=True)
    assert (kuwaiti.total_amount, kuwaiti.tax_amount) == (1234, 0)


# The stored object


def test_pricing_object_has_the_documented_members_in_their_order():
    stored = two_rates().as_dict()
    assert list(stored) == [
        "version",
        "currency",
        "prices_include_tax",
        "lines",
        "discount",
        "shipping",
        "tax_groups",
        "subtotal",
        "discount_amount",
        "shipping_amount",
        "shipping_tax_amount",
        "tax_amount",
        "total_amount",
    ]
    assert list(stored["lines"][0].items()) == [
        ("position", 0),
        ("base_price", 0),
        ("option_deltas", []),
        ("unit_price", 12345),
        ("quantity", 1),
        ("goods_amount", 12345),
        ("discount_amount", 529),
        ("tax_rate_bps", 2000),
        ("tax_amount", 1969),
        ("total_amount", 11816),
    ]
    assert stored["discount"] == {"code": "TEN", "kind": "fixed", "value": 1000, "amount": 1000}
    assert stored["shipping"] == {
        "code": "home",
        "amount": 590,
        "tax_rate_bps": 2000,
        "tax_amount": 98,
        "total_amount": 590,
    }
    assert stored["tax_groups"][0] == {
        "rate_bps": 550,
        "net_amount": 8137,
        "tax_amount": 448,
        "gross_amount": 8585,
    }
    assert stored["version"] == 1


def test_option_deltas_are_carried_into_the_stored_line():
    line = PriceLine(1500, 1, 0, base_price=1000, option_deltas=(OptionDelta("engraving", 500),))
    stored = price_order([line], currency="EUR", prices_include_tax=True).as_dict()["lines"][0]
    assert (stored["base_price"], stored["option_deltas"]) == (1000, [{"code": "engraving", "delta": 500}])
    assert price((1, 1, 0)).as_dict()["discount"] is None


# Refusals


def test_amounts_above_the_bound_are_refused_wherever_they_arise():
    assert price((1, MAX_AMOUNT, 0)).total_amount == MAX_AMOUNT
    with pytest.raises(AmountOutOfRange):
        PriceLine(MAX_AMOUNT + 1, 1, 0)
    with pytest.raises(AmountOutOfRange):
        price((2, MAX_AMOUNT // 2 + 1, 0))
    with pytest.raises(AmountOutOfRange):
        price((1, MAX_AMOUNT, 0), (1, 1, 0))
    with pytest.raises(AmountOutOfRange):
        price((1, MAX_AMOUNT, 1), included=False)
    with pytest.raises(AmountOutOfRange):
        price((1, MAX_AMOUNT, 0), shipping=HOME)


def test_negative_amounts_are_out_of_range():
    with pytest.raises(AmountOutOfRange):
        PriceLine(-1, 1, 0)
    with pytest.raises(AmountOutOfRange):
        Discount("X", "fixed", -1)


@pytest.mark.parametrize("value", [12.0, Decimal(12), True, "12"])
def test_amounts_of_another_type_are_refused(value):
    with pytest.raises(TypeError):
        PriceLine(value, 1, 0)


def test_quantities_and_rates_out_of_bounds_are_refused():
    for line in [(0, 1, 0), (-1, 1, 0), (1, 1, -1), (1, 1, 10001)]:
        with pytest.raises(ValueError, match=r"at least 1|basis points"):
            price(line)
    with pytest.raises(ValueError, match="basis points"):
        Discount("X", "percent", 10001)


def test_primitives_refuse_what_they_cannot_round_or_split():
    for numerator, denominator in [(-1, 2), (1, 0)]:
        with pytest.raises(ValueError, match="half_up"):
            half_up(numerator, denominator)
    for total, weights in [(-1, [1]), (1, [2, -1])]:
        with pytest.raises(ValueError, match="allocate"):
            allocate(total, weights)


def test_refund_is_refused_when_the_groups_have_less_left():
    groups = [RefundGroup(550, 448, 8585, 8585, 448), RefundGroup(2000, 2386, 14318, 14000, 2333)]
    assert refund_groups_by_amount(groups, 318) == [0, 318]
    with pytest.raises(RefundAmountExceeded):
        refund_groups_by_amount(groups, 319)
    with pytest.raises(RefundAmountExceeded):
        refund_groups_by_rate(groups, {550: 319})
    with pytest.raises(ValueError, match="1000"):
        refund_groups_by_rate(groups, {1000: 1})


def test_refund_of_a_line_moves_on_when_goodwill_took_from_its_group():
    groups = refund_groups(two_rates())
    groups = after(groups, refund_tax_groups(groups, refund_groups_by_amount(groups, 1000)))
    parts = refund_groups_by_rate(groups, {550: 8585})
    assert parts == [8210, 375]
    groups = after(groups, refund_tax_groups(groups, parts))
    groups = after(groups, refund_tax_groups(groups, refund_groups_by_amount(groups, 22903 - 1000 - 8585)))
    assert [group.refunded_tax for group in groups] == [448, 2386]
    assert [group.left for group in groups] == [0, 0]


def test_tax_of_a_refund_stays_within_the_part_when_earlier_tax_was_off():
    group = RefundGroup(2000, 1667, 10000, 5000, 900)
    assert refund_tax_groups([group], [100]) == [TaxGroup(2000, 100, 0, 100)]
    group = RefundGroup(2000, 1667, 10000, 5000, 0)
    assert refund_tax_groups([group], [100]) == [TaxGroup(2000, 0, 100, 100)]
    assert refund_tax_groups([group], [0]) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"discount_amount": 999}, "line discounts"),
        ({"tax_amount": 2835}, "element taxes"),
        ({"total_amount": 22902}, "element totals"),
        ({"tax_groups": ()}, "group gross"),
        ({"shipping": PricedShipping("home", 590, 2000, 591, 590)}, "element taxes"),
    ],
)
def test_pricing_is_refused_when_a_sum_does_not_hold(changes, rule):
    pricing = two_rates()
    verify_pricing(pricing)
    with pytest.raises(PricingInconsistent, match=rule):
        verify_pricing(replace(pricing, **changes))


# Rules that hold for every input, against exact fractions

AMOUNTS = st.integers(0, 10**7) | st.integers(0, 20)
RATES = st.sampled_from([0, 1, 210, 550, 700, 1000, 1900, 2000, 2300, 9999, 10000])
LINES = st.lists(st.tuples(st.integers(1, 50), AMOUNTS, RATES), max_size=6)
DISCOUNTS = st.none() | st.one_of(
    st.builds(Discount, st.just("C"), st.just("percent"), st.integers(1, 10000)),
    st.builds(Discount, st.just("C"), st.just("fixed"), st.integers(1, 10**7)),
    st.just(Discount("C", "free_shipping", 0)),
)
SHIPPINGS = st.none() | st.builds(Shipping, st.just("s"), AMOUNTS, RATES, st.none() | AMOUNTS)


def exact_half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**20), st.integers(1, 10**12))
def test_half_up_is_the_nearest_integer(numerator, denominator):
    assert half_up(numerator, denominator) == exact_half_up(Fraction(numerator, denominator))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), max_size=8))
def test_allocate_is_exact_and_never_a_unit_away_from_the_share(total, weights):
    parts = allocate(total, weights)
    whole = sum(weights)
    assert sum(parts) == (total if whole else 0)
    for part, weight in zip(parts, weights, strict=True):
        assert not whole or abs(part - Fraction(total * weight, whole)) < 1
        assert part >= 0
        assert total > whole or part <= weight


@settings(max_examples=200, deadline=None)
@given(LINES, DISCOUNTS, SHIPPINGS, st.booleans())
def test_pricing_agrees_with_exact_fractions(lines, discount, shipping, included):
    pricing = price(*lines, included=included, discount=discount, shipping=shipping)
    subtotal = sum(quantity * unit for quantity, unit, _ in lines)
    off = 0
    if discount is not None and discount.kind == "percent":
        off = exact_half_up(Fraction(subtotal * discount.value, 10000))
    elif discount is not None and discount.kind == "fixed":
        off = min(subtotal, discount.value)
    assert (pricing.subtotal, pricing.discount_amount) == (subtotal, off)
    assert sum(column(pricing, "discount_amount")) == off
    elements = [(line.tax_rate_bps, line.goods_amount - line.discount_amount) for line in pricing.lines]
    if shipping is not None:
        elements.append((shipping.rate_bps, pricing.shipping_amount))
    for group in pricing.tax_groups:
        base = sum(amount for rate, amount in elements if rate == group.rate_bps)
        rate = Fraction(group.rate_bps, 10000)
        net = exact_half_up(base / (1 + rate)) if included else base
        tax = base - net if included else exact_half_up(base * rate)
        assert (group.net_amount, group.tax_amount, group.gross_amount) == (net, tax, net + tax)
    rates = [group.rate_bps for group in pricing.tax_groups]
    assert rates == sorted({rate for rate, amount in elements[: len(lines)]} | {r for r, a in elements if a})
    gross = sum(group.gross_amount for group in pricing.tax_groups)
    assert pricing.total_amount == gross >= 0
    assert sum(column(pricing, "tax_amount")) + pricing.shipping_tax_amount == pricing.tax_amount
    assert all(0 <= line.tax_amount <= line.total_amount for line in pricing.lines)


@settings(max_examples=100, deadline=None)
@given(LINES, DISCOUNTS, SHIPPINGS, st.booleans(), st.lists(st.integers(0, 10**8), max_size=5))
def test_full_refund_gives_back_every_tax_exactly_whatever_came_before(
    lines, discount, shipping, included, goodwill
):
    pricing = price(*lines, included=included, discount=discount, shipping=shipping)
    groups = refund_groups(pricing)
    for index, wish in enumerate([*goodwill, MAX_AMOUNT]):
        amount = min(wish, sum(group.left for group in groups))
        by_rate = {groups[index % len(groups)].rate_bps: amount} if groups else {}
        parts = (
            refund_groups_by_rate(groups, by_rate) if index % 2 else refund_groups_by_amount(groups, amount)
        )
        assert sum(parts) == amount
        groups = after(groups, refund_tax_groups(groups, parts))
    assert [(g.refunded_amount, g.refunded_tax) for g in groups] == [
        (g.gross_amount, g.tax_amount) for g in pricing.tax_groups
    ]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9), st.lists(st.integers(0, 9), min_size=1, max_size=8))
def test_refunds_by_units_add_up_to_the_line_in_any_steps(total, steps):
    quantity = sum(steps) or 1
    done, given_back = 0, 0
    for units in steps:
        [amount] = refund_of_lines([RefundLine(total, quantity, done, units)])
        assert amount >= 0
        done, given_back = done + units, given_back + amount
    assert given_back == (total if done else 0)


def test_line_gives_back_its_total_at_most_when_an_earlier_refund_was_taken_back():
    """Three units at 4: 1, 2 and 1. Without the first one the others would come to 2 + 2 + 1."""
    assert refund_of_lines([RefundLine(4, 3, 1, 1)]) == [2]
    assert refund_of_lines([RefundLine(4, 3, 1, 1, refunded_amount=2)]) == [2]
    assert refund_of_lines([RefundLine(4, 3, 2, 1, refunded_amount=4)]) == [0]
    assert refund_of_lines([RefundLine(4, 3, 2, 1, refunded_amount=3)]) == [1]


def random_cart(dice: random.Random) -> tuple[list[PriceLine], Discount | None, Shipping | None, bool]:
    """A cart as shops see them: one to three lines, two rates at most, sometimes a code, mostly shipping."""
    rates = dice.choices((0, 550, 1000, 2000), k=2)
    lines = [
        PriceLine(dice.randrange(1, 50_000), dice.randrange(1, 6), dice.choice(rates))
        for _ in range(dice.randrange(1, 4))
    ]
    discount = dice.choice(
        (
            None,
            Discount("P", "percent", dice.randrange(1, 10_001)),
            Discount("F", "fixed", dice.randrange(1, 60_000)),
        )
    )
    shipping = Shipping("s", dice.randrange(2_000), rates[0]) if dice.random() < 0.8 else None
    return lines, discount, shipping, dice.random() < 0.5


@pytest.mark.slow
def test_prices_when_two_hundred_thousand_carts_are_drawn():
    """Every total and every tax is exact to the last unit, in integers and without a tolerance."""
    dice = random.Random(20260101)
    for _ in range(200_000):
        lines, discount, shipping, included = random_cart(dice)
        pricing = price_order(
            lines, currency="EUR", prices_include_tax=included, discount=discount, shipping=shipping
        )
        total = pricing.subtotal - pricing.discount_amount + pricing.shipping_amount
        assert pricing.total_amount == total + (0 if included else pricing.tax_amount)
        for group in pricing.tax_groups:
            if included:
                whole = 10_000 + group.rate_bps
                over = group.gross_amount * 10_000 - group.net_amount * whole
            else:
                whole = 10_000
                over = group.net_amount * group.rate_bps - group.tax_amount * whole
            assert -whole <= 2 * over < whole
            assert group.net_amount + group.tax_amount == group.gross_amount


def test_refunds_when_ten_thousand_carts_are_drawn():
    """Single units add up to their line, and with the last refund each group has its tax back exactly."""
    dice = random.Random(20260102)
    for _ in range(10_000):
        lines, discount, shipping, included = random_cart(dice)
        pricing = price_order(
            lines, currency="EUR", prices_include_tax=included, discount=discount, shipping=shipping
        )
        line = dice.choice(pricing.lines)
        units = [
            refund_of_lines([RefundLine(line.total_amount, line.quantity, done, 1)])[0]
            for done in range(line.quantity)
        ]
        assert sum(units) == line.total_amount
        groups = refund_groups(pricing)
        first = dice.randrange(pricing.total_amount + 1)
        for amount in (first, pricing.total_amount - first):
            groups = after(groups, refund_tax_groups(groups, refund_groups_by_amount(groups, amount)))
        assert [group.refunded_tax for group in groups] == [g.tax_amount for g in pricing.tax_groups]


# The currencies


def test_currencies_are_the_closed_list():
    assert len(CURRENCIES) == 30
    assert {c.exponent for c in CURRENCIES.values()} == {0, 2, 3}
    assert (CURRENCIES["HUF"].exponent, CURRENCIES["HUF"].stripe_minimum) == (2, 17500)
    assert (CURRENCIES["JPY"].exponent, CURRENCIES["JPY"].stripe_minimum) == (0, 50)
    assert (CURRENCIES["KWD"].exponent, CURRENCIES["KWD"].stripe_minimum) == (3, None)
    assert all(code == currency.code for code, currency in CURRENCIES.items())


def test_currency_is_supported_in_capitals_only():
    assert is_supported("EUR")
    assert not is_supported("eur")
    assert not is_supported("XXX")
