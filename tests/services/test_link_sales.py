"""Amounts of a payment link's session: as Stripe says them, in sums that an order can hold."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.money import half_up
from app.services.orders.link_sales import LinkSale, read_sale
from app.services.stripe_webhooks.effects import EventDead

PRODUCT = "018f4242-4242-7242-8242-424242424242"


def line(
    subtotal: int,
    *,
    quantity: int | None = 1,
    discount: int = 0,
    tax: int = 0,
    is_added: bool = False,
    **more: Any,
) -> dict[str, Any]:
    product = {"name": "Bag", "metadata": {"luneo_product_id": PRODUCT}}
    return {
        "description": "Bag",
        "quantity": quantity,
        "amount_subtotal": subtotal,
        "amount_discount": discount,
        "amount_tax": tax,
        "amount_total": subtotal - discount + (tax if is_added else 0),
        "price": {"product": product},
        **more,
    }


def rated(percentage: float) -> list[dict[str, Any]]:
    return [{"rate": {"percentage": percentage}}]


def sale(*lines: dict[str, Any], total: int | None = None, **session: Any) -> LinkSale:
    shipping = session.get("shipping_cost") or {"amount_total": 0}
    whole = sum(one["amount_total"] for one in lines) + shipping["amount_total"]
    found = {"id": "cs_1", "currency": "eur", "amount_total": whole if total is None else total, **session}
    sold = read_sale(found, lines)
    holds(sold)
    return sold


def holds(sold: LinkSale) -> None:
    """What the database checks of an order and of its lines."""
    pricing = sold.pricing
    added = 0 if pricing.prices_include_tax else pricing.tax_amount
    whole = pricing.subtotal - pricing.discount_amount + pricing.shipping_amount + added
    assert pricing.total_amount == whole == sum(group.gross_amount for group in pricing.tax_groups)
    assert pricing.tax_amount == sum(group.tax_amount for group in pricing.tax_groups)
    assert pricing.discount_amount <= pricing.subtotal
    assert pricing.shipping_tax_amount <= pricing.tax_amount
    for one in pricing.lines:
        assert one.goods_amount == one.unit_price * one.quantity
        assert 0 <= one.discount_amount <= one.goods_amount
        tax = 0 if pricing.prices_include_tax else one.tax_amount
        assert one.total_amount == one.goods_amount - one.discount_amount + tax


def test_sale_when_no_tax_is_told() -> None:
    sold = sale(line(3000, quantity=3), line(500, quantity=None))
    assert (sold.pricing.prices_include_tax, sold.pricing.subtotal, sold.pricing.tax_amount) == (
        True,
        3500,
        0,
    )
    assert [one.unit_price for one in sold.pricing.lines] == [1000, 500]
    assert sold.product_ids == {UUID(PRODUCT)}


def test_sale_when_the_tax_is_in_the_price() -> None:
    sold = sale(line(1200, tax=200, taxes=rated(20.0)), line(1055, tax=55, taxes=rated(5.5)))
    assert sold.pricing.prices_include_tax is True
    assert [(group.rate_bps, group.net_amount, group.tax_amount) for group in sold.pricing.tax_groups] == [
        (550, 1000, 55),
        (2000, 1000, 200),
    ]


def test_sale_when_stripe_added_the_tax() -> None:
    sold = sale(line(1000, discount=100, tax=180, is_added=True, taxes=rated(20.0)))
    pricing = sold.pricing
    assert pricing.prices_include_tax is False
    assert (pricing.subtotal, pricing.discount_amount, pricing.tax_amount, pricing.total_amount) == (
        1000,
        100,
        180,
        1080,
    )


def test_sale_when_stripe_added_the_tax_to_some_lines_only() -> None:
    """No order says that: its lines are taken with their tax."""
    sold = sale(line(1000, tax=200, is_added=True, taxes=rated(20.0)), line(1200, tax=200, taxes=rated(20.0)))
    assert (sold.pricing.prices_include_tax, sold.pricing.subtotal, sold.pricing.total_amount) == (
        True,
        2400,
        2400,
    )
    assert sold.pricing.tax_amount == 400


@pytest.mark.parametrize("is_added", [True, False])
def test_sale_when_something_is_shipped(is_added: bool) -> None:
    cost = {"amount_subtotal": 500 if is_added else 600, "amount_tax": 100, "amount_total": 600}
    goods = line(1000 if is_added else 1200, tax=200, is_added=is_added, taxes=rated(20.0))
    pricing = sale(goods, shipping_cost=cost).pricing
    assert (pricing.shipping_amount, pricing.shipping_tax_amount) == (cost["amount_subtotal"], 100)
    assert [(group.rate_bps, group.gross_amount) for group in pricing.tax_groups] == [(2000, 1800)]


def test_rate_when_stripe_does_not_tell_it() -> None:
    assert sale(line(1200, tax=200)).pricing.lines[0].tax_rate_bps == 2000
    assert sale(line(100, tax=100)).pricing.lines[0].tax_rate_bps == 0


def test_rates_when_a_line_has_several() -> None:
    both = [*rated(7.25), *rated(1.0)]
    taxed = sale(line(1000, tax=82, is_added=True, taxes=both)).pricing.lines[0]
    assert taxed.tax_rate_bps == 825


def test_price_when_it_has_fractions_of_a_cent() -> None:
    sold = sale(line(1001, quantity=3))
    (one,) = sold.pricing.lines
    assert (one.unit_price, one.discount_amount, one.total_amount) == (334, 1, 1001)


def test_line_when_the_buyer_took_none_of_it() -> None:
    assert [one.position for one in sale(line(0, quantity=0), line(500)).pricing.lines] == [0]


@pytest.mark.parametrize(
    ("session", "lines", "code"),
    [
        ({"currency": "isk"}, [line(100)], "currency_not_supported"),
        ({}, [line(100_001, quantity=100_001)], "quantity_out_of_range"),
        ({}, [], "quantity_out_of_range"),
        ({"total": 99}, [line(100)], "amounts_inconsistent"),
    ],
)
def test_sale_when_no_order_can_say_it(
    session: dict[str, Any], lines: list[dict[str, Any]], code: str
) -> None:
    with pytest.raises(EventDead) as raised:
        sale(*lines, **session)
    assert raised.value.code == code


@st.composite
def lines(draw: st.DrawFn) -> dict[str, Any]:
    subtotal = draw(st.integers(0, 99_999_999))
    discount = draw(st.integers(0, subtotal))
    percentage = draw(st.sampled_from([0.0, 5.5, 8.875, 20.0, 100.0]))
    is_added = draw(st.booleans())
    bps = round(percentage * 100)
    net = subtotal - discount
    tax = half_up(net * bps, 10_000) if is_added else net - half_up(net * 10_000, 10_000 + bps)
    told = {"taxes": rated(percentage)} if draw(st.booleans()) else {}
    quantity = draw(st.integers(1, 100_000))
    return line(subtotal, quantity=quantity, discount=discount, tax=tax, is_added=is_added, **told)


@given(sold=st.lists(lines(), min_size=1, max_size=5))
def test_sale_when_its_lines_are_anything(sold: list[dict[str, Any]]) -> None:
    assert sale(*sold).pricing.total_amount == sum(one["amount_total"] for one in sold)
