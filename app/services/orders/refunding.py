"""Giving money back: refunds of lines, of shipping and of amounts, and what has come back with them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from uuid import UUID

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import Conflict, FieldError, Invalid, NotFound
from app.core.ids import uuid7
from app.core.paging import Keyset, PageQuery, Pager, Rows, Sort
from app.models.orders import Order, OrderItem, OrderPayment, Refund
from app.repositories.orders.orders import OrderRepository
from app.repositories.orders.refunds import LineChange, PaymentRepository, RefundRepository
from app.schemas.orders import RefundCreate, RefundLine, RefundRead
from app.services.billing.order_invoices import credit_refund
from app.services.billing.order_money import record_refund
from app.services.orders.desk import Etags, OrderDesk
from app.services.orders.events import OrderEventKind, OrderRefunded, OrderReturned, OrderUpdated, RefundFacts
from app.services.orders.faults import fault
from app.services.orders.provider_refunds import RefundCause, ask_refund, refund_row
from app.services.orders.refund_plan import LineRefund, RefundBasis, RefundPlan
from app.services.orders.states import DISPUTED
from app.services.products.stock import StockService

REFUNDABLE = frozenset({"applied", "unapplied"})
"""Payments whose money is there."""

RETURNABLE = frozenset({"shipped", "delivered"})
"""Orders that become returned when everything has come back."""


@dataclass(frozen=True, slots=True)
class RefundTerms:
    """Why money is given back, where it is found, and what else has happened."""

    reason: str
    note: str | None = None
    reference: str | None = None
    is_return: bool = False
    restock: bool = False


class RefundService:
    """Gives money back: by hand where it came by hand, else through the payment provider."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.desk = OrderDesk(session, principal)
        self.orders = OrderRepository(session)
        self.payments = PaymentRepository(session)
        self.refunds = RefundRepository(session)
        self.stock = StockService(session, principal)

    async def list(self, reference: str, query: PageQuery) -> Rows[Refund]:
        """A page of an order's refunds, newest first; 404."""
        order_id = await self._order_id(reference)
        pager = Pager(
            f"refunds:{order_id}",
            Keyset(Refund.created_at, Refund.id),
            {"-created_at": Sort(Refund.created_at, True, has_cursor=True)},
        )
        return await pager.rows(self.session, self.refunds.of_order(order_id), query, "-created_at")

    async def get(self, reference: str, refund_id: UUID) -> Refund:
        """One refund of an order; 404."""
        refund = await self.refunds.find(await self._order_id(reference), refund_id)
        if refund is None:
            raise NotFound()
        return refund

    async def create(self, reference: str, body: RefundCreate, etags: Etags) -> RefundRead:
        """Give money back, write down what has come back with it, and put it on the shelf if that is asked.

        404 also `payment_not_found`, `item_not_found`; 409 `order_disputed`, `nothing_to_refund`; 412; 422
        `refund_exceeds_paid`, `refund_quantity_exceeded`, `returned_quantity_exceeded`,
        `refund_shipping_exceeded`, `refund_amount_above_lines`, `refund_amount_only`, `reference_required`.
        Money that the payment provider took is asked back from it: the answer is `pending`.
        """
        reason = f"refund: {body.reason.replace('_', ' ')}"
        order = await self.desk.take(reference, version=body.version, etags=etags, reason=reason)
        payment = await self.payment_of(order, body.payment_id)
        items = await self.desk.orders.items(order.id) if body.lines else []
        plan = await self._plan(order, payment, _lines(items, body), body)
        if plan.amount and body.reference is None and payment.method != "stripe":
            raise fault("/reference", "reference_required", "Say where the refund is found in the books.")
        by_id = {item.id: item for item in items}
        may_restock = body.restock and has_taken_stock(order)
        changes = [_change(line, by_id[line.item_id], body, may_restock) for line in plan.lines]
        refund_id = uuid7()
        await self.restock(order, items, changes, refund_id)
        terms = RefundTerms(body.reason, body.note, body.reference, body.returned, may_restock)
        await self.count(changes)
        refund = await self.give_back(order, payment, plan, terms, refund_id)
        events = [told_of(refund)]
        if order.status in RETURNABLE and body.returned and _has_returned(items, changes):
            order.status = "returned"
            events.append(OrderReturned)
        await self.desk.put_back(order, *events)
        return RefundRead.model_validate(refund)

    async def payment_of(self, order: Order, payment_id: UUID | None = None) -> OrderPayment:
        """The payment that a refund is taken from: the one that was applied, unless another is named.

        404 `payment_not_found`; 409 `order_disputed`, `nothing_to_refund`.
        """
        if order.payment_status in DISPUTED:
            raise Conflict("order_disputed", "The buyer's bank holds this payment; wait for its decision.")
        payments = await self.payments.of_order(order.id)
        if payment_id is not None:
            payments = [payment for payment in payments if payment.id == payment_id]
            if not payments:
                raise NotFound("payment_not_found", "The order has no such payment.")
        else:
            payments = [payment for payment in payments if payment.status == "applied"]
        if not payments or payments[0].status not in REFUNDABLE:
            raise Conflict("nothing_to_refund", "No money has arrived that could be given back.")
        return payments[0]

    async def basis(self, order: Order) -> RefundBasis:
        """What the order's earlier refunds leave."""
        return RefundBasis(order, await self.refunds.shares(order.id))

    async def give_back(
        self, order: Order, payment: OrderPayment, plan: RefundPlan, terms: RefundTerms, refund_id: UUID
    ) -> Refund:
        """Claim a planned refund from the payment of a locked order, and write it down.

        It is done with that for money that was given back by hand; the payment provider is asked, and its
        answer ends the refund. 422 `refund_exceeds_paid`.
        """
        claimed = await self.payments.claim(payment.id, plan.amount)
        if claimed is None:
            sentence = "So much is not left of the payment; send an `amount` of at most `refundable`."
            raise Invalid(
                "refund_exceeds_paid",
                sentence,
                errors=[FieldError("/amount", "refund_exceeds_paid", sentence)],
                refundable=left_of(payment),
            )
        actor_id = self.principal.actor_id
        cause = RefundCause(
            **asdict(terms),
            actor_type=self.principal.actor_type,
            actor_id=None if actor_id is None else str(actor_id),
        )
        if claimed.method == "stripe" and plan.amount:
            refund = refund_row(order, claimed, plan, cause, refund_id, "pending")
            await ask_refund(self.session, order, claimed, refund)
            return refund
        _settle(order, claimed, plan.amount)
        refund = refund_row(order, claimed, plan, cause, refund_id, "succeeded")
        self.session.add(refund)
        note = await credit_refund(self.session, refund)
        await record_refund(self.session, refund, note, await self.session.now())
        return refund

    async def restock(
        self, order: Order, items: Iterable[OrderItem], changes: Sequence[LineChange], refund_id: UUID | None
    ) -> None:
        """Put the restocked units of lines back on the shelf; products come before payments in the locks."""
        products = {item.id: item.product_id for item in items}
        quantities: dict[UUID, int] = {}
        for change in changes:
            product_id = products[change.item_id]
            if product_id is not None and change.restocked:
                quantities[product_id] = quantities.get(product_id, 0) + change.restocked
        if quantities:
            await self.stock.restock(order.id, quantities, refund_id=refund_id)

    async def count(self, changes: Sequence[LineChange]) -> None:
        """Write the units of lines; 422 `refund_quantity_exceeded` is the wall behind the earlier checks."""
        if changes and await self.refunds.count_units(changes) != len(changes):
            raise fault("/lines", "refund_quantity_exceeded", "A line has fewer units left.")

    async def _plan(
        self,
        order: Order,
        payment: OrderPayment,
        lines: Sequence[tuple[OrderItem, int]],
        body: RefundCreate,
    ) -> RefundPlan:
        """What the body asks for, in money."""
        shipping = body.shipping_amount or 0
        has_parts = bool(lines or shipping)
        if payment.status == "unapplied":
            if has_parts:
                sentence = "This payment was not applied to the order's lines; send an `amount` alone."
                raise fault("/payment_id", "refund_amount_only", sentence)
            return RefundPlan(body.amount or 0)
        basis = await self.basis(order)
        if not has_parts:
            return basis.by_amount(body.amount or 0)
        if shipping > basis.shipping_left:
            sentence = "So much is not left of the shipping."
            raise Invalid(
                "refund_shipping_exceeded",
                sentence,
                errors=[FieldError("/shipping_amount", "refund_shipping_exceeded", sentence)],
                refundable=basis.shipping_left,
            )
        plan = basis.by_parts(lines, shipping)
        if body.amount is None:
            return plan
        if body.amount > plan.amount:
            sentence = f"Lines and shipping come to {plan.amount}; `amount` can only be lower."
            raise fault("/amount", "refund_amount_above_lines", sentence)
        return basis.by_parts(lines, shipping, amount=body.amount)

    async def _order_id(self, reference: str) -> UUID:
        order_id = await self.orders.id_of(reference)
        if order_id is None:
            raise NotFound()
        return order_id


def left_of(payment: OrderPayment) -> int:
    """What of a payment is neither given back nor on its way."""
    return payment.amount - payment.amount_refunded - payment.amount_refund_pending


def told_of(refund: Refund) -> OrderEventKind:
    """The event of a refund, but for what it says of its order; one under way is told when it ends."""
    if refund.status == "pending":
        return OrderUpdated
    facts = RefundFacts(refund_id=refund.id, amount=refund.amount, reason=refund.reason, status=refund.status)
    return partial(OrderRefunded, refund=facts)


def _settle(order: Order, payment: OrderPayment, amount: int) -> None:
    """Count a claimed refund as given back, on its payment and, if that was applied, on the locked order."""
    payment.amount_refund_pending -= amount
    payment.amount_refunded += amount
    if payment.status != "applied":
        return
    order.amount_refunded += amount
    if order.amount_refunded:
        is_whole = order.amount_refunded == order.amount_paid
        order.payment_status = "refunded" if is_whole else "partially_refunded"


def has_taken_stock(order: Order) -> bool:
    """Whether a paid order has its pieces; one that is held as oversold takes them when the hold ends."""
    return order.hold_reason != "oversold"


def _change(line: LineRefund, item: OrderItem, body: RefundCreate, may_restock: bool) -> LineChange:
    """What a refund of this line counts. A unit that is on the shelf already is not put there twice."""
    return LineChange(
        line.item_id,
        refunded=line.units,
        amount=line.amount,
        returned=line.units if body.returned else 0,
        restocked=min(line.units, item.quantity - item.restocked_quantity) if may_restock else 0,
    )


def _has_returned(items: Iterable[OrderItem], changes: Iterable[LineChange]) -> bool:
    """Whether everything that has left has come back, now that these units have."""
    returned = {change.item_id: change.returned for change in changes}
    return all(item.returned_quantity + returned.get(item.id, 0) == item.fulfilled_quantity for item in items)


def _lines(items: Iterable[OrderItem], body: RefundCreate) -> list[tuple[OrderItem, int]]:
    """The lines that the body names, each once with its units; every fault of it is named."""
    asked = body.lines or []
    by_id = {item.id: item for item in items}
    units = Counter[UUID]()
    for line in asked:
        units[line.item_id] += line.quantity
    unknown = [n for n, line in enumerate(asked) if line.item_id not in by_id]
    if unknown:
        raise NotFound(
            "item_not_found",
            "The order has no such lines; see `errors`.",
            errors=[FieldError(f"/lines/{n}/item_id", "item_not_found", "Unknown line.") for n in unknown],
        )
    lines = [(by_id[item_id], count) for item_id, count in units.items()]
    excess = {item.id for item, count in lines if item.refunded_quantity + count > item.quantity}
    _refuse_excess(asked, excess, "refund_quantity_exceeded", "More units than are left to refund.")
    if body.returned:
        excess = {
            item.id for item, count in lines if item.returned_quantity + count > item.fulfilled_quantity
        }
        _refuse_excess(asked, excess, "returned_quantity_exceeded", "More units than have left.")
    return lines


def _refuse_excess(asked: Sequence[RefundLine], excess: set[UUID], code: str, detail: str) -> None:
    """Raise 422 that names every line of the body whose item is among these."""
    errors = [
        FieldError(f"/lines/{n}/quantity", code, detail)
        for n, line in enumerate(asked)
        if line.item_id in excess
    ]
    if errors:
        raise Invalid(code, f"{detail} See `errors`.", errors=errors)
