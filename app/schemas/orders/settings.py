"""What callers send and get about the settings of orders."""

from functools import lru_cache
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, ConfigDict, Field, StrictBool
from pydantic_core import PydanticCustomError

from app.core.mail_addresses import MailAddressText
from app.schemas.base import Currency, Input, Line, Output, Patch, StrictInt, Text, Timestamp, absent
from app.schemas.orders.values import BasisPoints, TaxCategory
from app.schemas.orders.words import Country, Version

CaptureMethod = Literal["automatic", "manual"]
OversoldPolicy = Literal["refund", "backorder"]

Prefix = Annotated[
    str, Field(pattern=r"^[A-Z0-9]{1,8}$", description="What numbers begin with.", examples=["ORD"])
]

NOT_PLACES = frozenset({"Factory", "localtime"})
"""Entries of the machine's database of zones that name no time of any place."""


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() - NOT_PLACES)


def _known_zone(value: str) -> str:
    if value not in _zones():
        raise PydanticCustomError("time_zone_unknown", "this is no time zone of the IANA database")
    return value


TimeZone = Annotated[
    Text,
    Field(max_length=64, description="A name of the IANA database.", examples=["Europe/Paris"]),
    AfterValidator(_known_zone),
]

WINDOW = "How long a buyer has to pay by checkout."
HOLD = "How long stock is held for an order that is paid by hand."


class Seller(Input):
    """Who sells: what invoices print, and where orders without an address are taxed."""

    name: Annotated[Line, Field(max_length=200, examples=["Maison Aurore SAS"])] | None = None
    line1: Annotated[Line, Field(max_length=200, examples=["31 rue Saint-Honoré"])] | None = None
    line2: Annotated[Line, Field(max_length=200)] | None = None
    postal_code: Annotated[Line, Field(max_length=20, examples=["75001"])] | None = None
    city: Annotated[Line, Field(max_length=120, examples=["Paris"])] | None = None
    region: Annotated[Line, Field(max_length=40)] | None = None
    country: Country | None = None
    registration: Annotated[Line, Field(max_length=120)] | None = Field(
        None, description="Register and number, as invoices print it."
    )
    siren: Annotated[str, Field(pattern=r"^[0-9]{9}$")] | None = Field(
        None, description="Of sellers in France."
    )
    vat_number: Annotated[str, Field(pattern=r"^[A-Z]{2}[A-Z0-9+*.-]{2,18}$")] | None = Field(
        None, description="With the country's two letters in front."
    )
    email: MailAddressText | None = None
    phone: Annotated[Line, Field(max_length=40)] | None = None


class OrderSettingsUpdate(Patch):
    """The settings to change; orders that are placed already keep what they were placed with."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"number_prefix": "SHOP", "time_zone": "Europe/Paris", "version": 1}]}
    )

    number_prefix: Prefix = Field(default_factory=absent)
    invoice_prefix: Prefix = Field(default_factory=absent)
    credit_note_prefix: Prefix = Field(default_factory=absent)
    time_zone: TimeZone = Field(default_factory=absent)
    currency: Currency = Field(default_factory=absent, description="Of new products, unless they name one.")
    prices_include_tax: StrictBool = Field(default_factory=absent)
    default_tax_rate_bps: BasisPoints = Field(
        default_factory=absent, description="Where no tax rate applies. Basis points: 20 % is 2000."
    )
    shipping_tax_category: TaxCategory = Field(
        default_factory=absent, description="The tax category that shipping belongs to."
    )
    payment_window_minutes: Annotated[StrictInt, Field(ge=30, le=1425, description=WINDOW)] = Field(
        default_factory=absent
    )
    manual_hold_hours: Annotated[StrictInt, Field(ge=1, le=720, description=HOLD)] = Field(
        default_factory=absent
    )
    capture_method: CaptureMethod = Field(default_factory=absent)
    oversold_policy: OversoldPolicy = Field(
        default_factory=absent, description="What happens when a paid order finds no stock."
    )
    is_storefront_public: StrictBool = Field(default_factory=absent)
    seller: Seller = Field(
        default_factory=absent, description="The complete seller: what is left out is removed."
    )
    version: Version | None = None


class SellerRead(Output):
    """Who sells."""

    name: str | None = None
    line1: str | None = None
    line2: str | None = None
    postal_code: str | None = None
    city: str | None = None
    region: str | None = None
    country: str | None = None
    registration: str | None = None
    siren: str | None = None
    vat_number: str | None = None
    email: str | None = None
    phone: str | None = None


class OrderSettingsRead(Output):
    """How an organisation numbers, prices and keeps its orders."""

    number_prefix: str
    invoice_prefix: str
    credit_note_prefix: str
    time_zone: str = Field(description="Whose year numbers bear, and whose days reports count.")
    currency: str
    prices_include_tax: bool
    default_tax_rate_bps: int
    shipping_tax_category: str
    payment_window_minutes: int = Field(description=WINDOW)
    manual_hold_hours: int = Field(description=HOLD)
    capture_method: CaptureMethod
    oversold_policy: OversoldPolicy
    is_storefront_public: bool
    seller: SellerRead
    version: int
    created_at: Timestamp
    updated_at: Timestamp
