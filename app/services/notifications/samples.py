"""Owns the examples by which texts of mails are shown and judged: one value for each variable."""

from collections.abc import Mapping

from app.services.notifications.templates import VARIABLES

OVERRIDABLE = frozenset(
    (
        *("order_confirmation", "order_shipped", "order_delivered", "order_refunded"),
        *("ticket_received", "ticket_reply"),
    )
) & frozenset(VARIABLES)
"""The mails whose texts an organisation may write itself; the platform's staff may write all."""

ESSENTIAL = ("action_url", "code")
"""What a mail cannot do without where it declares it: nobody could go on."""

SAMPLES: Mapping[str, str] = {
    "action_label": "Show it",
    "action_url": "https://app.luneo.example/confirm#token=luneo_ot_example",
    "amount": "149.00 EUR",
    "app_url": "https://app.luneo.example",
    "audit_url": "https://app.luneo.example/settings/audit",
    "billing_url": "https://app.luneo.example/billing",
    "carrier": "Colissimo",
    "code": "042137",
    "course": "Modelling for beginners",
    "days": "7",
    "demands": "a second factor",
    "device": "Firefox on macOS",
    "email": "camille@maison.example",
    "endpoint": "https://shop.example/hooks",
    "entry": "4711",
    "giver": "Camille Martin",
    "invoice_number": "F-2026-000042",
    "is_last": "yes",
    "is_low": "yes",
    "items": "2 x Lamp\n1 x Chair",
    "key_hint": "luneo_sk_1a2b…9z8y",
    "key_name": "Warehouse",
    "keys_url": "https://app.luneo.example/integrations/api-keys",
    "limit": "5",
    "member": "Noé Petit",
    "message": "We look forward to working with you.",
    "name": "Camille",
    "number": "CMD-2026-000042",
    "organization": "Maison Martin",
    "outcome": "accepted",
    "inviter": "Camille Martin",
    "pay_url": "https://pay.example/invoices/42",
    "place": "FR",
    "plan": "Premium",
    "provider": "Google",
    "reason": "Payments that were disputed",
    "remaining": "2",
    "reset_url": "https://app.luneo.example/forgot-password",
    "role": "manager",
    "rows": "1200",
    "security_url": "https://app.luneo.example/settings/security",
    "service": "Slack",
    "shop": "Maison Martin",
    "sign_in_url": "https://app.luneo.example/login",
    "taker": "Noé Petit",
    "team_url": "https://app.luneo.example/team",
    "time": "2026-11-20 10:30 UTC",
    "title": "Something has happened",
    "tracking_number": "6A12345678901",
    "tracking_url": "https://carrier.example/6A12345678901",
    "transfer_url": "https://app.luneo.example/team/transfer",
    "until": "2026-11-27 10:30 UTC",
    "upgrade_url": "https://app.luneo.example/billing/plans",
    "webhooks_url": "https://app.luneo.example/integrations/webhooks",
    "connections_url": "https://app.luneo.example/integrations",
    "course_url": "https://app.luneo.example/courses",
    "what": "seats in the team",
}
"""One value for each variable of any template."""


def sample_of(template: str) -> dict[str, str]:
    """What the texts of this template may name, each with an example."""
    return {name: SAMPLES[name] for name in sorted(VARIABLES[template])}


def essential_of(template: str) -> list[str]:
    """What the text and the HTML of this template must name."""
    return [name for name in ESSENTIAL if name in VARIABLES[template]]
