"""How an order is told to its reader: every member, and what only those who may write orders see."""

from collections.abc import Sequence
from typing import Any

from app.core.access import Principal
from app.core.permissions import Permission
from app.models.orders import Order
from app.repositories.orders.orders import OrderView
from app.schemas.orders import OrderDetail, OrderRead
from app.services.orders.states import available_transitions

HIDDEN = frozenset({"organization_id", "search", "customer_email_canonical"})

MEMBERS = tuple(
    (attribute.columns[0].name, attribute.key)
    for attribute in Order.__mapper__.column_attrs
    if attribute.key not in HIDDEN
)
"""The columns that are told, each with its attribute."""


def order_members(order: Order, items: Sequence[dict[str, Any]], principal: Principal) -> dict[str, Any]:
    """What a list tells of an order; `items` are its lines as JSON values or rows."""
    members = {name: getattr(order, attribute) for name, attribute in MEMBERS}
    if not principal.may(Permission.orders_write):
        members["internal_notes"] = None
    return {**members, "order_items": items, "available_transitions": available_transitions(order)}


def read(order: Order, items: Sequence[dict[str, Any]], principal: Principal) -> OrderRead:
    """An order as a list tells it."""
    return OrderRead.model_validate(order_members(order, items, principal))


def detail(view: OrderView, principal: Principal) -> OrderDetail:
    """A single order with what has happened to it."""
    members = order_members(view.order, view.items, principal)
    members["history"] = view.history
    members["refunds"] = view.refunds
    members["payments"] = view.payments if principal.may(Permission.orders_write) else None
    return OrderDetail.model_validate(members)
