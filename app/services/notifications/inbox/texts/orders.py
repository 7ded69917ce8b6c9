"""Notices about orders, to those who work on them."""

from collections.abc import Mapping
from typing import Any

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

DISPUTED: Mapping[str, tuple[Level, tuple[str, str], tuple[str, str]]] = {
    "inquiry": (
        "warning",
        (
            "Question de la banque sur la commande {number}",
            "La banque de l'acheteur pose une question sur le paiement de {amount}. Aucun argent n'est"
            " retenu, à moins qu'une contestation ne suive.",
        ),
        (
            "The bank asks about order {number}",
            "The buyer's bank asks about the payment of {amount}. No money is held back, unless a dispute"
            " follows.",
        ),
    ),
    "inquiry_closed": (
        "info",
        (
            "Question de la banque close : commande {number}",
            "La question de la banque sur le paiement de {amount} est close. Aucun argent n'a été retenu.",
        ),
        (
            "The bank's question about order {number} is closed",
            "The bank's question about the payment of {amount} is closed. No money was held back.",
        ),
    ),
    "open": (
        "error",
        (
            "Commande {number} contestée",
            "L'acheteur conteste un paiement auprès de sa banque, qui retient {amount} jusqu'à sa décision.",
        ),
        (
            "Order {number} disputed",
            "The buyer disputes a payment with the bank, which holds {amount} until it has decided.",
        ),
    ),
    "won": (
        "success",
        (
            "Contestation gagnée : commande {number}",
            "La banque a décidé en votre faveur et vous rend {amount}.",
        ),
        (
            "Dispute of order {number} won",
            "The bank has decided in your favour, and gives {amount} back to you.",
        ),
    ),
    "lost": (
        "error",
        (
            "Contestation perdue : commande {number}",
            "La banque a décidé en faveur de l'acheteur, qui garde {amount}.",
        ),
        (
            "Dispute of order {number} lost",
            "The bank has decided in the buyer's favour, who keeps {amount}.",
        ),
    ),
}
"""What is said of a dispute, by how it stands."""

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
    dispute = fact.data.get("dispute")
    level, fr, en = SAID[fact.type] if dispute is None else DISPUTED[dispute["state"]]
    amount, currency = _amount(fact.type, fact.data)
    number = str(fact.data["order_number"] or fact.data["order_id"][-8:])

    def say(texts: tuple[str, str], language: str, action: str) -> Words:
        shown = money(amount, currency, language)
        title, message = (text.format(number=number, amount=shown) for text in texts)
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


def _amount(kind: str, data: Mapping[str, Any]) -> tuple[int, str]:
    """What the words are about: what was disputed or received, else what the order costs."""
    if "dispute" in data:
        return data["dispute"]["amount"], data["dispute"]["currency"]
    return data["amount_paid" if kind == OrderPaid.type else "total_amount"], data["currency"]
