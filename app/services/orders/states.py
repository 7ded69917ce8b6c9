"""The states of an order: which moves exist, which an act can bring about now, and the refusals."""

from collections.abc import Mapping
from typing import Any

from app.core.errors import Conflict, Invalid, translate_constraint
from app.models.orders import Order
from app.models.orders.order import ORDER_STATUSES, PAYMENT_STATUSES

STATUS_MOVES: Mapping[str, tuple[str, ...]] = {
    "draft": ("pending", "cancelled"),
    "pending": ("confirmed", "cancelled", "expired"),
    "confirmed": ("processing", "shipped", "cancelled"),
    "processing": ("shipped", "cancelled"),
    "shipped": ("delivered", "returned"),
    "delivered": ("returned",),
    "expired": ("confirmed", "cancelled"),
}
"""The moves of `status`, as the table `order_transitions` holds them, which the database checks again."""

PAYMENT_STATUS_MOVES: Mapping[str, tuple[str, ...]] = {
    "unpaid": ("pending", "authorized", "paid", "failed"),
    "pending": ("paid", "authorized", "failed", "unpaid"),
    "authorized": ("paid", "unpaid"),
    "failed": ("pending", "authorized", "paid", "unpaid"),
    "paid": ("partially_refunded", "refunded", "disputed", "charged_back"),
    "partially_refunded": ("paid", "refunded", "disputed", "charged_back"),
    "refunded": ("paid", "partially_refunded", "disputed", "charged_back"),
    "disputed": ("paid", "partially_refunded", "refunded", "charged_back"),
    "charged_back": ("paid", "partially_refunded"),
}
"""The moves of `payment_status`."""

UNPAID = frozenset({"unpaid", "failed"})
"""No money has arrived, and none is on its way."""

UNDER_WAY = frozenset({"pending", "authorized"})
"""Money is on its way, or promised."""

DISPUTED = frozenset({"disputed", "charged_back"})
"""The buyer's bank decides over the money."""

SHIPPABLE = frozenset({"paid", "partially_refunded"})

translate_constraint("orders_metadata", Invalid("metadata_too_large", "`metadata` is too large."))
translate_constraint(
    "orders_transition",
    Conflict(
        "invalid_transition", "The order's state does not allow this move; see its `available_transitions`."
    ),
)


def is_cancellable(order: Order) -> bool:
    """Whether an act can cancel the order now.

    Money that is there can be given back with it. What is on its way must arrive first, and what was paid for
    an expired order must have gone back.
    """
    match order.status:
        case "pending":
            return order.payment_status in UNPAID and order.hold_reason is None
        case "expired":
            return order.payment_status in UNPAID or order.payment_status == "refunded"
        case "confirmed" | "processing":
            # What is only authorised is let go with the order.
            return order.payment_status != "pending"
        case _:
            return order.payment_status not in UNDER_WAY


def available_transitions(order: Order) -> list[str]:
    """The statuses that an act can bring about now; who may do so is another question."""
    return [target for target in STATUS_MOVES.get(order.status, ()) if _can_become(order, target)]


def transitions_by_state() -> dict[tuple[str, str, bool], list[str]]:
    """The same for every status, payment status and whether the order is on hold."""
    return {
        (status, payment_status, hold is not None): available_transitions(
            Order(status=status, payment_status=payment_status, hold_reason=hold)
        )
        for status in ORDER_STATUSES
        for payment_status in PAYMENT_STATUSES
        for hold in (None, "manual")
    }


def _can_become(order: Order, target: str) -> bool:
    match target:
        case "expired" | "returned":
            return False
        case "confirmed":
            return order.status in {"pending", "expired"} and order.payment_status in UNPAID
        case "processing":
            return order.hold_reason is None
        case "shipped":
            return order.hold_reason is None and order.payment_status in SHIPPABLE
        case "cancelled":
            return is_cancellable(order)
        case _:
            return True


def invalid_transition(order: Order, target: str) -> Conflict:
    """409: the order is in a state from which this act does not lead to `target`."""
    members: dict[str, Any] = {
        "from": order.status,
        "to": target,
        "allowed": available_transitions(order),
    }
    detail = f"The order is {order.status}; see `allowed` for what can be done with it now."
    return Conflict("invalid_transition", detail, **members)


def refuse_hold(order: Order) -> None:
    """Raise 409 `order_on_hold` when something stops fulfilment."""
    if order.hold_reason is not None:
        raise Conflict(
            "order_on_hold", "The order is on hold; release it first.", hold_reason=order.hold_reason
        )
