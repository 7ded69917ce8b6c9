"""The table of mail texts: those that an organisation or the platform wrote over the files."""

from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, or_, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from app.models.base import Base, Created, Identified, Shared

if TYPE_CHECKING:
    from app.core.access import Principal

LONGEST_SUBJECT = 300
LARGEST_HTML = 64 * 1024
LARGEST_TEXT = 32 * 1024

WHOSE = "COALESCE(organization_id, '00000000-0000-0000-0000-000000000000'::uuid)"
"""Whose text it is, where the platform counts as one more organisation: NULLs are never equal."""


class EmailTemplate(Identified, Created, Shared, Base):
    """A version of a mail's texts in one language; nothing of it changes but whether it is in use."""

    __tablename__ = "email_templates"
    __table_args__ = (
        CheckConstraint("char_length(key) <= 60", name="key"),
        CheckConstraint("locale IN ('fr', 'en')", name="locale"),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint(f"char_length(subject) BETWEEN 1 AND {LONGEST_SUBJECT}", name="subject"),
        CheckConstraint(f"octet_length(html) <= {LARGEST_HTML}", name="html"),
        CheckConstraint(f"octet_length(text) <= {LARGEST_TEXT}", name="text"),
        Index("email_templates_version_key", text(WHOSE), "key", "locale", "version", unique=True),
        Index(
            "email_templates_active_key",
            text(WHOSE),
            "key",
            "locale",
            unique=True,
            postgresql_where=text("is_active"),
        ),
        # For the foreign keys.
        Index("email_templates_organization_id", "organization_id"),
        Index("email_templates_created_by", "created_by"),
    )

    organization_id: Mapped[UUID | None] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"))
    key: Mapped[str]
    locale: Mapped[str]
    version: Mapped[int]
    subject: Mapped[str]
    html: Mapped[str]
    text: Mapped[str]
    is_active: Mapped[bool]
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))

    @classmethod
    def visible(cls, principal: "Principal") -> ColumnElement[bool]:
        """The platform's texts and those of the caller's organisation."""
        return or_(cls.organization_id.is_(None), cls.organization_id == principal.organization_id)

    def writable(self, principal: "Principal") -> bool:
        """An organisation writes its own texts; the platform's are written by its staff."""
        return self.organization_id is not None and self.organization_id == principal.organization_id
