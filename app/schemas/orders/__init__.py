"""Bodies, queries and answers of the area orders."""

from app.schemas.orders.acts import (
    HoldRelease,
    ManualPayment,
    OrderAct,
    OrderReason,
    OrderShip,
    OrderSubmit,
    PaymentAccept,
    ShippedLine,
)
from app.schemas.orders.answers import (
    Availability,
    CheckoutError,
    CheckoutOpen,
    HistoryEntry,
    OrderCreated,
    OrderDetail,
    OrderItemRead,
    OrderPaymentRead,
    OrderRead,
    QuoteRead,
)
from app.schemas.orders.bodies import (
    Address,
    CheckoutPaths,
    Customer,
    OrderCreate,
    OrderLine,
    OrderUpdate,
    OrderUpdateAnywhere,
)
from app.schemas.orders.explanation import ExplainedStep, OrderExplanation, Refundable
from app.schemas.orders.query import OrderFilters, OrderQuery, OrderSearch
from app.schemas.orders.refunds import OrderCancel, RefundCreate, RefundedLine, RefundLine, RefundRead
from app.schemas.orders.words import OrderStatus, PaymentStatus

__all__ = [
    "Address",
    "Availability",
    "CheckoutError",
    "CheckoutOpen",
    "CheckoutPaths",
    "Customer",
    "ExplainedStep",
    "HistoryEntry",
    "HoldRelease",
    "ManualPayment",
    "OrderAct",
    "OrderCancel",
    "OrderCreate",
    "OrderCreated",
    "OrderDetail",
    "OrderExplanation",
    "OrderFilters",
    "OrderItemRead",
    "OrderLine",
    "OrderPaymentRead",
    "OrderQuery",
    "OrderRead",
    "OrderReason",
    "OrderSearch",
    "OrderShip",
    "OrderStatus",
    "OrderSubmit",
    "OrderUpdate",
    "OrderUpdateAnywhere",
    "PaymentAccept",
    "PaymentStatus",
    "QuoteRead",
    "RefundCreate",
    "RefundLine",
    "RefundRead",
    "Refundable",
    "RefundedLine",
    "ShippedLine",
]
