"""What callers send and get about tax rates and shipping rates."""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictBool

from app.schemas.base import Amount, Currency, Input, Line, Output
from app.schemas.orders.values import BasisPoints, TaxCategory
from app.schemas.orders.words import Country

MOST_TAX_RATES = 300
MOST_SHIPPING_RATES = 50

Region = Annotated[
    Line, Field(max_length=40, description="As it stands in addresses; empty: the whole country.")
]
RateCode = Annotated[
    str, Field(pattern=r"^[a-z0-9_-]{1,40}$", description="What orders name it by.", examples=["home"])
]
FREE_FROM = "Costs nothing when the goods after discount are at least this much; null: never."


class TaxRateItem(Input):
    """The rate of a tax category in a country, or in one of its regions."""

    country: Country
    region: Region = ""
    tax_category: TaxCategory = "standard"
    rate_bps: BasisPoints


class TaxRateList(Input):
    """The complete list of tax rates."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {"country": "FR", "region": "", "tax_category": "standard", "rate_bps": 2000},
                        {"country": "FR", "region": "", "tax_category": "food", "rate_bps": 550},
                    ]
                }
            ]
        }
    )

    items: Annotated[list[TaxRateItem], Field(max_length=MOST_TAX_RATES)]


class TaxRateRead(Output):
    """A tax rate."""

    country: str
    region: str = Field(description="Empty: the whole country.")
    tax_category: str
    rate_bps: int = Field(description="Basis points: 20 % is 2000.")


class ShippingRateItem(Input):
    """A way of shipping, its price, and where it goes."""

    code: RateCode
    name: Annotated[Line, Field(min_length=1, max_length=120, examples=["Home delivery"])]
    countries: Annotated[list[Country], Field(min_length=1, max_length=250)]
    amount: Amount
    free_from: Amount | None = Field(None, description=FREE_FROM)
    currency: Currency
    is_active: StrictBool = True


class ShippingRateList(Input):
    """The complete list of shipping rates, in the order in which buyers see them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "code": "home",
                            "name": "Home delivery",
                            "countries": ["FR", "BE"],
                            "amount": 590,
                            "free_from": 5000,
                            "currency": "EUR",
                            "is_active": True,
                        }
                    ]
                }
            ]
        }
    )

    items: Annotated[list[ShippingRateItem], Field(max_length=MOST_SHIPPING_RATES)]


class ShippingRateRead(Output):
    """A shipping rate."""

    code: str
    name: str
    countries: list[str]
    amount: int = Field(description="Minor units of `currency`.")
    free_from: int | None = Field(description=FREE_FROM)
    currency: str
    is_active: bool
