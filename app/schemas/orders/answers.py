"""What the API tells about orders; amounts are integers in minor units of `currency`."""

from typing import Any
from uuid import UUID

from pydantic import Field

from app.schemas.base import Output, Timestamp
from app.schemas.orders.refunds import RefundRead
from app.schemas.orders.words import HoldReason, OrderStatus, PaymentStatus


class OrderItemRead(Output):
    """One line, with the product as it was when it was bought."""

    id: UUID
    order_id: UUID
    position: int
    product_id: UUID | None
    design_id: UUID | None
    design_version: int | None
    sku: str | None
    name: str
    product_snapshot: dict[str, Any]
    customization: dict[str, Any]
    customization_sha256: str | None
    is_personalised: bool
    unit_price: int
    quantity: int
    discount_amount: int
    tax_rate_bps: int
    tax_amount: int
    total_amount: int
    refunded_quantity: int
    refunded_amount: int
    returned_quantity: int
    restocked_quantity: int
    fulfilled_quantity: int


class OrderRead(Output):
    """An order with its lines."""

    id: UUID
    user_id: UUID | None = Field(description="Who made it; null when that account is gone.")
    order_number: str | None = Field(description="Null for a draft.")
    channel: str = Field(description="`dashboard`, `api`, `payment_link` or `import`.")
    status: OrderStatus = Field(description="Where the goods are.")
    payment_status: PaymentStatus = Field(description="Where the money is.")
    hold_reason: HoldReason | None = Field(description="What stops fulfilment.")
    currency: str
    prices_include_tax: bool
    subtotal: int
    discount_amount: int
    shipping_amount: int
    shipping_tax_amount: int
    tax_amount: int
    total_amount: int
    amount_paid: int
    amount_refunded: int
    amount_refund_pending: int
    pricing: dict[str, Any] = Field(description="How the total came about.")
    discount_code: str | None
    customer_email: str | None
    customer_name: str | None
    customer_phone: str | None
    shipping_address: dict[str, Any] | None
    billing_address: dict[str, Any] | None
    shipping_code: str | None
    carrier: str | None
    tracking_number: str | None
    tracking_url: str | None
    notes: str | None
    internal_notes: str | None = Field(description="Null for callers without `orders:write`.")
    metadata: dict[str, Any]
    payment_method: str
    payment_failure_code: str | None = Field(
        description="Why the last attempt failed; `authentication_required` while the bank asks the buyer."
    )
    stripe_checkout_session_id: str | None
    checkout_url: str | None
    checkout_expires_at: Timestamp | None
    reservation_expires_at: Timestamp | None = Field(
        description="Until when the stock is held without payment."
    )
    placed_at: Timestamp | None
    paid_at: Timestamp | None
    shipped_at: Timestamp | None
    delivered_at: Timestamp | None
    completed_at: Timestamp | None
    cancelled_at: Timestamp | None
    cancel_reason: str | None
    withdrawal_right: str
    version: int
    created_at: Timestamp
    updated_at: Timestamp
    order_items: list[OrderItemRead]
    available_transitions: list[OrderStatus] = Field(
        description="The statuses that an act can bring about now."
    )


class HistoryEntry(Output):
    """One change of `status`, `payment_status` or `hold_reason`: what, why, by whom."""

    position: int
    field: str
    from_value: str | None
    to_value: str | None
    reason: str | None
    actor_type: str
    actor_id: str | None
    stripe_event_id: str | None
    request_id: str | None
    created_at: Timestamp


class OrderPaymentRead(Output):
    """One payment of an order."""

    id: UUID
    method: str
    stripe_payment_intent_id: str | None
    reference: str | None
    amount: int
    currency: str
    status: str
    unapplied_reason: str | None
    amount_refunded: int
    amount_refund_pending: int
    received_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class OrderDetail(OrderRead):
    """A single order, with what has happened to it."""

    history: list[HistoryEntry]
    refunds: list[RefundRead]
    payments: list[OrderPaymentRead] | None = Field(description="Null for callers without `orders:write`.")


class CheckoutError(Output):
    """Why no checkout was opened for an order that was placed all the same."""

    code: str


class CheckoutOpen(Output):
    """The page on which an order is paid, and until when."""

    url: str
    session_id: str
    expires_at: Timestamp


class OrderCreated(OrderRead):
    """A new order. Its history, payments and refunds are read with the single order."""

    checkout_error: CheckoutError | None = Field(
        description="Set when a checkout was asked for and none could be opened; the order stands."
    )


class Availability(Output):
    """Whether so many pieces of a product can be ordered at the moment."""

    product_id: UUID
    requested: int
    available: int | None = Field(description="Null when the product's pieces are not counted.")
    is_available: bool


class QuoteRead(Output):
    """What a basket would cost, and whether it can be had. Nothing is held or promised."""

    pricing: dict[str, Any]
    availability: list[Availability]
    withdrawal_right: str
