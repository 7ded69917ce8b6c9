"""The tables of personal settings: the profile."""

from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Integer, select, text, true
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from app.models.base import Base, Shared, Timestamps
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
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    full_name: Mapped[str | None]
    company: Mapped[str | None]
    bio: Mapped[str | None]
    city: Mapped[str | None]
    locale: Mapped[str] = mapped_column(server_default="fr", default="fr")
    timezone: Mapped[str] = mapped_column(server_default="Europe/Paris", default="Europe/Paris")
    avatar_file_id: Mapped[UUID | None]
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
