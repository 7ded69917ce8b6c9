"""The tables of sign-in at other providers: identities and trips."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Personal, System, Timestamps


class Identity(Identified, Timestamps, Personal, Base):
    """A person as a provider knows them. No token of the provider is kept."""

    __tablename__ = "identities"
    __table_args__ = (
        UniqueConstraint("provider", "provider_subject"),
        UniqueConstraint("user_id", "provider"),
    )

    provider: Mapped[str]
    provider_subject: Mapped[str]
    email: Mapped[str | None]
    is_email_verified: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    last_sign_in_at: Mapped[datetime | None]


class ExternalSignIn(Identified, Timestamps, System, Base):
    """One trip to a provider and back. State, nonce and the PKCE verifier are derived from its id."""

    __tablename__ = "external_sign_ins"
    __table_args__ = (
        CheckConstraint("kind IN ('oauth', 'oidc', 'saml')", name="kind"),
        CheckConstraint("intent IN ('sign_in', 'link', 'test')", name="intent"),
        CheckConstraint("intent <> 'link' OR user_id IS NOT NULL", name="person"),
        Index("external_sign_ins_expires_at", "expires_at"),
    )

    kind: Mapped[str]
    provider: Mapped[str | None]
    organization_id: Mapped[UUID | None]
    connection_id: Mapped[UUID | None]
    intent: Mapped[str]
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    code_challenge: Mapped[str]
    redirect_to: Mapped[str]
    is_remembered: Mapped[bool]
    device_key_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    saml_request_id: Mapped[str | None]
    expires_at: Mapped[datetime]
    consumed_at: Mapped[datetime | None]
