"""What the routes of the platform's staff about mail take and answer."""

from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.core.mail_addresses import MailAddressText
from app.core.paging import PageQuery
from app.schemas.base import Input, Output, Text, Timestamp
from app.schemas.notifications.words import Category

EmailStatus = Literal[
    "queued", "sending", "sent", "delivered", "bounced", "complained", "failed", "suppressed", "expired"
]

SuppressionReason = Literal["hard_bounce", "complaint", "manual"]


class EmailQuery(PageQuery):
    """Which mails are wanted."""

    status: EmailStatus | None = Field(None, description="Only of this status.")
    template_key: Text | None = Field(None, max_length=60, description="Only by this template.")
    provider: Literal["smtp", "brevo", "sendgrid", "local"] | None = Field(
        None, description="Only by this sender."
    )


class EmailRead(Output):
    """A mail, as the staff sees it: what it says is not shown."""

    id: UUID
    status: EmailStatus
    to_masked: str = Field(description="The address, of which only its owner recognises the rest.")
    template_key: str
    template_version: int
    locale: str
    category: Category
    user_id: UUID | None
    organization_id: UUID | None
    message_id: str
    provider: str | None
    provider_message_id: str | None
    attempts: int
    next_attempt_at: Timestamp | None
    last_error_code: str | None
    sent_at: Timestamp | None
    expires_at: Timestamp
    created_at: Timestamp


class RetryAccepted(Output):
    """The mail is tried again."""

    id: UUID
    status: Literal["queued"] = "queued"


class SuppressionQuery(PageQuery):
    """Which blocked addresses are wanted."""

    reason: SuppressionReason | None = Field(None, description="Only for this reason.")


class SuppressionCreate(Input):
    """An address that is not written to any more."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "camille@maison.example", "reason": "manual"}]}
    )

    email: MailAddressText
    reason: SuppressionReason


class SuppressionRead(Output):
    """A blocked address, known by its hash alone."""

    id: UUID
    address_hash: str = Field(description="Base64url of the HMAC of the address.")
    reason: SuppressionReason
    provider: str | None
    created_at: Timestamp
