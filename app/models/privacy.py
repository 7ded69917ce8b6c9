"""The tables of privacy: the texts that people agree to, and the ledger of their consents."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, desc
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified, Personal, Reference

PURPOSES = ("terms", "privacy_policy", "marketing_email", "analytics")
"""What people agree to; each is the name of a text too."""


class PolicyDocument(Identified, Reference, Base):
    """A text in one version and language. Triggers refuse every change once it is there."""

    __tablename__ = "policy_documents"
    __table_args__ = (
        CheckConstraint("name IN ('terms', 'privacy_policy', 'marketing_email', 'analytics')", name="name"),
        CheckConstraint("version ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'", name="version"),
        CheckConstraint("locale IN ('fr', 'en')", name="locale"),
        CheckConstraint("octet_length(sha256) = 32", name="sha256"),
        UniqueConstraint("name", "version", "locale", name="policy_documents_name_version_locale_key"),
    )

    name: Mapped[str]
    version: Mapped[str]
    locale: Mapped[str]
    title: Mapped[str]
    body: Mapped[str]
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    is_material: Mapped[bool]
    published_at: Mapped[datetime]


class Consent(Identified, Created, Personal, Base):
    """What a person said to one purpose; the newest row of a purpose is the decision.

    Triggers refuse changes, but for forgetting who it was. `subject_ref` proves it after that.
    """

    __tablename__ = "consents"
    __table_args__ = (
        CheckConstraint(
            "purpose IN ('terms', 'privacy_policy', 'marketing_email', 'analytics')", name="purpose"
        ),
        CheckConstraint(
            "source IN ('signup', 'settings', 'banner', 'unsubscribe', 'import', 'erasure')", name="source"
        ),
        CheckConstraint("char_length(user_agent) <= 200", name="user_agent"),
        Index("consents_decision", "user_id", "purpose", desc("created_at")),
        Index("consents_proof", "subject_ref", "purpose", desc("created_at")),
    )

    # A person who goes leaves the row behind, so this is null then.
    user_id: Mapped[UUID | None] = mapped_column(  # type: ignore[assignment]
        ForeignKey("users.id", ondelete="SET NULL"), sort_order=-9
    )
    subject_ref: Mapped[bytes] = mapped_column(LargeBinary)
    purpose: Mapped[str]
    is_granted: Mapped[bool]
    policy_version: Mapped[str]
    policy_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    source: Mapped[str]
    ip_prefix: Mapped[Any | None] = mapped_column(INET)
    user_agent: Mapped[str | None]
