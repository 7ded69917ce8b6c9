"""How an order's amounts came about: its price worked out again, and what could be given back of it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import NotFound
from app.core.events import emit
from app.core.money import PricingStep, RefundLine, price_again, pricing_steps, refund_of_lines
from app.core.permissions import Permission
from app.repositories.orders.orders import OrderRepository, OrderView
from app.schemas.orders import ExplainedStep, OrderExplanation, Refundable, RefundedLine
from app.services.orders.events import OrderMoneyInconsistent, order_event
from app.services.orders.refund_plan import shipping_left
from app.services.orders.states import DISPUTED

AMOUNTS = (
    "prices_include_tax",
    "subtotal",
    "discount_amount",
    "shipping_amount",
    "shipping_tax_amount",
    "tax_amount",
    "total_amount",
)
LINE_AMOUNTS = (
    "position",
    "unit_price",
    "quantity",
    "discount_amount",
    "tax_rate_bps",
    "tax_amount",
    "total_amount",
)

UNPRICEABLE = (ArithmeticError, LookupError, TypeError, ValueError)
"""What working with a pricing object raises that is not one."""


class ExplainingService:
    """Explains orders, and alerts when one cannot be explained."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.orders = OrderRepository(session)

    async def explain(self, reference: str) -> OrderExplanation:
        """Work out an order's price again from its stored inputs and compare every step; 404.

        A difference is told to the operators. A read runs in autocommit, so that its event is a transaction
        of its own.
        """
        view = await self.orders.view(reference)
        if view is None:
            raise NotFound()
        steps = [*_price_steps(view), *_money_steps(view)]
        wrong = [step.step for step in steps if not step.is_consistent]
        if wrong:
            kind = partial(OrderMoneyInconsistent, differences=wrong)
            await emit(self.session, order_event(kind, view.order, view.items))
        payments = view.payments if self.principal.may(Permission.orders_write) else None
        return OrderExplanation.model_validate(
            {
                "pricing": view.order.pricing,
                "steps": steps,
                "payments": payments,
                "refunds": view.refunds,
                "refundable": _refundable(view),
                "is_consistent": not wrong,
            }
        )


def _price_steps(view: OrderView) -> list[ExplainedStep]:
    """The steps of the price: worked out again, as the pricing object has them, and as the rows have them.

    A payment link's price was worked out by Stripe, whose taxes are rounded by line: it stands as it is.
    """
    stored = view.order.pricing
    is_foreign = view.order.channel == "payment_link"
    try:
        kept = pricing_steps(stored)
        again = kept if is_foreign else pricing_steps(price_again(stored).as_dict())
        rows = pricing_steps(_row_figures(view))
    except UNPRICEABLE:
        formula = "the pricing object holds what an order is priced from"
        return [_step(PricingStep("inputs", formula, {}, {}), stored)]
    return [_compared(one, others) for one, *others in zip(again, kept, rows, strict=True)]


def _row_figures(view: OrderView) -> dict[str, Any]:
    """A pricing object with the figures of the order's columns and lines, where they have them."""
    order, pricing = view.order, view.order.pricing
    return {
        **{name: getattr(order, name) for name in AMOUNTS},
        **{name: pricing[name] for name in ("discount", "shipping", "tax_groups")},
        "lines": [
            {
                **{name: item[name] for name in LINE_AMOUNTS},
                "goods_amount": item["unit_price"] * item["quantity"],
            }
            for item in view.items
        ],
    }


def _compared(again: PricingStep, others: Sequence[PricingStep]) -> ExplainedStep:
    """A step as it was worked out, with the first of the stored ones that is another."""
    different = next((other for other in others if other != again), None)
    return _step(again, None if different is None else {**different.inputs, **different.result})


def _money_steps(view: OrderView) -> list[ExplainedStep]:
    """What was received and given back, added up again."""
    order = view.order
    applied = {
        payment["id"]: payment["amount"] for payment in view.payments if payment["status"] == "applied"
    }
    refunds: dict[str, list[int]] = {"succeeded": [], "pending": [], "requires_action": []}
    for refund in view.refunds:
        if refund["payment_id"] in applied and refund["status"] in refunds:
            refunds[refund["status"]].append(refund["amount"])
    pending = [*refunds["pending"], *refunds["requires_action"]]
    sums = {"amount_refunded": sum(refunds["succeeded"]), "amount_refund_pending": sum(pending)}
    paid = PricingStep(
        "paid",
        "sum of the applied payments",
        {"payments": [*applied.values()]},
        {"amount_paid": sum(applied.values())},
    )
    given_back = PricingStep(
        "refunded",
        "sum of the refunds of applied payments that succeeded, and of those under way",
        {"succeeded": refunds["succeeded"], "pending": pending},
        sums,
    )
    return [_added(step, {name: getattr(order, name) for name in step.result}) for step in (paid, given_back)]


def _added(step: PricingStep, stored: Mapping[str, Any]) -> ExplainedStep:
    return _step(step, None if stored == step.result else stored)


def _step(step: PricingStep, stored: Mapping[str, Any] | None) -> ExplainedStep:
    return ExplainedStep(
        step=step.step,
        formula=step.formula,
        inputs=dict(step.inputs),
        result=dict(step.result),
        stored=None if stored is None else dict(stored),
        is_consistent=stored is None,
    )


def _refundable(view: OrderView) -> Refundable:
    """What is left to give back, in all and of each part."""
    order = view.order
    left = sum(
        payment["amount"] - payment["amount_refunded"] - payment["amount_refund_pending"]
        for payment in view.payments
        if payment["status"] == "applied" and order.payment_status not in DISPUTED
    )
    return Refundable(
        amount=left,
        shipping=min(shipping_left(order, view.refunds), left),
        lines=[_refundable_line(item, left) for item in view.items],
    )


def _refundable_line(item: Mapping[str, Any], most: int) -> RefundedLine:
    units = item["quantity"] - item["refunded_quantity"]
    line = RefundLine(
        item["total_amount"], item["quantity"], item["refunded_quantity"], units, item["refunded_amount"]
    )
    return RefundedLine(item_id=item["id"], quantity=units, amount=min(refund_of_lines([line])[0], most))
