"""The open checkout of an order: kept when Stripe has opened it, cleared when it is over."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from app.core.config import get_settings
from app.core.database import ScopedSession
from app.models.orders import Order
from app.repositories.orders.checkouts import OrderCommandRepository
from app.services.orders.provider import CLOSE_CHECKOUT, OPEN_CHECKOUT
from app.services.orders.states import UNPAID
from app.services.stripe_webhooks.commands import StripeCommandRow, queue_command

if TYPE_CHECKING:
    from app.services.orders.applying import PaymentApplier


def is_payable(order: Order) -> bool:
    """Whether a checkout may be open for the order."""
    return order.status in {"pending", "confirmed"} and order.payment_status in UNPAID


def held_until_after(expires_at: datetime) -> datetime:
    """How long stock is held for a session: a payment at the last moment still finds it."""
    return expires_at + timedelta(minutes=get_settings().order_expiry_grace_minutes)


async def expire_checkout(session: ScopedSession, order: Order) -> None:
    """Let Stripe close the open checkout of a locked order, if it has one."""
    if order.stripe_checkout_session_id is not None and order.checkout_url is not None:
        await _close(session, order, order.stripe_checkout_session_id)
        order.checkout_url = None


async def keep_checkout(applier: "PaymentApplier", command: StripeCommandRow, opened: dict[str, Any]) -> None:
    """Write an opened session on its order; one that is out of date is closed again."""
    order = await applier.take(command.subject_id)
    commands = OrderCommandRepository(applier.session, applier.organization_id)
    newest = await commands.latest(order.id, OPEN_CHECKOUT)
    is_newest = newest is not None and newest.id == command.id
    if not is_newest or not is_payable(order) or opened.get("amount_total") != order.total_amount:
        await _close(applier.session, order, opened["id"])
        return
    order.stripe_checkout_session_id = opened["id"]
    order.checkout_url = opened.get("url")
    order.checkout_expires_at = datetime.fromtimestamp(opened["expires_at"], UTC)
    if order.status == "pending" and order.hold_reason is None:
        order.reservation_expires_at = held_until_after(order.checkout_expires_at)
    order.payment_method = "checkout"
    await applier.put_back(order, [])


async def close_checkout(applier: "PaymentApplier", order: Order, found: dict[str, Any]) -> None:
    """Clear the address of a session that is not open any more."""
    is_its = order.stripe_checkout_session_id == found["id"]
    if is_its and found["status"] != "open" and order.checkout_url is not None:
        order.checkout_url = None
        await applier.put_back(order, [])


async def _close(session: ScopedSession, order: Order, session_id: str) -> None:
    await queue_command(
        session,
        order.organization_id,
        CLOSE_CHECKOUT,
        subject_type="order",
        subject_id=order.id,
        params={"session": session_id},
    )
