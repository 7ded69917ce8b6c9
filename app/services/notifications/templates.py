"""The texts of mails: files by template and language, rendered in a sandbox."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from app.core.isolated.mail_texts import Refused, render_parts

DIRECTORY = Path(__file__).resolve().parents[2] / "templates" / "mail"
LOCALES = ("fr", "en")
PARTS = {"subject": "subject", "html": "html", "text": "txt"}
"""The parts of a mail, and how the files of each end."""

FRAMED = (("html", "html"), ("text", "txt"))

VARIABLES: Mapping[str, frozenset[str]] = {
    "account_exists": frozenset({"name", "sign_in_url", "reset_url"}),
    "account_locked": frozenset({"name", "until", "device", "place", "time", "security_url"}),
    "account_suspended": frozenset({"name", "reason"}),
    "address_in_use": frozenset({"name", "device", "place", "time", "security_url"}),
    "api_key_expiring": frozenset({"name", "key_name", "key_hint", "shop", "days", "until", "keys_url"}),
    "backup_code_used": frozenset({"name", "remaining", "is_low", "device", "place", "time", "security_url"}),
    "backup_codes_regenerated": frozenset({"name", "device", "place", "time", "security_url"}),
    "payment_action_required": frozenset({"name", "shop", "invoice_number", "amount", "is_last", "pay_url"}),
    "invoice_payment_failed": frozenset({"name", "shop", "invoice_number", "amount", "is_last", "pay_url"}),
    "payment_success": frozenset({"name", "shop", "invoice_number", "amount", "is_last", "pay_url"}),
    "billing_setup_failed": frozenset({"name", "shop", "billing_url"}),
    "trial_ending": frozenset({"name", "shop", "plan", "until", "billing_url"}),
    "subscription_reminder": frozenset({"name", "shop", "plan", "amount", "until", "billing_url"}),
    "course_completion": frozenset({"name", "course", "course_url"}),
    "email_change": frozenset({"name", "action_url", "until", "device", "place", "time", "security_url"}),
    "email_change_notice": frozenset({"name", "device", "place", "time", "security_url"}),
    "email_change_undone": frozenset({"name", "reset_url", "device", "place", "time", "security_url"}),
    "email_changed": frozenset({"name", "action_url", "until", "device", "place", "time", "security_url"}),
    "audit_chain_broken": frozenset({"name", "organization", "entry", "time", "audit_url"}),
    "audit_export_ready": frozenset({"name", "rows", "until", "audit_url"}),
    "email_confirmation": frozenset({"name", "action_url", "code"}),
    "identity_linked": frozenset({"name", "provider", "device", "place", "time", "security_url"}),
    "identity_unlinked": frozenset({"name", "provider", "device", "place", "time", "security_url"}),
    "integration_needs_reauth": frozenset({"name", "shop", "service", "connections_url"}),
    "invitation_declined": frozenset({"name", "email", "organization"}),
    "limit_reached": frozenset({"name", "organization", "what", "limit", "upgrade_url"}),
    "magic_link": frozenset({"name", "action_url", "code", "device", "place", "time"}),
    "member_joined": frozenset({"name", "member", "role", "organization", "team_url"}),
    "member_removed": frozenset({"name", "organization"}),
    "membership_suspended": frozenset({"name", "organization"}),
    "new_device": frozenset({"name", "device", "place", "time", "security_url"}),
    "notification": frozenset({"name", "title", "message", "action_url", "action_label"}),
    "order_track_link": frozenset({"number", "shop", "until", "action_url"}),
    "order_action_required": frozenset(
        {"name", "number", "shop", "amount", "pay_url", "action_url", "until"}
    ),
    "order_confirmation": frozenset({"name", "number", "shop", "items", "amount", "action_url", "until"}),
    "order_delivered": frozenset({"name", "number", "shop", "items", "action_url", "until"}),
    "order_payment_failed": frozenset({"name", "number", "shop", "amount", "action_url", "until"}),
    "order_refunded": frozenset({"name", "number", "shop", "amount", "action_url", "until"}),
    "order_shipped": frozenset(
        {
            *("name", "number", "shop", "items", "action_url", "until"),
            *("carrier", "tracking_number", "tracking_url"),
        }
    ),
    "organization_deleted": frozenset({"name", "organization", "until"}),
    "ownership_closed": frozenset({"name", "giver", "taker", "organization", "outcome"}),
    "ownership_request": frozenset({"name", "giver", "taker", "organization", "until", "transfer_url"}),
    "ownership_transferred": frozenset({"name", "giver", "taker", "organization", "security_url"}),
    "password_changed": frozenset({"name", "reset_url", "device", "place", "time", "security_url"}),
    "password_reset": frozenset({"name", "action_url", "device", "place", "time"}),
    "role_changed": frozenset({"name", "organization", "role"}),
    "security_changed": frozenset({"name", "organization", "demands", "team_url"}),
    "session_stopped": frozenset({"name", "device", "place", "time", "security_url"}),
    "sessions_ended": frozenset({"name", "organization", "security_url"}),
    "step_up_code": frozenset({"name", "code", "device", "place", "time", "security_url"}),
    "team_invitation": frozenset({"inviter", "organization", "role", "message", "until", "action_url"}),
    "two_factor_disabled": frozenset({"name", "device", "place", "time", "security_url"}),
    "two_factor_enabled": frozenset({"name", "device", "place", "time", "security_url"}),
    "webhook_disabled": frozenset({"name", "shop", "endpoint", "reason", "webhooks_url"}),
    "webhook_failing": frozenset({"name", "shop", "endpoint", "reason", "webhooks_url"}),
    "welcome": frozenset({"name", "app_url"}),
}
"""Every template and what its texts may name."""


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """Subject, plain text and HTML of one mail."""

    subject: str
    text: str
    html: str


class TemplateError(Exception):
    """A template that cannot be rendered: a variable is missing, or a text breaks a rule."""


def render(template: str, locale: str, variables: Mapping[str, str], manage_url: str = "") -> RenderedMail:
    """The mail in the wanted language, else in English, from the files. A line break in a subject is refused.

    `manage_url` is where people say what they want to be told; without one the mail does not speak of it.
    """
    given = declared(template, variables)
    locale = language(locale)
    files = {part: source(template, locale, ending) for part, ending in PARTS.items()}
    try:
        mail = render_parts(files, given, layouts(), {"locale": locale, "manage_url": manage_url})
    except Refused as refusal:
        raise TemplateError(f"{template}: {refusal}") from None
    return RenderedMail(**mail)


def declared(template: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Those of the variables that the texts of the template may name; TemplateError when one is missing."""
    wanted = VARIABLES.get(template)
    if wanted is None:
        raise TemplateError(f"there is no template {template}")
    given = {name: value for name, value in variables.items() if name in wanted}
    if missing := wanted - given.keys():
        raise TemplateError(f"{template} needs {', '.join(sorted(missing))}")
    return given


def language(locale: str) -> str:
    """The language of the texts for this one."""
    return locale if locale in LOCALES else "en"


@lru_cache(maxsize=512)
def source(template: str, locale: str, ending: str) -> str:
    """The text of one file."""
    return (DIRECTORY / f"{template}.{locale}.{ending}").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def layouts() -> Mapping[str, str]:
    """The frames around every HTML and every plain part."""
    return {part: (DIRECTORY / f"layout.{ending}").read_text(encoding="utf-8") for part, ending in FRAMED}
