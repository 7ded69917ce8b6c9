"""The tables of personal settings: the profile, and changes of the address."""

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, select, text, true
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from app.models.base import Base, Identified, Personal, Shared, Timestamps
from app.models.team import TeamMember

if TYPE_CHECKING:
    from app.core.access import Principal


class Profile(Timestamps, Shared, Base):
    """What a person says about themselves. Others are shown `PublicProfile` and nothing more."""

    __tablename__ = "profiles"
    __table_args__ = (
        CheckConstraint("char_length(full_name) <= 120", name="full_name"),
        CheckConstraint("char_length(company) <= 120", name="company"),
        CheckConstraint("char_length(bio) <= 2000", name="bio"),
        CheckConstraint("char_length(city) <= 120", name="city"),
        CheckConstraint("locale IN ('fr', 'en')", name="locale"),
        # For the foreign key: a file that is deleted is looked for here.
        Index(
            "profiles_avatar_file_id", "avatar_file_id", postgresql_where=text("avatar_file_id IS NOT NULL")
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    full_name: Mapped[str | None]
    company: Mapped[str | None]
    bio: Mapped[str | None]
    city: Mapped[str | None]
    locale: Mapped[str] = mapped_column(server_default="fr", default="fr")
    timezone: Mapped[str] = mapped_column(server_default="Europe/Paris", default="Europe/Paris")
    avatar_file_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("stored_files.id", ondelete="SET NULL", deferrable=True, initially="IMMEDIATE")
    )
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"), default=1)

    @classmethod
    def visible(cls, principal: "Principal") -> ColumnElement[bool]:
        """Every profile for a signed-in person; for an API key those of its organisation's members."""
        if principal.kind == "user":
            return true()
        members = TeamMember.__table__.alias("profiled_members")
        of_organization = select(members.c.user_id).where(
            members.c.organization_id == principal.organization_id
        )
        return cls.user_id.in_(of_organization)

    def writable(self, principal: "Principal") -> bool:
        """The person themselves."""
        return principal.kind == "user" and self.user_id == principal.user_id


class EmailChange(Identified, Timestamps, Personal, Base):
    """A change of a person's address: asked for, proved at the new address, and for some days undone."""

    __tablename__ = "email_changes"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'confirmed', 'undone', 'replaced', 'expired')", name="status"),
        Index(
            "email_changes_pending_key", "user_id", unique=True, postgresql_where=text("status = 'pending'")
        ),
        Index("email_changes_user_id", "user_id"),
    )

    old_email: Mapped[str]
    new_email: Mapped[str]
    session_id: Mapped[UUID]
    status: Mapped[str] = mapped_column(server_default="pending", default="pending")
    confirmed_at: Mapped[datetime | None]
    undo_until: Mapped[datetime | None]
