"""The closed list of currencies that prices may have, with exponents and Stripe's smallest amounts."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Currency:
    """An ISO 4217 currency.

    `exponent` is the number of decimals of the major unit (EUR 2, JPY 0, KWD 3). `stripe_minimum` is the
    smallest amount that Stripe charges, in minor units; None leaves the decision to Stripe.
    """

    code: str
    exponent: int
    stripe_minimum: int | None


_TWO_DECIMALS = {
    "AED": 200,
    "AUD": 50,
    "BRL": 50,
    "CAD": 50,
    "CHF": 50,
    "CZK": 1500,
    "DKK": 250,
    "EUR": 50,
    "GBP": 30,
    "HKD": 400,
    "HUF": 17500,
    "INR": 50,
    "MXN": 1000,
    "MYR": 200,
    "NOK": 300,
    "NZD": 50,
    "PLN": 200,
    "RON": 200,
    "SEK": 300,
    "SGD": 50,
    "THB": 1000,
    "USD": 50,
}
_NO_DECIMALS = {"JPY": 50, "KRW": None, "XPF": None}
_THREE_DECIMALS = {"BHD": None, "JOD": None, "KWD": None, "OMR": None, "TND": None}

CURRENCIES: Mapping[str, Currency] = MappingProxyType(
    {
        code: Currency(code, exponent, minimum)
        for exponent, minimums in ((2, _TWO_DECIMALS), (0, _NO_DECIMALS), (3, _THREE_DECIMALS))
        for code, minimum in minimums.items()
    }
)
"""Every supported currency by its code in capitals."""


def is_supported(code: str) -> bool:
    """Whether prices may be in this currency; the code is compared as it stands, in capitals."""
    return code in CURRENCIES
