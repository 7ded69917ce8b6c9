"""Owns how a mail is called in the history: in the person's language, without anybody's address."""

from collections.abc import Mapping

from app.services.notifications.templates import source

TITLES: Mapping[str, tuple[str, str]] = {
    "api_key_expiring": ("Une clé API expire bientôt", "An API key expires soon"),
    "payment_action_required": ("Un paiement est à confirmer", "A payment has to be confirmed"),
    "invoice_payment_failed": ("Un paiement a échoué", "A payment failed"),
    "payment_success": ("Une facture est payée", "An invoice is paid"),
    "trial_ending": ("Votre essai se termine bientôt", "Your trial ends soon"),
    "subscription_reminder": ("Votre abonnement se renouvelle bientôt", "Your subscription renews soon"),
    "identity_linked": ("Un compte externe a été associé", "An external account was linked"),
    "identity_unlinked": ("Un compte externe a été dissocié", "An external account was unlinked"),
    "invitation_declined": ("Une invitation a été refusée", "An invitation was declined"),
    "limit_reached": ("Une limite de l'offre est atteinte", "A limit of the plan was reached"),
    "member_joined": ("Quelqu'un a rejoint l'équipe", "Somebody joined the team"),
    "member_removed": ("Vous ne faites plus partie d'une équipe", "You are no longer in a team"),
    "membership_suspended": ("Votre accès à une équipe est suspendu", "Your access to a team is suspended"),
    "order_track_link": ("Le lien de suivi d'une commande", "The link of an order"),
    "organization_deleted": ("Une organisation a été supprimée", "An organisation was deleted"),
    "ownership_closed": ("Un transfert de propriété est clos", "A transfer of ownership is closed"),
    "ownership_request": ("Un transfert de propriété est proposé", "A transfer of ownership is offered"),
    "ownership_transferred": (
        "Une organisation a un nouveau propriétaire",
        "An organisation has a new owner",
    ),
    "role_changed": ("Votre rôle a changé", "Your role has changed"),
    "security_changed": ("La sécurité d'une équipe a changé", "The security of a team has changed"),
    "sessions_ended": ("Vos sessions ont été fermées", "Your sessions were ended"),
    "team_invitation": ("Une invitation dans une équipe", "An invitation to a team"),
}
"""Titles (fr, en) of the mails whose subject names somebody or something."""

ANY_MAIL = ("Un message de Luneo", "A message from Luneo")


def mail_title(template: str, locale: str) -> str:
    """The title of a mail: its subject, unless that has variables, which may be an address."""
    number = 0 if locale == "fr" else 1
    if template in TITLES:
        return TITLES[template][number]
    try:
        subject = source(template, "fr" if number == 0 else "en", "subject").strip()
    except FileNotFoundError:
        return ANY_MAIL[number]
    return ANY_MAIL[number] if "{" in subject else subject
