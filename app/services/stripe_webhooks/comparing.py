"""Owns the judgement on what Stripe and our rows say of the same object."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from app.repositories.stripe_webhooks.mirrors import Mirror
from app.services.stripe_webhooks.fetching import id_of

Kind = Literal[
    "missing_event",
    "amount_drift",
    "status_drift",
    "orphan_payment",
    "unknown_refund",
    "paid_but_closed",
    "ledger_gap",
    "catalog_drift",
]

CLOSED = frozenset({"cancelled", "expired"})
"""States of an order in which nobody owes anything for it."""

PAYMENT_STATES = {"succeeded": "applied", "requires_capture": "authorized"}
"""What a PaymentIntent's status is to a payment of ours; one that did not fit is `unapplied`."""

SUBSCRIPTION = "customer.subscription.updated"
ENDED_SUBSCRIPTION = "customer.subscription.deleted"
INVOICE = "invoice.updated"
PAID_INVOICE = "invoice.paid"
REFUND = "charge.refunded"
PAYMENT = "payment_intent.succeeded"
AUTHORIZED = "payment_intent.amount_capturable_updated"
SALE = "checkout.session.completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is written of a difference. `expected` is what Stripe says, `actual` what our rows say.

    `repair` is the type of events whose effects put it right; None when only a person can.
    """

    kind: Kind
    stripe_id: str
    organization_id: UUID | None
    expected: dict[str, Any]
    actual: dict[str, Any]
    explanation: str
    repair: str | None
    local_ref: str | None = None

    def values(self) -> dict[str, Any]:
        """The columns of the row."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def subscription_differences(
    found: dict[str, Any], mirror: Mirror | None, owner: UUID
) -> Iterator[Difference]:
    """A subscription that is not here, or in another state."""
    if mirror is None or mirror.status != found["status"]:
        yield _status(found, mirror, owner, SUBSCRIPTION, "subscription")


def ended_subscription(mirror: Mirror) -> Difference:
    """A subscription that lives here and that Stripe does not list any more."""
    return Difference(
        kind="status_drift",
        stripe_id=mirror.stripe_id,
        organization_id=mirror.organization_id,
        expected={"status": "ended"},
        actual={"status": mirror.status},
        explanation=f"Our subscription is {mirror.status}, and Stripe does not list it among the living.",
        # It applies what Stripe says, and ends one of which Stripe knows nothing.
        repair=ENDED_SUBSCRIPTION,
        local_ref=str(mirror.local_id),
    )


def invoice_differences(
    found: dict[str, Any], mirror: Mirror | None, owner: UUID, charged: Collection[str]
) -> Iterator[Difference]:
    """An invoice that is not here, in another state, of another amount, or paid and not in the ledger."""
    repair = PAID_INVOICE if found["status"] == "paid" else INVOICE
    if mirror is None or mirror.status != found["status"]:
        yield _status(found, mirror, owner, repair, "invoice")
    elif mirror.amount != found["total"]:
        yield _amount(found["id"], mirror, found["total"], repair, "invoice")
    elif found["status"] == "paid" and found["amount_paid"] and found["id"] not in charged:
        yield _gap(found["id"], mirror, found["amount_paid"], repair, "invoice")


def refund_differences(found: dict[str, Any], mirror: Mirror | None, payment: Mirror) -> Iterator[Difference]:
    """A refund of a payment of ours that is not here, in another state or of another amount."""
    intent = payment.stripe_id
    if mirror is None:
        yield Difference(
            kind="unknown_refund",
            stripe_id=found["id"],
            organization_id=payment.organization_id,
            expected={
                "payment_intent": intent,
                "amount": found["amount"],
                "currency": found["currency"],
                "status": found["status"],
            },
            actual={},
            explanation="Stripe has refunded a payment of ours, and we have no such refund.",
            repair=REFUND,
            local_ref=str(payment.local_id),
        )
    elif mirror.status != found["status"]:
        changed = _status(found, mirror, payment.organization_id, REFUND, "refund")
        changed.expected["payment_intent"] = intent
        yield changed
    elif mirror.amount != found["amount"]:
        changed = _amount(found["id"], mirror, found["amount"], REFUND, "refund")
        changed.expected["payment_intent"] = intent
        yield changed


def payment_differences(
    found: dict[str, Any], mirror: Mirror | None, owner: UUID, charged: Collection[str]
) -> Iterator[Difference]:
    """A PaymentIntent for an order that is paid or authorised at Stripe, and otherwise here."""
    is_paid = found["status"] == "succeeded"
    repair = PAYMENT if is_paid else AUTHORIZED
    amount = found["amount_received"] if is_paid else found["amount_capturable"]
    if mirror is None:
        yield Difference(
            kind="orphan_payment",
            stripe_id=found["id"],
            organization_id=owner,
            expected={"status": found["status"], "amount": amount, "currency": found["currency"]},
            actual={},
            explanation="Stripe has a payment for an order of ours, and the order does not.",
            repair=repair,
            local_ref=str(found["metadata"].get("order_id")),
        )
    elif mirror.status not in (PAYMENT_STATES[found["status"]], "unapplied"):
        yield _status(found, mirror, owner, repair, "payment")
    elif mirror.amount != amount:
        yield _amount(found["id"], mirror, amount, repair, "payment")
    elif mirror.status == "applied" and mirror.order_status in CLOSED and mirror.kept:
        yield Difference(
            kind="paid_but_closed",
            stripe_id=found["id"],
            organization_id=owner,
            expected={"kept": 0},
            actual={"kept": mirror.kept, "order_status": mirror.order_status},
            explanation=f"The order is {mirror.order_status}, and its payment was not given back.",
            repair=None,
            local_ref=str(mirror.local_id),
        )
    elif is_paid and mirror.status == "applied" and found["id"] not in charged:
        yield _gap(found["id"], mirror, amount, repair, "payment")


def sale_differences(
    found: dict[str, Any], owner: UUID, order_id: UUID, *, is_placed: bool, is_paid: bool
) -> Iterator[Difference]:
    """A completed session of a payment link, with its intent, whose order or whose payment is not here.

    What its intent says of a payment that is here is compared with all payments.
    """
    intent = found.get("payment_intent") or {}
    if is_placed and (is_paid or intent.get("status") not in PAYMENT_STATES):
        return
    yield Difference(
        kind="orphan_payment",
        stripe_id=found["id"],
        organization_id=owner,
        expected={
            "status": intent.get("status", found["payment_status"]),
            "amount": found["amount_total"],
            "currency": found["currency"],
            "payment_intent": intent.get("id"),
        },
        actual={},
        explanation="A buyer has completed a payment link of ours, and "
        + ("its order is not paid here." if is_placed else "there is no order of it here."),
        repair=SALE,
        local_ref=str(order_id),
    )


def hint_of(repair: str, stripe_id: str, expected: dict[str, Any]) -> dict[str, Any]:
    """What names the object for the effects of `repair`."""
    if repair == REFUND:
        return {"id": stripe_id, "object": "refund", "payment_intent": id_of(expected.get("payment_intent"))}
    return {"id": stripe_id}


def _status(found: dict[str, Any], mirror: Mirror | None, owner: UUID, repair: str, word: str) -> Difference:
    here = "not here" if mirror is None else f"{mirror.status} here"
    return Difference(
        kind="status_drift",
        stripe_id=found["id"],
        organization_id=owner,
        expected={"status": found["status"]},
        actual={} if mirror is None else {"status": mirror.status},
        explanation=f"The {word} is {found['status']} at Stripe and {here}.",
        repair=repair,
        local_ref=None if mirror is None else str(mirror.local_id),
    )


def _amount(stripe_id: str, mirror: Mirror, amount: int, repair: str, word: str) -> Difference:
    return Difference(
        kind="amount_drift",
        stripe_id=stripe_id,
        organization_id=mirror.organization_id,
        expected={"amount": amount},
        actual={"amount": mirror.amount},
        explanation=f"The amount of the {word} is {amount} at Stripe and {mirror.amount} here.",
        repair=repair,
        local_ref=str(mirror.local_id),
    )


def _gap(stripe_id: str, mirror: Mirror, amount: int, repair: str, word: str) -> Difference:
    return Difference(
        kind="ledger_gap",
        stripe_id=stripe_id,
        organization_id=mirror.organization_id,
        expected={"charge": amount},
        actual={},
        explanation=f"The {word} is paid, and the ledger has no charge for it.",
        repair=repair,
        local_ref=str(mirror.local_id),
    )
