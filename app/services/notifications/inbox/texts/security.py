"""Notices about the safety of an account and of an organisation; their mails are those of their areas."""

from collections.abc import Mapping
from uuid import UUID

from app.core.database import SystemSession
from app.core.permissions import Permission
from app.schemas.notifications.words import Level
from app.services.audit.events import AuditVerified
from app.services.auth.events import Locked, PasswordReset, RefreshReused, SignedIn
from app.services.auth.external.events import IdentityLinked, IdentityUnlinked
from app.services.auth.second_factor.events import BackupCodeUsed
from app.services.auth.two_factor.events import BackupCodesRegenerated, TwoFactorDisabled, TwoFactorEnabled
from app.services.notifications.inbox.notices import Fact, Notice, Words, in_both, notices_for
from app.services.settings.events import EmailChanged, EmailChangeUndone, PasswordChanged, PasswordSet
from app.services.team.events.organizations import OrganizationSecurityUpdated

PAGE = "/settings/security"

CHECK_FR = "Si ce n'était pas vous, changez votre mot de passe et fermez vos sessions."
CHECK_EN = "If it was not you, change your password and end your sessions."

SAID: Mapping[str, tuple[Level, str, str]] = {
    SignedIn.type: ("warning", "Nouvelle connexion à votre compte", "New sign-in to your account"),
    Locked.type: (
        "error",
        "La connexion à votre compte est suspendue",
        "Sign-in to your account is suspended",
    ),
    RefreshReused.type: ("error", "Une de vos sessions a été fermée", "One of your sessions was ended"),
    BackupCodeUsed.type: ("warning", "Un code de secours a été utilisé", "A backup code was used"),
    BackupCodesRegenerated.type: ("info", "Nouveaux codes de secours", "New backup codes"),
    IdentityLinked.type: ("info", "Un compte externe a été associé", "An external account was linked"),
    IdentityUnlinked.type: ("info", "Un compte externe a été dissocié", "An external account was unlinked"),
    PasswordReset.type: ("warning", "Votre mot de passe a changé", "Your password has changed"),
    PasswordChanged.type: ("warning", "Votre mot de passe a changé", "Your password has changed"),
    PasswordSet.type: ("info", "Votre compte a un mot de passe", "Your account has a password"),
    EmailChanged.type: (
        "warning",
        "L'adresse de votre compte a changé",
        "Your account's address has changed",
    ),
    EmailChangeUndone.type: (
        "warning",
        "Le changement d'adresse est annulé",
        "The change of address was undone",
    ),
    TwoFactorEnabled.type: (
        "success",
        "La connexion en deux étapes est activée",
        "Two-step sign-in is switched on",
    ),
    TwoFactorDisabled.type: (
        "warning",
        "La connexion en deux étapes est désactivée",
        "Two-step sign-in is switched off",
    ),
}


@notices_for(
    SignedIn,
    Locked,
    RefreshReused,
    BackupCodeUsed,
    BackupCodesRegenerated,
    IdentityLinked,
    IdentityUnlinked,
    PasswordReset,
    PasswordChanged,
    PasswordSet,
    EmailChanged,
    EmailChangeUndone,
    TwoFactorEnabled,
    TwoFactorDisabled,
)
async def account_notices(session: SystemSession, fact: Fact) -> list[Notice]:  # noqa: ARG001 - all is said
    """To the person whose account it is, also when they did it themselves."""
    if fact.data.get("user_id") is None or not _is_told(fact):
        return []
    level, fr, en = SAID[fact.type]
    return [
        Notice(
            category="security",
            level=level,
            words=in_both(Words(fr, CHECK_FR, "Vérifier"), Words(en, CHECK_EN, "Check")),
            people=[UUID(fact.data["user_id"])],
            is_for_anybody=True,
            is_for_actor=True,
            path=PAGE,
        )
    ]


def _is_told(fact: Fact) -> bool:
    """Of sign-ins those of a new device, unless it is the first one at all."""
    if fact.type != SignedIn.type:
        return True
    return bool(fact.data["is_new_device"]) and not fact.private.get("is_first", True)


@notices_for(OrganizationSecurityUpdated)
async def demand_notices(session: SystemSession, fact: Fact) -> list[Notice]:  # noqa: ARG001 - all is said
    """What an organisation demands of its members, to those who say it."""
    return [
        Notice(
            category="security",
            level="info",
            words=in_both(
                Words(
                    "Les règles de sécurité ont changé",
                    "Ce que l'organisation exige des sessions de ses membres a changé.",
                    "Voir",
                ),
                Words(
                    "The security rules have changed",
                    "What the organisation demands of the sessions of its members has changed.",
                    "See",
                ),
            ),
            holders=Permission.security_manage,
            is_for_actor=True,
            organization_id=fact.organization,
            path="/settings/team",
        )
    ]


@notices_for(AuditVerified)
async def chain_notices(session: SystemSession, fact: Fact) -> list[Notice]:  # noqa: ARG001 - all is said
    """A broken chain of the audit log, to the owner; nothing when it is whole, or nobody's."""
    if fact.data["ok"] or fact.organization_id is None:
        return []
    entry = fact.data["first_bad_seq"]
    return [
        Notice(
            category="security",
            level="error",
            words=in_both(
                Words(
                    "Le journal d'audit a été altéré", f"L'entrée {entry} n'est plus celle d'alors.", "Voir"
                ),
                Words("The audit log was altered", f"Entry {entry} is not what it was.", "See"),
            ),
            holders=Permission.organization_transfer,
            is_for_actor=True,
            organization_id=fact.organization,
            path="/settings/audit",
        )
    ]
