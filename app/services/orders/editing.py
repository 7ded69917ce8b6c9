"""Changing an order's fields, its basket while it is not paid, and its status by naming the one wanted."""

from collections.abc import Sequence
from typing import Any

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Conflict, FieldError, Invalid
from app.models.orders import Order
from app.schemas.orders import OrderCancel, OrderDetail, OrderUpdate
from app.services.billing.order_invoices import invoice_order
from app.services.orders.basket import BasketService
from app.services.orders.cancelling import CancellingService
from app.services.orders.checkout_state import expire_checkout
from app.services.orders.desk import Etags, OrderDesk
from app.services.orders.discounts import DiscountService
from app.services.orders.events import OrderEvent, OrderEventKind, OrderUpdated
from app.services.orders.faults import fault
from app.services.orders.fulfilment import FulfilmentService
from app.services.orders.lines import address_column, customer_columns
from app.services.orders.payment import OrderPaymentService
from app.services.orders.placing import PlacingService, refuse_nameless
from app.services.orders.sales import Sale, SaleService
from app.services.orders.states import UNPAID
from app.services.products.stock import StockService

BASKET = frozenset({"items", "shipping_code", "discount_code"})
BUYER = frozenset({"customer", "shipping_address", "billing_address"})
TRACKING = frozenset({"carrier", "tracking_number", "tracking_url"})
SETTABLE = ("pending", "processing", "shipped", "delivered", "cancelled")

OPEN_BASKET = frozenset({"draft", "pending"})
NOT_SHIPPED = frozenset({"draft", "pending", "confirmed", "processing"})
TERMINAL = frozenset({"cancelled", "returned"})


class EditingService:
    """Changes orders."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.desk = OrderDesk(session, principal)
        self.baskets = BasketService(session, principal)
        self.sales = SaleService(session, principal)
        self.discounts = DiscountService(session, principal)
        self.stock = StockService(session, principal)
        self.payments = OrderPaymentService(session, principal)
        self.placing = PlacingService(session, principal)
        self.fulfilment = FulfilmentService(session, principal)
        self.cancelling = CancellingService(session, principal)

    async def update(self, reference: str, body: OrderUpdate, etags: Etags) -> OrderDetail:
        """Apply the fields that were sent, then the act that `status` names.

        409 `order_locked`, `invalid_transition` and the refusals of the act; 412; 422 `version_required`,
        `status_not_settable`, and the refusals of a basket when it is priced anew.
        """
        sent = body.model_fields_set - {"version"}
        target = _target(body) if "status" in sent else None
        order = await self.desk.take(reference, version=body.version, etags=etags)
        self._refuse_locked(order, sent)
        if sent & BASKET and body.version is None and etags is None:
            detail = "Send the `version` that was read, or `If-Match`."
            raise Invalid("version_required", detail, errors=[FieldError("/version", "required", detail)])
        fields = sent - {"status"}
        events: list[OrderEventKind] = []
        if fields:
            events += await self._apply(order, body, fields)
        if target is not None and target != order.status:
            await self.session.flush()
            events = [kind for kind in events if kind is not OrderUpdated]
            events += await self._act(order, target)
        elif not fields:
            return await self.desk.unchanged(order)
        return await self.desk.put_back(order, *events)

    def _refuse_locked(self, order: Order, sent: set[str]) -> None:
        """Raise 409 `order_locked` when a field can't be changed any more."""
        rules = (
            (BASKET, order.status in OPEN_BASKET and order.payment_status in UNPAID),
            (BUYER, order.status in NOT_SHIPPED),
            (TRACKING, order.status not in TERMINAL),
        )
        locked = sorted(name for names, is_open in rules if not is_open for name in sent & names)
        if locked:
            raise Conflict(
                "order_locked",
                f"These fields can't be changed once an order is {order.status} and {order.payment_status}.",
                errors=[
                    FieldError(f"/{name}", "order_locked", "Not changeable any more.") for name in locked
                ],
            )

    async def _apply(self, order: Order, body: OrderUpdate, fields: set[str]) -> list[type[OrderEvent]]:
        for name in fields & {"notes", "internal_notes", *TRACKING}:
            setattr(order, name, getattr(body, name))
        if "metadata" in fields:
            order.metadata_ = body.metadata
        self._apply_buyer(order, body, fields)
        if not fields & BASKET:
            if order.discount_code is not None and "email" in body.customer.model_fields_set:
                await self.discounts.readdress(order.id, order.customer_email_canonical)
            if fields & BUYER:
                items = await self.desk.orders.items(order.id)
                self.placing.reindex(order, items=items)
            return [OrderUpdated]
        return await self._reprice(order, body, fields)

    def _apply_buyer(self, order: Order, body: OrderUpdate, fields: set[str]) -> None:
        """Change those members of the buyer that were sent, and the addresses."""
        if "customer" in fields:
            columns: dict[str, Any] = customer_columns(body.customer)
            for name in body.customer.model_fields_set:
                setattr(order, f"customer_{name}", columns[f"customer_{name}"])
                if name == "email":
                    order.customer_email_canonical = columns["customer_email_canonical"]
            if order.status != "draft":
                refuse_nameless(order.customer_email)
        for name in fields & {"shipping_address", "billing_address"}:
            setattr(order, name, address_column(getattr(body, name)))

    async def _reprice(self, order: Order, body: OrderUpdate, fields: set[str]) -> list[type[OrderEvent]]:
        """Price the basket anew; of a pending order, move its stock by the difference and its code anew."""
        if "shipping_code" in fields:
            order.shipping_code = body.shipping_code
        code = body.discount_code if "discount_code" in fields else order.discount_code
        if "items" in fields:
            basket = await self.baskets.read(
                body.items,
                addresses=(order.shipping_address, order.billing_address),
                shipping_code=order.shipping_code,
                currency=order.currency,
            )
        else:
            basket = await self.placing.read_again(order)
        email = order.customer_email_canonical
        if order.status == "draft":
            sale = await self.sales.estimate(basket, discount_code=code, email=email)
        else:
            reserved = await self.stock.rehold(order.id, basket.quantities)
            await self.discounts.give_up(order.id, code)
            sale = await self.sales.sell(basket, reserved.values(), discount_code=code, email=email)
            await self.sales.keep(sale, order.id, email)
            await expire_checkout(self.session, order)
        await self.placing.rewrite(order, sale)
        self.placing.reindex(order, basket)
        return [OrderUpdated, *await self._settle_if_free(order, sale)]

    async def _settle_if_free(self, order: Order, sale: Sale) -> list[type[OrderEvent]]:
        """A placed order whose new total is nothing is paid by that."""
        if order.status == "draft" or not sale.is_free:
            return []
        order.payment_method = "none"
        events = await self.payments.settle(order)
        await invoice_order(self.session, order)
        return events

    async def _act(self, order: Order, target: str) -> Sequence[OrderEventKind]:
        """Run the act that leads to `target`."""
        match target:
            case "pending":
                return await self.placing.place_draft(order)
            case "processing":
                return self.fulfilment.begin(order)
            case "shipped":
                return await self.fulfilment.send(order)
            case "delivered":
                return await self.fulfilment.arrive(order)
            case _:
                return await self.cancelling.end(order, OrderCancel())


def _target(body: OrderUpdate) -> str:
    """The status that is asked for; 422 `status_not_settable` when no act leads to it."""
    target = "cancelled" if body.status == "canceled" else body.status
    if target not in SETTABLE:
        detail = f"`status` is one of {', '.join(SETTABLE)}."
        raise fault("/status", "status_not_settable", detail)
    return target
