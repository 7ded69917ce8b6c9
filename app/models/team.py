"""The tables of organisations: the organisation, its members, custom roles, invitations and transfers."""

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from app.core.permissions import Permission
from app.models.base import Base, Identified, Owned, Shared, Timestamps, owned_reference

if TYPE_CHECKING:
    from app.core.access import Principal


class Organization(Identified, Timestamps, Shared, Base):
    """Who owns every business row. A live one has exactly one owner whenever a transaction commits."""

    __tablename__ = "organizations"
    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 120", name="name"),
        CheckConstraint("kind IN ('personal', 'team')", name="kind"),
        CheckConstraint("session_max_seconds BETWEEN 3600 AND 2592000", name="session_max_seconds"),
        CheckConstraint("session_idle_seconds BETWEEN 300 AND 604800", name="session_idle_seconds"),
        UniqueConstraint("slug"),
    )

    name: Mapped[str]
    slug: Mapped[str]
    kind: Mapped[str]
    require_mfa: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    sso_enforced: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    session_max_seconds: Mapped[int | None] = mapped_column(Integer)
    session_idle_seconds: Mapped[int | None] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"), default=1)
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    deleted_at: Mapped[datetime | None]
    purge_after: Mapped[datetime | None]

    @classmethod
    def visible(cls, principal: "Principal") -> ColumnElement[bool]:
        """The active organisation."""
        return cls.id == principal.organization_id

    def writable(self, principal: "Principal") -> bool:
        """Those who may update the active organisation or its security."""
        return self.id == principal.organization_id and (
            principal.may(Permission.organization_update) or principal.may(Permission.security_manage)
        )


class TeamRole(Identified, Timestamps, Owned, Base):
    """A custom role of an organisation. The built-in ones are in `core/permissions.py`."""

    __tablename__ = "team_roles"
    __table_args__ = (
        CheckConstraint(
            "key ~ '^[a-z][a-z0-9_-]{1,31}$'"
            " AND key NOT IN ('owner', 'admin', 'manager', 'designer', 'member', 'viewer', 'custom')",
            name="key",
        ),
        CheckConstraint("char_length(name) <= 60", name="name"),
        CheckConstraint("char_length(description) <= 300", name="description"),
        UniqueConstraint("organization_id", "key", name="team_roles_key_key"),
    )

    key: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    permissions: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"), default=1)
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))


class TeamMember(Identified, Timestamps, Owned, Base):
    """A person's membership in an organisation, with exactly one role."""

    __tablename__ = "team_members"
    __table_args__ = (
        CheckConstraint(
            "role IN ('owner', 'admin', 'manager', 'designer', 'member', 'viewer', 'custom')", name="role"
        ),
        CheckConstraint("(role = 'custom') = (team_role_id IS NOT NULL)", name="team_role_id"),
        CheckConstraint("status IN ('active', 'suspended')", name="status"),
        CheckConstraint("role <> 'owner' OR status = 'active'", name="owner_is_active"),
        CheckConstraint(
            "source IN ('signup', 'creation', 'invitation', 'sso', 'scim', 'transfer')", name="source"
        ),
        # A role that somebody holds cannot be deleted; only a purge of the whole organisation takes both.
        owned_reference(["team_role_id"], "team_roles", ["id"]),
        UniqueConstraint("organization_id", "user_id", name="team_members_user_key"),
        Index(
            "team_members_owner_key", "organization_id", unique=True, postgresql_where=text("role = 'owner'")
        ),
        Index("team_members_user_id", "user_id"),
        Index("team_members_organization_id_team_role_id", "organization_id", "team_role_id"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    role: Mapped[str]
    team_role_id: Mapped[UUID | None]
    status: Mapped[str] = mapped_column(server_default="active", default="active")
    source: Mapped[str]
    external_id: Mapped[str | None]
    must_use_sso: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    access_valid_from: Mapped[datetime | None]
    invited_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    joined_at: Mapped[datetime]
    last_active_at: Mapped[datetime | None]


class Invitation(Identified, Timestamps, Owned, Base):
    """A seat that was offered to an address. It holds no secret: the token of its mail is derived."""

    __tablename__ = "invitations"
    __table_args__ = (
        CheckConstraint(
            "role IN ('admin', 'manager', 'designer', 'member', 'viewer', 'custom')", name="role"
        ),
        CheckConstraint(
            "status IN ('pending', 'accepted', 'declined', 'cancelled', 'expired')", name="status"
        ),
        # A role that is on offer cannot be deleted; a closed invitation only remembers its key.
        CheckConstraint(
            "(team_role_id IS NOT NULL) = (role = 'custom' AND status = 'pending')", name="team_role_id"
        ),
        CheckConstraint("char_length(message) <= 500", name="message"),
        CheckConstraint("send_count > 0", name="send_count"),
        CheckConstraint("(status = 'accepted') = (accepted_at IS NOT NULL)", name="accepted_at"),
        CheckConstraint("(status = 'declined') = (declined_at IS NOT NULL)", name="declined_at"),
        CheckConstraint("(status = 'cancelled') = (cancelled_at IS NOT NULL)", name="cancelled_at"),
        owned_reference(["team_role_id"], "team_roles", ["id"]),
        Index(
            "invitations_pending_key",
            "organization_id",
            "email_canonical",
            unique=True,
            postgresql_where=text("status = 'pending'"),
        ),
        Index("invitations_email_canonical", "email_canonical", postgresql_where=text("status = 'pending'")),
        Index("invitations_due", "expires_at", postgresql_where=text("status = 'pending'")),
        Index("invitations_organization_id_created_at_id", "organization_id", "created_at", "id"),
    )

    email: Mapped[str]
    email_canonical: Mapped[str]
    role: Mapped[str]
    team_role_id: Mapped[UUID | None]
    role_key: Mapped[str]
    message: Mapped[str | None]
    invited_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    status: Mapped[str] = mapped_column(server_default="pending", default="pending")
    expires_at: Mapped[datetime]
    send_count: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"), default=1)
    last_sent_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    accepted_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    declined_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]


class OwnershipTransfer(Identified, Timestamps, Owned, Base):
    """An offer of ownership to another member, who has to accept it."""

    __tablename__ = "ownership_transfers"
    __table_args__ = (
        CheckConstraint(
            "status IN ('pending', 'accepted', 'declined', 'cancelled', 'expired')", name="status"
        ),
        CheckConstraint("(status = 'pending') = (closed_at IS NULL)", name="closed_at"),
        Index(
            "ownership_transfers_pending_key",
            "organization_id",
            unique=True,
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ownership_transfers_due", "expires_at", postgresql_where=text("status = 'pending'")),
    )

    from_user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    to_user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    status: Mapped[str]
    expires_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
