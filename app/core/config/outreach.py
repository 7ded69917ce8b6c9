"""Settings of whom the service calls: mail, push services, connected services, customers' addresses."""

import base64
from ipaddress import ip_network

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from app.core.config.fields import WordList

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Private keys of the curve P-256 are below this."""


class OutreachSettings(BaseSettings):
    """Whom the service reaches, and what customers' addresses may be."""

    smtp_url: str | None = Field(
        None, description="`smtp://user:pass@host:587` or `smtps://…`; unset: local outbox."
    )
    brevo_api_key: str | None = Field(None, description="Lets mail go through Brevo.")
    sendgrid_api_key: str | None = Field(None, description="Lets mail go through SendGrid.")
    mail_providers: WordList = Field(
        ["smtp", "brevo", "sendgrid"],
        description="Which of the configured senders is tried first, second, third.",
    )
    mail_from: str = Field("Luneo <no-reply@luneo.test>", description="Sender of every mail.")
    vapid_private_key: str | None = Field(
        None, description="Key of web push, base64url; made and kept in DATA_DIR in development."
    )
    vapid_subject: str = Field(
        "mailto:no-reply@luneo.test", description="Whom push services write to: `mailto:…` or `https://…`."
    )
    push_hosts: WordList = Field([], description="Hosts of push services beyond the known ones.")
    notifications_retention_days: int = Field(
        180, ge=1, le=3650, description="How long notifications are kept."
    )
    outbound_allow_http: bool = Field(False, description="Lets customers' addresses be plain http.")
    outbound_ports: WordList = Field(
        ["443", "8443", "80", "8080"], description="Ports that customers' addresses may have."
    )
    outbound_allow: WordList = Field(
        [], description="Private networks (CIDR) that customers' addresses may lead to."
    )
    outbound_deny: WordList = Field(
        [], description="Networks (CIDR) that they never lead to, beyond the known."
    )
    slack_client_id: str | None = Field(
        None, description="Connections to Slack; unset: the sandbox plays it."
    )
    slack_client_secret: str | None = Field(None, description="The secret that belongs to it.")
    figma_client_id: str | None = Field(
        None, description="Connections to Figma; unset: the sandbox plays it."
    )
    figma_client_secret: str | None = Field(None, description="The secret that belongs to it.")
    hubspot_client_id: str | None = Field(
        None, description="Connections to HubSpot; unset: the sandbox plays it."
    )
    hubspot_client_secret: str | None = Field(None, description="The secret that belongs to it.")
    shopify_client_id: str | None = Field(
        None, description="Connections to Shopify; unset: the sandbox plays it."
    )
    shopify_client_secret: str | None = Field(None, description="The secret that belongs to it.")
    stripe_connect_client_id: str | None = Field(
        None, description="Connections to customers' Stripe accounts; the secret is STRIPE_SECRET_KEY."
    )

    @field_validator("outbound_allow", "outbound_deny")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for network in value:
            ip_network(network)
        return value

    @field_validator("outbound_ports")
    @classmethod
    def _ports(cls, value: list[str]) -> list[str]:
        if not all(port.isascii() and port.isdigit() and 0 < int(port) < 65536 for port in value):
            raise ValueError("list ports such as 443,8443")
        return value

    @field_validator("vapid_private_key")
    @classmethod
    def _point_of_the_curve(cls, value: str | None) -> str | None:
        if value is not None:
            raw = base64.urlsafe_b64decode(f"{value}=") if len(value) == 43 else b""
            if len(raw) != 32 or not 0 < int.from_bytes(raw, "big") < P256_ORDER:
                raise ValueError("give the 32 bytes of a private key of P-256 in base64url without padding")
        return value

    @field_validator("vapid_subject")
    @classmethod
    def _reachable(cls, value: str) -> str:
        if not value.startswith(("mailto:", "https://")) or not value.isascii():
            raise ValueError("give an address such as mailto:ops@example.com or https://example.com")
        return value

    @field_validator("mail_providers")
    @classmethod
    def _known_providers(cls, value: list[str]) -> list[str]:
        if not set(value) <= {"smtp", "brevo", "sendgrid"} or len(set(value)) != len(value):
            raise ValueError("list smtp, brevo and sendgrid in the order in which they are tried")
        return value
