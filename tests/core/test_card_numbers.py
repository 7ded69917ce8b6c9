"""Which texts of people are refused because of a card number in them."""

import pytest

from app.core.card_numbers import holds_card_number

CARDS = (
    "4242424242424242",
    "Card 4242 4242 4242 4242, 12/34, 123",
    "4242-4242-4242-4242",
    "5555555555554444",
    "2223003122003222",
    "paid with 3782 822463 10005",
    "30569309025904",
    "3530111333300000",
    "6011000990139424",
    "6200000000000005",
)
"""Numbers that Stripe and the schemes publish for tests, as people write them."""

NO_CARDS = (
    "Leave at the door, code 4242",
    "4242424242424241",
    "+33 6 12 34 56 78 and +49 1512 3456789",
    "Order 5678901234567 of 1763656140123",
    "EAN 4006381333931",
    "Colissimo 6A12345678901",
    "018f4242-4242-4242-8242-424242424242",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
    "",
)


@pytest.mark.parametrize("text", CARDS)
def test_text_when_a_card_number_stands_in_it(text: str) -> None:
    assert holds_card_number(text)


@pytest.mark.parametrize("text", NO_CARDS)
def test_text_when_its_numbers_are_no_cards(text: str) -> None:
    assert not holds_card_number(text)
