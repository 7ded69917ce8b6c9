"""What happens to mails: how they ended, and what people asked for."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event

NO_AUDIT = "Mails have a history of their own."


@dataclass(frozen=True, kw_only=True)
class MailEvent(Event):
    """Something about one mail; to whom it went is not told."""

    audience: ClassVar[Audience] = "internal"
    audit: ClassVar[AuditSpec | str] = NO_AUDIT
    subject: ClassVar[tuple[str, str] | None] = ("email", "email_id")

    email_id: UUID


@dataclass(frozen=True, kw_only=True)
class EmailSent(MailEvent):
    """A sender has taken the mail."""

    type: ClassVar[str] = "email.sent"
    description: ClassVar[str] = "A mail was handed over to a mail provider."

    template: str
    provider: str


@dataclass(frozen=True, kw_only=True)
class EmailFailed(MailEvent):
    """The mail is not sent any more; `reason` is one of the closed list of codes."""

    type: ClassVar[str] = "email.failed"
    description: ClassVar[str] = "A mail could not be sent and is not tried again."

    template: str
    reason: str
    provider: str | None = None


@dataclass(frozen=True, kw_only=True)
class EmailRetryRequested(MailEvent):
    """The platform's staff wants a mail to be tried once more."""

    type: ClassVar[str] = "email.retry_requested"
    description: ClassVar[str] = "The platform's staff asked for a mail to be sent again."
    handlers: ClassVar[tuple[str, ...]] = ("mail_retry",)
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("email", "email_id"),))


@dataclass(frozen=True, kw_only=True)
class EmailTestRequested(Event):
    """Somebody wants to see a text in their own mailbox; the private part holds the rendered mail."""

    type: ClassVar[str] = "email.test_requested"
    description: ClassVar[str] = "A test of a mail's text was asked for."
    audience: ClassVar[Audience] = "internal"
    audit: ClassVar[AuditSpec | str] = "It goes to whoever asked for it."
    handlers: ClassVar[tuple[str, ...]] = ("mail",)

    user_id: UUID
    template: str


@dataclass(frozen=True, kw_only=True)
class MailCredentialsRejected(Event):
    """A mail provider does not take our key or password: somebody has to look."""

    type: ClassVar[str] = "email.credentials_rejected"
    description: ClassVar[str] = "A mail provider refused the credentials of the service."
    audience: ClassVar[Audience] = "internal"
    audit: ClassVar[AuditSpec | str] = "It is about the platform's own account."

    provider: str


@dataclass(frozen=True, kw_only=True)
class EmailTemplateChanged(Event):
    """An organisation's own text of a mail is in use from now on, or no longer."""

    type: ClassVar[str] = "email_template.updated"
    description: ClassVar[str] = "The text of a mail was changed, or set back to the platform's."
    audience: ClassVar[Audience] = "internal"
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("email_template", "key"),))

    key: str
    locale: str
    version: int | None


@dataclass(frozen=True, kw_only=True)
class SuppressionChanged(Event):
    """The staff blocked an address or opened it again."""

    type: ClassVar[str] = "email_suppression.updated"
    description: ClassVar[str] = "An address was blocked for mail, or opened again."
    audience: ClassVar[Audience] = "internal"
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("email_suppression", "suppression_id"),))

    suppression_id: UUID
    is_suppressed: bool
