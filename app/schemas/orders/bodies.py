"""What callers send to place and to change an order. Prices and totals are never among it."""

import re
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.core.mail_addresses import MailAddressText
from app.schemas.base import Amount, Currency, Input, Line, Patch, StrictInt, Text
from app.schemas.orders.words import Country, NoCardNumber, SmallJson, Version

MOST_LINES = 1000
"""No setting allows more lines than this."""

Name = Annotated[Line, Field(min_length=1, max_length=200)]
Phone = Annotated[Line, Field(max_length=40)]
ShippingCode = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,40}$", examples=["home"])]
DiscountText = Annotated[Line, Field(min_length=1, max_length=40, examples=["TEN"])]
Notes = Annotated[Text, NoCardNumber, Field(max_length=2000)]
InternalNotes = Annotated[
    Text, NoCardNumber, Field(max_length=5000, description="Seen by those who may write orders.")
]
Carrier = Annotated[Line, Field(max_length=80, examples=["Colissimo"])]
TrackingNumber = Annotated[Line, Field(max_length=100, examples=["6A12345678901"])]


def _one_address(value: str) -> str:
    # A mail shows it on a line of its own, so nothing may stand behind it.
    if re.search(r"[\s\\]", value) or not value.removeprefix("https://"):
        raise ValueError("an https address is due")
    return value


TrackingUrl = Annotated[Text, Field(pattern=r"^https://", max_length=2048), AfterValidator(_one_address)]


class Address(Input):
    """Where goods or the bill go."""

    name: Name = Field(examples=["Anna Martin"])
    company: Annotated[Line, Field(max_length=200)] | None = None
    line1: Name = Field(examples=["12 rue des Lilas"])
    line2: Annotated[Line, Field(max_length=200)] | None = None
    postal_code: Annotated[Line, Field(min_length=1, max_length=20)] = Field(examples=["75011"])
    city: Annotated[Line, Field(min_length=1, max_length=120)] = Field(examples=["Paris"])
    region: Annotated[Line, Field(max_length=40)] | None = None
    country: Country


class Customer(Input):
    """Who buys. Only a draft may be without an e-mail address."""

    email: MailAddressText | None = Field(default=None, examples=["anna@example.test"])
    name: Name | None = Field(default=None, examples=["Anna Martin"])
    phone: Phone | None = None


class OrderLine(Input):
    """One product in some quantity, as the buyer wants it."""

    product_id: UUID
    quantity: Annotated[StrictInt, Field(ge=1, le=100_000)]
    design_id: UUID | None = None
    design_version: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = None
    customization: SmallJson = Field(
        default_factory=dict, description="The product's options, by code.", examples=[{}]
    )


class CheckoutPaths(Input):
    """Where the buyer returns to, as paths of the application."""

    success_path: Annotated[Text, Field(min_length=1, max_length=1000)] = Field(examples=["/thanks"])
    cancel_path: Annotated[Text, Field(min_length=1, max_length=1000)] = Field(examples=["/basket"])


EXAMPLE: dict[str, Any] = {
    "items": [{"product_id": "0192f0c1-2b3c-7d4e-8f50-61728394a5b6", "quantity": 2}],
    "customer": {"email": "anna@example.test", "name": "Anna Martin"},
    "shipping_address": {
        "name": "Anna Martin",
        "line1": "12 rue des Lilas",
        "postal_code": "75011",
        "city": "Paris",
        "country": "FR",
    },
    "payment_method": "manual",
}


class OrderCreate(Input):
    """A new order. Unless it is a draft, its stock is held and its number is given at once."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    items: Annotated[list[OrderLine], Field(min_length=1, max_length=MOST_LINES)]
    customer: Customer = Field(default_factory=Customer)
    shipping_address: Address | None = None
    billing_address: Address | None = None
    shipping_code: ShippingCode | None = Field(
        default=None, description="A shipping rate; none: no shipping."
    )
    discount_code: DiscountText | None = None
    currency: Currency | None = Field(
        default=None, description="What the products' currency must be; it is never converted."
    )
    payment_method: Literal["checkout", "manual"] = "checkout"
    status: Literal["pending", "draft"] = "pending"
    notes: Notes | None = None
    internal_notes: InternalNotes | None = None
    metadata: SmallJson = Field(default_factory=dict)
    expected_total: Amount | None = Field(
        default=None, description="Refuse with 409 `price_changed` when the total is another one."
    )
    checkout: CheckoutPaths | None = Field(default=None, description="Open a checkout for the order at once.")

    @model_validator(mode="after")
    def _checkout_fits(self) -> Self:
        if self.checkout is not None and (self.status, self.payment_method) != ("pending", "checkout"):
            raise PydanticCustomError(
                "checkout_not_applicable", "only a pending order that is paid by checkout can open one"
            )
        return self


class OrderUpdate(Patch):
    """Changes of an order; what is left out stays. A changed basket is priced anew and needs `version`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"notes": "Leave at the door.", "version": 1}]})

    notes: Notes | None = None
    internal_notes: InternalNotes | None = None
    metadata: SmallJson = Field(default_factory=dict)
    carrier: Carrier | None = None
    tracking_number: TrackingNumber | None = None
    tracking_url: TrackingUrl | None = None
    customer: Customer = Field(default_factory=Customer, description="Only the members that are sent change.")
    shipping_address: Address | None = None
    billing_address: Address | None = None
    items: Annotated[list[OrderLine], Field(min_length=1, max_length=MOST_LINES)] = Field(
        default_factory=list, description="The complete new list of lines."
    )
    shipping_code: ShippingCode | None = None
    discount_code: DiscountText | None = None
    status: Annotated[Text, Field(max_length=20)] = Field(
        default="",
        description="`pending`, `processing`, `shipped`, `delivered` or `cancelled`: runs that act after the "
        "fields were changed.",
    )
    version: Version | None = None


class OrderUpdateAnywhere(OrderUpdate):
    """The same with the order named in the body, by exactly one of four members."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"order_number": "ORD-2026-000001", "notes": "Leave at the door."}]}
    )

    id: UUID | None = None
    order_id: Annotated[Text, Field(max_length=64)] | None = None
    orderId: Annotated[Text, Field(max_length=64)] | None = None  # noqa: N815 - the name that older callers send
    order_number: Annotated[Text, Field(max_length=64)] | None = None

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if len(self._names()) != 1:
            raise PydanticCustomError(
                "order_not_named", "send exactly one of id, order_id, orderId and order_number"
            )
        return self

    @property
    def reference(self) -> str:
        """The order that is meant: its id or its number."""
        return self._names()[0]

    def as_update(self) -> OrderUpdate:
        """The changes alone."""
        sent = self.model_fields_set - {"id", "order_id", "orderId", "order_number"}
        return OrderUpdate.model_construct(_fields_set=sent, **{name: getattr(self, name) for name in sent})

    def _names(self) -> list[str]:
        given = (self.id, self.order_id, self.orderId, self.order_number)
        return [str(name) for name in given if name is not None]
