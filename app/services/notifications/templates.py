"""The texts of mails: files by template and language, rendered in a sandbox."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

DIRECTORY = Path(__file__).resolve().parents[2] / "templates" / "mail"
LOCALES = ("fr", "en")
LARGEST = 256 * 1024

VARIABLES: Mapping[str, frozenset[str]] = {
    "account_exists": frozenset({"name", "sign_in_url", "reset_url"}),
    "account_locked": frozenset({"name", "until", "device", "place", "time", "security_url"}),
    "account_suspended": frozenset({"name", "reason"}),
    "address_in_use": frozenset({"name", "device", "place", "time", "security_url"}),
    "api_key_expiring": frozenset({"name", "key_name", "key_hint", "shop", "days", "until", "keys_url"}),
    "backup_code_used": frozenset({"name", "remaining", "is_low", "device", "place", "time", "security_url"}),
    "backup_codes_regenerated": frozenset({"name", "device", "place", "time", "security_url"}),
    "billing_action_required": frozenset({"name", "shop", "invoice_number", "amount", "is_last", "pay_url"}),
    "billing_payment_failed": frozenset({"name", "shop", "invoice_number", "amount", "is_last", "pay_url"}),
    "billing_recovered": frozenset({"name", "shop", "invoice_number", "amount", "is_last", "pay_url"}),
    "billing_setup_failed": frozenset({"name", "shop", "billing_url"}),
    "billing_trial_ending": frozenset({"name", "shop", "plan", "until", "billing_url"}),
    "billing_upcoming": frozenset({"name", "shop", "plan", "amount", "until", "billing_url"}),
    "email_change": frozenset({"name", "action_url", "until", "device", "place", "time", "security_url"}),
    "email_change_notice": frozenset({"name", "device", "place", "time", "security_url"}),
    "email_change_undone": frozenset({"name", "reset_url", "device", "place", "time", "security_url"}),
    "email_changed": frozenset({"name", "action_url", "until", "device", "place", "time", "security_url"}),
    "audit_chain_broken": frozenset({"name", "organization", "entry", "time", "audit_url"}),
    "audit_export_ready": frozenset({"name", "rows", "until", "audit_url"}),
    "email_confirmation": frozenset({"name", "action_url", "code"}),
    "identity_linked": frozenset({"name", "provider", "device", "place", "time", "security_url"}),
    "identity_unlinked": frozenset({"name", "provider", "device", "place", "time", "security_url"}),
    "invitation_declined": frozenset({"name", "email", "organization"}),
    "limit_reached": frozenset({"name", "organization", "what", "limit", "upgrade_url"}),
    "magic_link": frozenset({"name", "action_url", "code", "device", "place", "time"}),
    "member_joined": frozenset({"name", "member", "role", "organization", "team_url"}),
    "member_removed": frozenset({"name", "organization"}),
    "membership_suspended": frozenset({"name", "organization"}),
    "new_device": frozenset({"name", "device", "place", "time", "security_url"}),
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


_TEXT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
_HTML = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=True)


def render(template: str, locale: str, variables: Mapping[str, str]) -> RenderedMail:
    """The mail in the wanted language, else in English. A line break in a subject is refused."""
    wanted = VARIABLES.get(template)
    if wanted is None:
        raise TemplateError(f"there is no template {template}")
    given = {name: value for name, value in variables.items() if name in wanted}
    if missing := wanted - given.keys():
        raise TemplateError(f"{template} needs {', '.join(sorted(missing))}")
    locale = locale if locale in LOCALES else "en"
    subject = _TEXT.from_string(source(template, locale, "subject")).render(given).strip()
    if "\n" in subject or "\r" in subject:
        raise TemplateError(f"the subject of {template} has a line break")
    text = _TEXT.from_string(source(template, locale, "txt")).render(given)
    content = _HTML.from_string(source(template, locale, "html")).render(given)
    html = _HTML.from_string(layout()).render(subject=subject, locale=locale, content=content)
    if len(text) + len(html) > LARGEST:
        raise TemplateError(f"{template} is larger than {LARGEST} bytes")
    return RenderedMail(subject, text, html)


@lru_cache(maxsize=256)
def source(template: str, locale: str, part: str) -> str:
    """The text of one file."""
    return (DIRECTORY / f"{template}.{locale}.{part}").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def layout() -> str:
    """The frame around every HTML part."""
    return (DIRECTORY / "layout.html").read_text(encoding="utf-8")
