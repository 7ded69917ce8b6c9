"""What buyers without an account send and see of their orders, and what erases them."""

from typing import Annotated

from pydantic import ConfigDict, Field

from app.core.mail_addresses import MailAddressText
from app.schemas.base import Input, Output, Text, Timestamp
from app.schemas.orders.words import OrderStatus, PaymentStatus


class CustomerErase(Input):
    """The buyer, by e-mail address."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "anna@example.com"}]})

    email: MailAddressText


class CustomerErased(Output):
    """What was erased."""

    orders_count: int = Field(description="Orders that do not know their buyer any more.")


class TrackRequest(Input):
    """Which order, and the address that it was ordered with."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "organization": "maison-aurore",
                    "order_number": "ORD-2026-000001",
                    "email": "anna@example.com",
                }
            ]
        }
    )

    organization: Annotated[Text, Field(min_length=1, max_length=80, description="The shop's slug.")]
    order_number: Annotated[Text, Field(min_length=1, max_length=64)]
    email: MailAddressText


class TrackRequested(Output):
    """The same whether or not there is such an order."""

    status: str = Field("link_sent_if_known", description="A link was mailed if the order is known.")


class PublicOrderItem(Output):
    """One line."""

    name: str
    sku: str | None
    quantity: int
    fulfilled_quantity: int = Field(description="So many have left.")
    unit_price: int
    discount_amount: int
    total_amount: int


class PublicOrder(Output):
    """An order as its buyer sees it; amounts in minor units of `currency`. It names no person."""

    order_number: str
    status: OrderStatus
    payment_status: PaymentStatus
    currency: str
    prices_include_tax: bool
    subtotal: int
    discount_amount: int
    shipping_amount: int
    tax_amount: int
    total_amount: int
    amount_paid: int
    amount_refunded: int
    order_items: list[PublicOrderItem]
    carrier: str | None
    tracking_number: str | None
    tracking_url: str | None
    placed_at: Timestamp | None
    paid_at: Timestamp | None
    shipped_at: Timestamp | None
    delivered_at: Timestamp | None
    cancelled_at: Timestamp | None
