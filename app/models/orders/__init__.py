"""Tables of the area orders."""

from app.models.orders.history import OrderStatusHistory, OrderTransition
from app.models.orders.money import OrderPayment, Refund
from app.models.orders.order import Order
from app.models.orders.order_item import OrderItem
from app.models.orders.order_settings import OrderSettings
from app.models.orders.pricing import DiscountCode, DiscountRedemption, ShippingRate, TaxRate

__all__ = [
    "DiscountCode",
    "DiscountRedemption",
    "Order",
    "OrderItem",
    "OrderPayment",
    "OrderSettings",
    "OrderStatusHistory",
    "OrderTransition",
    "Refund",
    "ShippingRate",
    "TaxRate",
]
