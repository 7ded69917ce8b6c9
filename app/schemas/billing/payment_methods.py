"""Shapes of payment methods and of who pays. No body has room for a card number."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StrictBool

from app.core.mail_addresses import MailAddressText
from app.schemas.base import Input, Line, Output, Patch, Timestamp


class PaymentMethodCreate(Input):
    """A method that was entered at the payment provider; without one, entering another begins."""

    payment_method_id: Annotated[str, Field(pattern=r"^pm_[A-Za-z0-9_]{1,250}$")] | None = Field(
        None, examples=["pm_1Q0PsIJvEtkwdCNYMSaVuRz6"]
    )


class PaymentMethodUpdate(Input):
    """Which one is the default: only that it becomes so can be said."""

    is_default: Annotated[StrictBool, Field(examples=[True])]


class PaymentMethodRead(Output):
    """A card, mandate or account to pay with."""

    id: UUID
    type: Literal["card", "paypal", "sepa"]
    last4: str | None
    brand: str | None
    expiry_month: str | None = Field(examples=["04"])
    expiry_year: str | None = Field(examples=["2030"])
    email: str | None
    is_default: bool
    is_expired: bool
    created_at: Timestamp


class SetupRead(Output):
    """What the payment provider's form needs to enter a method."""

    client_secret: str
    setup_intent_id: str


class BillingAddress(Input):
    """Where the payer is."""

    line1: Annotated[Line, Field(min_length=1, max_length=200)]
    line2: Annotated[Line, Field(max_length=200)] | None = None
    postal_code: Annotated[Line, Field(max_length=20)] | None = None
    city: Annotated[Line, Field(max_length=100)] | None = None
    region: Annotated[Line, Field(max_length=100)] | None = None
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", examples=["FR"])]


class BillingDetailsUpdate(Patch):
    """What changes of who pays; null removes it."""

    name: Annotated[Line, Field(min_length=1, max_length=200)] | None = None
    email: MailAddressText | None = None
    address: BillingAddress | None = None
    tax_id_type: (
        Annotated[str, Field(pattern=r"^[a-z]{2}(_[a-z]{2,10}){1,2}$", examples=["eu_vat"])] | None
    ) = None
    tax_id: Annotated[Line, Field(min_length=1, max_length=40)] | None = None


class BillingDetailsRead(Output):
    """Who pays."""

    name: str | None
    email: str | None
    address: BillingAddress | None
    tax_id_type: str | None
    tax_id: str | None
    is_synced: bool = Field(description="Whether the payment provider has it as it stands here.")
    sync_error: str | None = Field(
        description="Why the payment provider did not take it: `tax_id_invalid` for a tax number, or a type "
        "of one, that it refuses, else `payment_provider_error`; null while nothing has failed."
    )
