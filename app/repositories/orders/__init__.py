"""The questions to the tables of orders."""

from app.repositories.orders.basket import BasketRows, read_basket
from app.repositories.orders.discounts import DiscountRepository
from app.repositories.orders.orders import OrderRepository, OrderView
from app.repositories.orders.placing import Placed, PlacingRepository
from app.repositories.orders.settings import OrderSettingsRepository

__all__ = [
    "BasketRows",
    "DiscountRepository",
    "OrderRepository",
    "OrderSettingsRepository",
    "OrderView",
    "Placed",
    "PlacingRepository",
    "read_basket",
]
