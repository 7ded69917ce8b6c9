"""Notices about orders, to those who work on them."""

from collections.abc import Mapping

from app.core.database import SystemSession
from app.core.permissions import Permission
from app.schemas.notifications.words import Level
from app.services.billing.pdf.words import money
from app.services.notifications.inbox.notices import Fact, Notice, Words, in_both, notices_for
from app.services.orders.events import (
    OrderCancelled,
    OrderDisputed,
    OrderOversold,
    OrderPaid,
    OrderPaymentHeld,
    OrderPlaced,
    OrderRefundFailed,
    OrderReturned,
)

SAID: Mapping[str, tuple[Level, tuple[str, str], tuple[str, str]]] = {
    OrderPlaced.type: (
        "info",
        ("Nouvelle commande {number}", "Une commande de {amount} a été passée."),
        ("New order {number}", "An order of {amount} was placed."),
    ),
    OrderPaid.type: (
        "success",
        ("Commande {number} payée", "Le paiement de {amount} est reçu."),
        ("Order {number} paid", "The payment of {amount} has been received."),
    ),
    OrderCancelled.type: (
        "warning",
        ("Commande {number} annulée", "La commande de {amount} a été annulée."),
        ("Order {number} cancelled", "The order of {amount} was cancelled."),
    ),
    OrderReturned.type: (
        "info",
        ("Commande {number} retournée", "Les articles de la commande sont revenus."),
        ("Order {number} returned", "The goods of the order have come back."),
    ),
    OrderOversold.type: (
        "error",
        (
            "Stock insuffisant pour la commande {number}",
            "La commande est payée, mais le stock ne suffit pas. Réapprovisionnez, ou remboursez-la.",
        ),
        (
            "Not enough stock for order {number}",
            "The order is paid, but the stock does not suffice. Restock it, or refund it.",
        ),
    ),
    OrderPaymentHeld.type: (
        "warning",
        (
            "Paiement de la commande {number} à vérifier",
            "Un paiement est arrivé qui ne va pas avec la commande. Décidez de ce qu'il devient.",
        ),
        (
            "Check the payment of order {number}",
            "A payment came that does not fit the order. Decide what becomes of it.",
        ),
    ),
    OrderDisputed.type: (
        "error",
        ("Commande {number} contestée", "Le paiement de {amount} est contesté par la banque de l'acheteur."),
        ("Order {number} disputed", "The buyer's bank disputes the payment of {amount}."),
    ),
    OrderRefundFailed.type: (
        "error",
        (
            "Remboursement de la commande {number} refusé",
            "Le remboursement n'a pas abouti. Remboursez l'acheteur d'une autre façon.",
        ),
        (
            "Refund of order {number} failed",
            "The refund did not go through. Refund the buyer in another way.",
        ),
    ),
}

MAILED = frozenset({OrderOversold.type, OrderPaymentHeld.type, OrderDisputed.type, OrderRefundFailed.type})
"""What cannot wait until somebody looks into the application."""


@notices_for(
    OrderPlaced,
    OrderPaid,
    OrderCancelled,
    OrderReturned,
    OrderOversold,
    OrderPaymentHeld,
    OrderDisputed,
    OrderRefundFailed,
)
async def order_notices(session: SystemSession, fact: Fact) -> list[Notice]:  # noqa: ARG001 - all is said
    """To whoever may work on orders."""
    level, fr, en = SAID[fact.type]
    number = str(fact.data["order_number"] or fact.data["order_id"][-8:])

    def say(texts: tuple[str, str], language: str, action: str) -> Words:
        amount = money(fact.data["total_amount"], fact.data["currency"], language)
        title, message = (text.format(number=number, amount=amount) for text in texts)
        return Words(title, message, action)

    return [
        Notice(
            category="orders",
            level=level,
            words=in_both(say(fr, "fr", "Voir la commande"), say(en, "en", "See the order")),
            holders=Permission.orders_write,
            organization_id=fact.organization,
            path=f"/orders/{fact.data['order_id']}",
            mail="unless_switched_off" if fact.type in MAILED else "as_category",
            ids={"order_id": fact.data["order_id"]},
        )
    ]
