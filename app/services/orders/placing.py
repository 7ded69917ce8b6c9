"""Placing orders: from a basket at once, or from a draft that was kept for later."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import FieldError, Invalid, NotFound
from app.core.events import emit
from app.core.ids import uuid7
from app.models.orders import Order, OrderItem
from app.repositories.base import detached
from app.repositories.orders.orders import terms_vector
from app.repositories.orders.placing import PlacingRepository, Terms
from app.schemas.orders import (
    OrderCreate,
    OrderCreated,
    OrderDetail,
    OrderLine,
    OrderSubmit,
)
from app.services.billing.order_invoices import invoice_order
from app.services.billing.usage import Meter, count
from app.services.orders.basket import Basket, BasketService
from app.services.orders.desk import Etags, OrderDesk
from app.services.orders.events import OrderEvent, OrderPaid, OrderPlaced, order_event
from app.services.orders.lines import address_column, customer_columns, order_terms, term_scope
from app.services.orders.numbers import order_series
from app.services.orders.payment import OrderPaymentService
from app.services.orders.sales import Sale, SaleService, held_until, refuse_changed
from app.services.orders.states import invalid_transition
from app.services.orders.views import order_members
from app.services.products.stock import StockService


class PlacingService:
    """Makes orders in one transaction without network: stock, code, number and rows, or none of them."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        if principal.organization_id is None:
            raise NotFound()
        self.session = session
        self.principal = principal
        self.organization_id: UUID = principal.organization_id
        self.desk = OrderDesk(session, principal)
        self.baskets = BasketService(session, principal)
        self.sales = SaleService(session, principal)
        self.stock = StockService(session, principal)
        self.payments = OrderPaymentService(session, principal)
        self.placing = PlacingRepository(session, principal.organization_id)

    async def create(self, body: OrderCreate) -> OrderCreated:
        """Place an order, or keep a draft; a page to pay it on is the affair of checkouts.

        What may refuse is judged in the order of the code: 422 `customer_email_required`; the refusals of a
        basket; 409 `insufficient_stock`; 422 `discount_not_applicable`; 409 `price_changed`; 402
        `quota_exceeded`.
        """
        columns = self._columns(body)
        if body.status == "pending":
            refuse_nameless(columns["customer_email"])
        basket = await self.baskets.read(
            body.items,
            addresses=(body.shipping_address, body.billing_address),
            shipping_code=body.shipping_code,
            currency=body.currency,
            lock=body.status == "pending",
        )
        if body.status == "draft":
            return await self._keep_draft(columns, basket, body)
        return self._created(*await self._place(columns, basket, body))

    async def submit(self, reference: str, body: OrderSubmit, etags: Etags) -> OrderDetail:
        """Place a draft at today's prices; refuses as `create` does, and 409 `invalid_transition`."""
        order = await self.desk.take(reference, version=body.version, etags=etags)
        return await self.desk.put_back(order, *await self.place_draft(order, body.expected_total))

    async def place_draft(self, order: Order, expected_total: int | None = None) -> list[type[OrderEvent]]:
        """Make a locked draft a pending order, or a confirmed one if it costs nothing."""
        if order.status != "draft":
            raise invalid_transition(order, "pending")
        refuse_nameless(order.customer_email)
        basket = await self.read_again(order)
        reserved = await self.stock.rehold(order.id, basket.quantities)
        email = order.customer_email_canonical
        sale = await self.sales.sell(
            basket,
            reserved.values(),
            discount_code=order.discount_code,
            email=email,
            expected_total=expected_total,
        )
        await self.sales.keep(sale, order.id, email)
        await self.rewrite(order, sale)
        await count(self.session, self.organization_id, "orders", 1, order.id)
        now = await self.session.now()
        order.order_number = await self.placing.next_number(order_series(basket.settings, now))
        order.status = "pending"
        order.placed_at = now
        order.payment_method = "none" if sale.is_free else order.payment_method
        order.reservation_expires_at = held_until(basket.settings, order.payment_method, now)
        self.reindex(order, basket)
        await self.session.flush()
        if not sale.is_free:
            return [OrderPlaced]
        events = await self.payments.settle(order)
        await invoice_order(self.session, order)
        return [OrderPlaced, *events]

    async def read_again(self, order: Order) -> Basket:
        """The basket of an order's stored lines, as products and rates are now."""
        stored = await self.desk.orders.items(order.id)
        return await self.baskets.read(
            [line_of(item) for item in stored],
            addresses=(order.shipping_address, order.billing_address),
            shipping_code=order.shipping_code,
            currency=order.currency,
        )

    async def rewrite(self, order: Order, sale: Sale) -> None:
        """Give a locked order the lines and the amounts of a sale."""
        await self.desk.orders.replace_items(order.id, sale.items(order.id))
        for name, value in sale.columns().items():
            setattr(order, name, value)

    def reindex(
        self, order: Order, basket: Basket | None = None, items: list[OrderItem] | None = None
    ) -> None:
        """Write the search terms of a locked order anew, from its basket or its stored lines."""
        if basket is not None:
            lines = [(line.product.sku, line.product.name) for line in basket.lines]
        else:
            lines = [(item.sku, item.name) for item in items or []]
        columns = {
            name: getattr(order, name)
            for name in (
                "customer_email",
                "customer_name",
                "customer_phone",
                "shipping_address",
                "billing_address",
            )
        }
        number = (order.order_number or "",)
        order.search = terms_vector(order_terms(self.organization_id, number, columns, lines))

    async def _place(
        self, columns: Mapping[str, Any], basket: Basket, body: OrderCreate
    ) -> tuple[Order, list[dict[str, Any]]]:
        """Steps 4 to 8 of placing an order; answers it with its lines as JSON values."""
        order_id: UUID = columns["id"]
        held = await self.stock.hold(order_id, basket.wanted)
        email = columns["customer_email_canonical"]
        sale = await self.sales.sell(
            basket,
            held.values(),
            discount_code=body.discount_code,
            email=email,
            expected_total=body.expected_total,
        )
        now = await self.session.now()
        method = "none" if sale.is_free else body.payment_method
        row = {
            **columns,
            **sale.columns(),
            "status": "pending",
            "payment_method": method,
            "placed_at": now,
            "reservation_expires_at": held_until(basket.settings, method, now),
        }
        items = sale.items(order_id)
        meter = Meter(self.session, self.organization_id, "orders")
        use = meter.use(str(order_id), 1, now)
        series = order_series(basket.settings, now)
        names = [(item["sku"], item["name"]) for item in items]
        words = order_terms(self.organization_id, (series.prefix, series.year), row, names)
        counted, placed = await self.placing.place(
            row,
            series=series,
            use=use,
            terms=Terms(words, term_scope(self.organization_id)),
            items=items,
            reservations=self.stock.reservation_rows(held),
            movements=self.stock.movement_rows(held),
            redemption=sale.redemption(order_id, email),
        )
        if placed is None:
            raise await meter.exceeded(use, counted)
        await meter.tell(use, counted)
        if sale.is_free:
            return await self._settle_free(order_id)
        given = {name: getattr(placed, name) for name in ("order_number", "created_at", "updated_at")}
        order = detached(Order, as_attributes({**row, **given}))
        await emit(self.session, order_event(OrderPlaced, order, items))
        return order, items

    async def _settle_free(self, order_id: UUID) -> tuple[Order, list[dict[str, Any]]]:
        """An order that costs nothing is paid as soon as it is placed."""
        order = await self.desk.orders.locked(str(order_id))
        if order is None:
            raise LookupError("an order was placed and cannot be read")
        await self.payments.settle(order)
        await invoice_order(self.session, order)
        await self.session.flush()
        view = await self.desk.view(order)
        for kind in (OrderPlaced, OrderPaid):
            await emit(self.session, order_event(kind, view.order, view.items))
        return view.order, view.items

    async def _keep_draft(
        self, columns: Mapping[str, Any], basket: Basket, body: OrderCreate
    ) -> OrderCreated:
        """Write a draft: priced, but without number, stock or redemption, and nothing is told of it."""
        sale = await self.sales.estimate(
            basket, discount_code=body.discount_code, email=columns["customer_email_canonical"]
        )
        refuse_changed(sale.pricing, body.expected_total)
        order = Order(**as_attributes({**columns, **sale.columns(), "status": "draft"}))
        order.organization_id = self.organization_id
        self.reindex(order, basket)
        await self.desk.orders.add(order)
        await self.desk.orders.replace_items(order.id, sale.items(order.id))
        view = await self.desk.view(order)
        return self._created(view.order, view.items)

    def _created(self, order: Order, items: Any) -> OrderCreated:
        members = order_members(order, items, self.principal)
        return OrderCreated.model_validate({**members, "checkout_error": None})

    def _columns(self, body: OrderCreate) -> dict[str, Any]:
        """The columns of a new order that do not hang on its price."""
        return {
            "id": uuid7(),
            "user_id": self.principal.user_id,
            "channel": "api" if self.principal.kind == "api_key" else "dashboard",
            "payment_status": "unpaid",
            "payment_method": body.payment_method,
            "amount_paid": 0,
            "amount_refunded": 0,
            "amount_refund_pending": 0,
            **customer_columns(body.customer),
            "shipping_address": address_column(body.shipping_address),
            "billing_address": address_column(body.billing_address),
            "shipping_code": body.shipping_code,
            "notes": body.notes,
            "internal_notes": body.internal_notes,
            "metadata": body.metadata,
            "version": 1,
        }


def as_attributes(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of `orders` under the names that they have in its class."""
    return {"metadata_" if name == "metadata" else name: value for name, value in columns.items()}


def line_of(item: OrderItem) -> OrderLine:
    """A stored line as what was asked for."""
    if item.product_id is None:
        raise NotFound("product_not_found", f"The product of line {item.position} is gone; replace the line.")
    return OrderLine(product_id=item.product_id, quantity=item.quantity, customization=item.customization)


def refuse_nameless(email: str | None) -> None:
    """Raise 422 `customer_email_required`: only a draft may do without the buyer's address."""
    if email is None:
        detail = "Send the buyer's e-mail address."
        fault = FieldError("/customer/email", "customer_email_required", detail)
        raise Invalid("customer_email_required", detail, errors=[fault])
