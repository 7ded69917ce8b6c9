"""Shapes of the sandbox pages of development and test."""

from uuid import UUID

from pydantic import Field

from app.schemas.base import Output, Timestamp


class SandboxMail(Output):
    """One mail of the local outbox."""

    id: UUID
    to: str
    from_: str = Field(serialization_alias="from")
    subject: str
    text: str
    html: str
    template: str | None
    locale: str | None
    links: list[str]
    code: str | None
    created_at: Timestamp


class SandboxMails(Output):
    """The newest mails first."""

    items: list[SandboxMail]
