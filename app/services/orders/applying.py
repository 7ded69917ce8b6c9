"""Money that Stripe has taken for an order: what it does there, in whatever state the order is by then."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from app.core.access import STRIPE, Principal
from app.core.database import ScopedSession
from app.core.events import emit
from app.core.ids import uuid7
from app.models.orders import Order, OrderPayment
from app.repositories.orders.checkouts import OrderCommandRepository
from app.repositories.orders.orders import OrderRepository
from app.repositories.orders.refunds import PaymentRepository
from app.repositories.orders.settings import OrderSettingsRepository
from app.services.billing.order_invoices import invoice_order
from app.services.billing.order_money import record_charge
from app.services.orders.checkout_state import expire_checkout
from app.services.orders.events import (
    OrderActionRequired,
    OrderCompleted,
    OrderEventKind,
    OrderOversold,
    OrderPaid,
    OrderPaymentFailed,
    OrderPaymentHeld,
    OrderUpdated,
    order_event,
)
from app.services.orders.intents import is_voucher, misfit, release_authorisation
from app.services.orders.lines import product_ids
from app.services.orders.provider import CLOSE_CHECKOUT, OPEN_CHECKOUT
from app.services.orders.provider_refunds import refund_all
from app.services.orders.states import PAYMENT_STATUS_MOVES, UNPAID
from app.services.products.stock import Actor, StockService
from app.services.stripe_webhooks.effects import (
    CustomerConflict,
    EventDead,
    EventOutrun,
    EventUnresolved,
)

logger = structlog.get_logger(__name__)

SECOND_CHANCE = timedelta(minutes=45)
"""How long stock is held again after a payment that was under way has failed."""

CLOSED = frozenset({"cancelled", "returned"})

PASSING = frozenset({"processing", "requires_action", "requires_payment_method"})
"""States of an intent that any other may follow: what is not new may be wrong by now."""

AUTHENTICATION_REQUIRED = "authentication_required"
"""What `payment_failure_code` says while the buyer has not confirmed a payment (3-D Secure)."""

Events = list[OrderEventKind] | None
"""What is to be told of a changed order; None when nothing was changed."""


class PaymentApplier:
    """Applies PaymentIntents to orders of one organisation, each once however often it is told of.

    `fetched_at` is the database's time before they were fetched; None where nothing may have come between.
    """

    def __init__(
        self,
        session: ScopedSession,
        organization_id: UUID,
        cause: str,
        *,
        fetched_at: datetime | None = None,
    ) -> None:
        self.session = session
        self.organization_id = organization_id
        self.fetched_at = fetched_at
        principal = Principal(kind="system", name=STRIPE, organization_id=organization_id)
        self.stock = StockService(session, principal, actor=Actor("stripe", cause))
        self.orders = OrderRepository(session, organization_id)
        self.payments = PaymentRepository(session, organization_id)

    async def take(self, order_id: UUID) -> Order:
        """The order, locked. EventUnresolved when it is not here, CustomerConflict when it is another's."""
        order = await self.orders.locked(str(order_id))
        if order is not None:
            return order
        if await OrderRepository(self.session).id_of(str(order_id)) is not None:
            raise CustomerConflict(str(order_id))
        raise EventUnresolved("the order is not here")

    async def put_back(self, order: Order, events: Events) -> None:
        """Write the changed order as its next version, and tell what has happened."""
        if events is None:
            return
        order.version += 1
        await self.session.flush()
        view = await self.orders.view(order.id)
        if view is None:
            raise LookupError("a locked order cannot be read")
        for kind in events:
            event = order_event(kind, view.order, view.items)
            await emit(self.session, event, organization_id=self.organization_id)

    async def apply_payment(self, order: Order, intent: dict[str, Any], *, is_agreed: bool = False) -> None:
        """Bring a locked order to what its PaymentIntent says; an old or repeated intent changes nothing.

        `is_agreed`: the buyer has completed the page, and may still have to pay elsewhere. EventOutrun when
        the order's payment has moved since the intent was fetched: nobody knows which of both is newer.
        """
        if (
            self.fetched_at is not None
            and intent["status"] in PASSING
            and await self.orders.payment_moved_since(order.id, self.fetched_at)
        ):
            raise EventOutrun(f"the payment of order {order.id}")
        match intent["status"]:
            case "succeeded" | "requires_capture":
                events = await self._arrived(order, intent)
            case "processing":
                events = await self._under_way(order, intent)
            case "requires_action" if is_agreed:
                events = await self._under_way(order, intent)
            case "requires_action" if not is_voucher(intent):
                events = await self._asked(order, intent)
            case "requires_payment_method" if intent.get("last_payment_error"):
                events = await self._refused(order, intent)
            case "canceled":
                events = await self._cancelled(order, intent)
            case _:
                events = None
        await self.put_back(order, events)

    async def settle_free(self, order: Order) -> None:
        """Confirm a new order of a payment link that costs nothing; its stock is that of rules 6 to 8.

        One that has changed since it was placed was settled before.
        """
        if order.version > 1 or order.total_amount or order.payment_status != "unpaid":
            return
        events: list[OrderEventKind] = [OrderPaid]
        if order.status == "pending":
            await self.stock.commit(order.id)
        elif await self.stock.retake(order.id, product_ids(await self.orders.items(order.id))):
            events.append(OrderOversold)
            if not await self._may_backorder():
                await self.put_back(order, [OrderOversold])
                return
            order.hold_reason = "oversold"
        order.status, order.payment_status, order.payment_method = "confirmed", "paid", "none"
        order.paid_at = await self.session.now()
        await self.session.flush()
        await invoice_order(self.session, order)
        await self.put_back(order, events)

    async def _may_backorder(self) -> bool:
        """Whether a paid order whose stock is gone waits for more."""
        settings = await OrderSettingsRepository(self.session).of(self.organization_id)
        return settings is not None and settings.oversold_policy == "backorder"

    async def _arrived(self, order: Order, intent: dict[str, Any]) -> Events:
        """The ten cases of a payment that is there, or promised; the first that fits wins.

        EventDead for one that names a draft, which cannot be paid: somebody has to look at that money.
        """
        if order.status == "draft":
            raise EventDead("order_not_placed", str(order.id))
        is_captured = intent["status"] == "succeeded"
        payments = await self.payments.of_order(order.id)
        row = next((p for p in payments if p.stripe_payment_intent_id == intent["id"]), None)
        if row is not None:
            if row.status != "authorized" or not is_captured:
                return None
            return await self._captured(order, row, intent["amount_received"])
        row = await self._row(order, intent, is_captured=is_captured)
        reason = misfit(order, row, payments)
        if reason is not None:
            return await self._unapplied(order, row, reason)
        return await self._fitting(order, row)

    async def _fitting(self, order: Order, row: OrderPayment) -> Events:
        """Rules 4 and 6 to 10: by where the goods are."""
        if order.status in CLOSED:
            return await self._too_late(order, row, "order_closed", [])
        if order.status == "expired":
            return await self._revive(order, row)
        if order.status == "pending":
            await self.stock.commit(order.id)
            order.status = "confirmed"
        return await self._settle(order, row)

    async def _row(self, order: Order, intent: dict[str, Any], *, is_captured: bool) -> OrderPayment:
        """The payment's row, not yet in the session: what becomes of it is not decided."""
        return OrderPayment(
            organization_id=order.organization_id,
            id=uuid7(),
            order_id=order.id,
            method="stripe",
            stripe_payment_intent_id=intent["id"],
            amount=intent["amount_received"] if is_captured else intent["amount_capturable"],
            currency=intent["currency"].upper(),
            status="applied" if is_captured else "authorized",
            amount_refunded=0,
            amount_refund_pending=0,
            received_at=await self.session.now() if is_captured else None,
        )

    async def _unapplied(self, order: Order, row: OrderPayment, reason: str) -> Events:
        """Rules 2 and 3: money that does not fit lies beside the order."""
        if row.status == "authorized":
            return await self._let_go(order, row)
        row.status, row.unapplied_reason = "unapplied", reason
        await self._write(order, row)
        if reason == "duplicate":
            await refund_all(self.session, order, row, "duplicate")
            return [OrderUpdated]
        order.hold_reason = reason
        order.reservation_expires_at = None
        if order.payment_status == "pending":
            order.payment_status = "unpaid"
        return [OrderPaymentHeld]

    async def _revive(self, order: Order, row: OrderPayment) -> Events:
        """Rules 6 to 8: the order has expired; its stock may be there, and if not the settings decide."""
        short = await self.stock.retake(order.id, product_ids(await self.orders.items(order.id)))
        if not short:
            order.status = "confirmed"
            return await self._settle(order, row)
        if not await self._may_backorder():
            return await self._too_late(order, row, "oversold", [OrderOversold])
        order.status, order.hold_reason = "confirmed", "oversold"
        events = await self._settle(order, row)
        return [*(events or []), OrderOversold]

    async def _too_late(self, order: Order, row: OrderPayment, reason: str, events: Events) -> Events:
        """Rules 7 and 9: the money is written down, and goes back at once."""
        if row.status == "authorized":
            return await self._let_go(order, row)
        self._mark_paid(order, row)
        await self._write(order, row)
        await refund_all(self.session, order, row, reason)
        return events or [OrderUpdated]

    async def _let_go(self, order: Order, row: OrderPayment) -> Events:
        """Give up an authorisation that the order has no use for: nothing was taken yet."""
        row.status = "voided"
        await self._write(order, row)
        await release_authorisation(self.session, row)
        return [OrderUpdated]

    async def _settle(self, order: Order, row: OrderPayment) -> Events:
        """Rules 4, 6, 8 and 10: the order is paid, or its payment is authorised."""
        if row.status == "authorized":
            order.payment_status = "authorized"
            order.payment_failure_code = None
            order.reservation_expires_at = None
            if order.hold_reason == "payment_lapsed":
                order.hold_reason = None
            await self._write(order, row)
            return [OrderUpdated]
        self._mark_paid(order, row)
        return await self._write_paid(order, row)

    async def _captured(self, order: Order, row: OrderPayment, amount: int) -> Events:
        """Rule 5: what was authorised has been taken; another amount than the whole holds the order."""
        row.status, row.amount, row.received_at = "applied", amount, await self.session.now()
        self._mark_paid(order, row)
        if order.status in CLOSED:
            await self._write(order, row)
            await refund_all(self.session, order, row, "order_closed")
            return [OrderUpdated]
        if amount != order.total_amount and order.hold_reason is None:
            order.hold_reason = "amount_mismatch"
        return await self._write_paid(order, row)

    def _mark_paid(self, order: Order, row: OrderPayment) -> None:
        order.payment_status = "paid"
        order.amount_paid = row.amount
        order.payment_failure_code = None
        order.paid_at = row.received_at
        order.reservation_expires_at = None
        if order.hold_reason == "payment_lapsed":
            order.hold_reason = None

    async def _write_paid(self, order: Order, row: OrderPayment) -> Events:
        events: list[OrderEventKind] = [OrderPaid]
        if order.delivered_at is not None and order.completed_at is None:
            order.completed_at = row.received_at
            events.append(OrderCompleted)
        self.session.add(row)
        await self.session.flush()
        await record_charge(self.session, order, row, await invoice_order(self.session, order))
        return events

    async def _write(self, order: Order, row: OrderPayment) -> None:
        """Write a payment for which no invoice is issued; money that is there stands in the ledger."""
        self.session.add(row)
        await self.session.flush()
        if row.received_at is not None:
            await record_charge(self.session, order, row, None)

    async def _under_way(self, order: Order, intent: dict[str, Any]) -> Events:
        """A debit takes days: the stock waits for it, and no newer page is left on which to pay again."""
        if not self._move(order, "pending"):
            return None
        order.reservation_expires_at = None
        if not await self._is_current(order, intent):
            await expire_checkout(self.session, order)
        if order.payment_failure_code == AUTHENTICATION_REQUIRED:
            order.payment_failure_code = None
        return [OrderUpdated]

    async def _asked(self, order: Order, intent: dict[str, Any]) -> Events:
        """The bank wants the buyer's consent (3-D Secure): kept, and told to the buyer."""
        if order.payment_status not in UNPAID or order.payment_failure_code == AUTHENTICATION_REQUIRED:
            return None
        if order.status in CLOSED or not await self._is_current(order, intent):
            return None
        order.payment_failure_code = AUTHENTICATION_REQUIRED
        return [OrderUpdated, OrderActionRequired]

    async def _refused(self, order: Order, intent: dict[str, Any]) -> Events:
        if order.payment_status in {"paid", "authorized"} or not await self._is_current(order, intent):
            return None
        error = intent["last_payment_error"]
        code = str(error.get("decline_code") or error.get("code") or "generic_decline")[:100]
        if order.payment_status == "failed" and order.payment_failure_code == code:
            return None
        if order.payment_status != "failed" and not self._move(order, "failed"):
            return None
        order.payment_failure_code = code
        await self._hold_again(order)
        return [OrderPaymentFailed]

    async def _cancelled(self, order: Order, intent: dict[str, Any]) -> Events:
        """An authorisation that was let go or has lapsed, or an attempt that nobody finished."""
        row = await self.payments.of_intent(order.organization_id, intent["id"])
        if row is not None:
            if row.status != "authorized" or not self._move(order, "unpaid"):
                return None
            row.status = "voided"
            if order.status not in CLOSED and order.hold_reason is None:
                order.hold_reason = "payment_lapsed"
            return [OrderUpdated]
        if order.payment_status not in {"pending", "failed"} or not await self._is_current(order, intent):
            return None
        self._move(order, "unpaid")
        await self._hold_again(order)
        return [OrderUpdated]

    async def _hold_again(self, order: Order) -> None:
        """Let a pending order expire again whose stock waited for a payment that did not come."""
        if order.status == "pending" and order.reservation_expires_at is None and order.hold_reason is None:
            order.reservation_expires_at = await self.session.now() + SECOND_CHANCE

    async def _is_current(self, order: Order, intent: dict[str, Any]) -> bool:
        """Whether an intent is that of the newest checkout: what became of older ones does not matter.

        Unless the payment that is under way is one of theirs, for which the newest page was closed.
        """
        commands = OrderCommandRepository(self.session, self.organization_id)
        newest = await commands.latest(order.id, OPEN_CHECKOUT)
        named = (intent.get("metadata") or {}).get("command_id")
        if newest is None or named in {None, str(newest.id)}:
            return True
        if order.payment_status != "pending":
            return False
        closing = await commands.latest(order.id, CLOSE_CHECKOUT)
        return (
            closing is not None
            and closing.params["session"] == newest.result_id
            and (closing.result or {}).get("status") == "expired"
        )

    def _move(self, order: Order, target: str) -> bool:
        """Move the payment status if that is a move; what Stripe tells too late is no error."""
        if target in PAYMENT_STATUS_MOVES[order.payment_status]:
            order.payment_status = target
            return True
        logger.info("order_payment_unmoved", order_id=str(order.id), at=order.payment_status, to=target)
        return False
