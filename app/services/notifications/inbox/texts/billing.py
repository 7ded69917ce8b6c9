"""Notices about what the organisation pays, to those who may change it."""

from collections.abc import Mapping
from datetime import datetime

from app.core.database import SystemSession
from app.core.permissions import Permission
from app.schemas.notifications.words import Level
from app.services.billing.events import InvoicePaid, UsageThresholdReached
from app.services.billing.pdf.words import day, money
from app.services.billing.subscriptions.events import (
    InvoicePaymentActionRequired,
    InvoicePaymentFailed,
    SubscriptionCanceled,
    SubscriptionCreated,
    SubscriptionPastDue,
    SubscriptionTrialEnding,
    SubscriptionUpdated,
)
from app.services.billing.subscriptions.mails import TOLD_ATTEMPTS
from app.services.notifications.inbox.notices import (
    Fact,
    MailRule,
    Notice,
    Words,
    in_both,
    notices_for,
)

PAGE = "/billing"

SUBSCRIPTIONS: Mapping[str, tuple[Level, tuple[str, str], tuple[str, str]]] = {
    SubscriptionCreated.type: (
        "success",
        ("Abonnement commencé", "Votre offre est maintenant {plan}."),
        ("Subscription started", "Your plan is now {plan}."),
    ),
    SubscriptionUpdated.type: (
        "info",
        ("Abonnement modifié", "Votre offre est {plan}{until_fr}."),
        ("Subscription changed", "Your plan is {plan}{until_en}."),
    ),
    SubscriptionCanceled.type: (
        "warning",
        ("Abonnement terminé", "Votre abonnement {plan} est terminé."),
        ("Subscription ended", "Your subscription {plan} has ended."),
    ),
    SubscriptionTrialEnding.type: (
        "warning",
        ("Votre essai se termine bientôt", "L'essai de {plan} se termine{until_fr}."),
        ("Your trial ends soon", "The trial of {plan} ends{until_en}."),
    ),
    SubscriptionPastDue.type: (
        "error",
        ("Paiement en retard", "L'abonnement {plan} n'a pas pu être payé. Vérifiez votre moyen de paiement."),
        ("Payment overdue", "The subscription {plan} could not be paid. Check how you pay."),
    ),
}

METRICS: Mapping[str, tuple[str, str]] = {
    "api_calls": ("appels d'API", "API calls"),
    "ai_generations": ("générations", "generations"),
    "storage_bytes": ("octets de stockage", "bytes of storage"),
    "orders": ("commandes", "orders"),
}
"""What is counted, as people call it; another metric is called by its name."""


@notices_for(
    SubscriptionCreated,
    SubscriptionUpdated,
    SubscriptionCanceled,
    SubscriptionTrialEnding,
    SubscriptionPastDue,
)
async def subscription_notices(session: SystemSession, fact: Fact) -> list[Notice]:  # noqa: ARG001 - all is said
    """The life of a subscription; what is overdue is a matter of its own."""
    level, fr, en = SUBSCRIPTIONS[fact.type]
    values = {"plan": fact.data["plan"].capitalize(), "until_fr": "", "until_en": ""}
    if fact.data["current_period_end"]:
        until = datetime.fromisoformat(fact.data["current_period_end"]).date()
        values |= {"until_fr": f" le {day(until, 'fr')}", "until_en": f" on {day(until, 'en')}"}
        if fact.type == SubscriptionUpdated.type:
            is_last = fact.data["cancel_at_period_end"]
            words = (
                ("; elle se termine", "; it ends") if is_last else ("; prochain paiement", "; next payment")
            )
            values = {
                **values,
                "until_fr": f"{words[0]}{values['until_fr']}",
                "until_en": f"{words[1]}{values['until_en']}",
            }
    is_overdue = fact.type == SubscriptionPastDue.type
    # The end of a trial has a mail of its own.
    mail: MailRule = "never" if fact.type == SubscriptionTrialEnding.type else "as_category"
    return [
        Notice(
            category="billing_failure" if is_overdue else "billing",
            level=level,
            words=in_both(
                Words(fr[0], fr[1].format(**values), "Voir la facturation"),
                Words(en[0], en[1].format(**values), "See billing"),
            ),
            holders=Permission.billing_write,
            organization_id=fact.organization,
            path=PAGE,
            mail=mail,
            ids={"subscription_id": fact.data["subscription_id"]},
        )
    ]


@notices_for(InvoicePaid, InvoicePaymentFailed, InvoicePaymentActionRequired)
async def invoice_notices(session: SystemSession, fact: Fact) -> list[Notice]:  # noqa: ARG001 - all is said
    """Invoices of the platform. Those of the organisation's own buyers are told with their orders."""
    if fact.data["kind"] != "subscription" or not _is_told(fact):
        return []
    number = fact.data["invoice_number"] or ""
    amounts = {
        language: money(fact.data["amount"], fact.data["currency"], language) for language in ("fr", "en")
    }
    if fact.type == InvoicePaid.type:
        words = in_both(
            Words("Facture payée", f"Le paiement de {amounts['fr']} est reçu : facture {number}.", "Voir"),
            Words(
                "Invoice paid", f"The payment of {amounts['en']} has been received: invoice {number}.", "See"
            ),
        )
    elif fact.type == InvoicePaymentFailed.type:
        words = in_both(
            Words(
                "Un paiement a échoué",
                f"{amounts['fr']} n'ont pas pu être payés : facture {number}. Vérifiez comment vous payez.",
                "Payer",
            ),
            Words(
                "A payment failed",
                f"{amounts['en']} could not be paid: invoice {number}. Check how you pay.",
                "Pay",
            ),
        )
    else:
        words = in_both(
            Words(
                "Un paiement est à confirmer", f"Confirmez {amounts['fr']} : facture {number}.", "Confirmer"
            ),
            Words("A payment has to be confirmed", f"Confirm {amounts['en']}: invoice {number}.", "Confirm"),
        )
    is_paid = fact.type == InvoicePaid.type
    return [
        Notice(
            category="billing" if is_paid else "billing_failure",
            level="success" if is_paid else "error",
            words=words,
            holders=Permission.billing_write,
            organization_id=fact.organization,
            path=PAGE,
            # What fails has mails of its own.
            mail="as_category" if is_paid else "never",
            ids={"invoice_id": fact.data["invoice_id"]},
        )
    ]


def _is_told(fact: Fact) -> bool:
    """Of failed attempts the first, the third and the last are told of."""
    if fact.type != InvoicePaymentFailed.type or fact.data["is_last_attempt"]:
        return True
    attempts = range(fact.data["attempts_told_before"] + 1, fact.data["attempt"] + 1)
    return not TOLD_ATTEMPTS.isdisjoint(attempts)


@notices_for(UsageThresholdReached)
async def usage_notices(session: SystemSession, fact: Fact) -> list[Notice]:  # noqa: ARG001 - all is said
    """A good part of what the plan gives is used, or all of it."""
    metric, percent = fact.data["metric"], fact.data["percent"]
    fr, en = METRICS.get(metric, (metric, metric))
    used, limit = fact.data["used"], fact.data["limit"]
    return [
        Notice(
            category="billing",
            level="error" if percent >= 100 else "warning",
            words=in_both(
                Words(
                    f"{percent} % de votre offre utilisés", f"{fr} : {used} sur {limit}.", "Voir les offres"
                ),
                Words(f"{percent}% of your plan used", f"{en}: {used} of {limit}.", "See plans"),
            ),
            holders=Permission.billing_write,
            organization_id=fact.organization,
            path=PAGE,
            mail="as_category",
            ids={"metric": metric, "period": fact.data["period"]},
        )
    ]
