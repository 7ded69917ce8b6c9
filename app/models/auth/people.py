"""The tables of authentication: people, passwords, sessions, e-mailed tokens, counted failures."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from app.models.base import Base, Identified, Json, Personal, Shared, System, Timestamps
from app.models.team import TeamMember

if TYPE_CHECKING:
    from app.core.access import Principal


class User(Identified, Timestamps, Shared, Base):
    """A person. `email` is the only address that is ever mailed; its canonical form is who they are."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'suspended', 'pending_erasure', 'erased')", name="status"),
        Index(
            "users_email_canonical_key",
            "email_canonical",
            unique=True,
            postgresql_where=text("status <> 'erased'"),
        ),
    )

    email: Mapped[str]
    email_canonical: Mapped[str]
    email_confirmed_at: Mapped[datetime | None]
    pending_email: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="active", default="active")
    mfa_enabled_at: Mapped[datetime | None]
    # Organisations refer to their maker, so these two constraints are added once both tables exist.
    managed_by_organization_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("organizations.id", ondelete="SET NULL", use_alter=True)
    )
    last_organization_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("organizations.id", ondelete="SET NULL", use_alter=True)
    )
    last_sign_in_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]

    @classmethod
    def visible(cls, principal: "Principal") -> ColumnElement[bool]:
        """Their own row, and those of the members of the active organisation."""
        # The alias keeps the subquery whole inside statements that join the members themselves.
        members = TeamMember.__table__.alias("colleagues")
        colleagues = select(members.c.user_id).where(members.c.organization_id == principal.organization_id)
        return or_(cls.id == principal.user_id, cls.id.in_(colleagues))


class Password(Timestamps, System, Base):
    """The password hash of a person who has one."""

    __tablename__ = "passwords"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    hash: Mapped[str]
    changed_at: Mapped[datetime]


class UserSession(Identified, Timestamps, Personal, Base):
    """A signed-in device. Refresh tokens are derived from the sealed key and the counter."""

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint(
            "auth_method IN ('password', 'magic_link', 'oauth', 'sso', 'invitation', 'break_glass')",
            name="auth_method",
        ),
        CheckConstraint("aal IN (1, 2)", name="aal"),
        CheckConstraint("char_length(user_agent) <= 512", name="user_agent"),
        CheckConstraint(
            "device_type IN ('desktop', 'mobile', 'tablet', 'bot', 'unknown')", name="device_type"
        ),
        Index(
            "sessions_user_id_last_activity_at",
            "user_id",
            "last_activity_at",
            postgresql_where=text("revoked_at IS NULL"),
        ),
        Index("sessions_organization_id", "organization_id", postgresql_where=text("revoked_at IS NULL")),
        Index("sessions_user_id_device_key_hash", "user_id", "device_key_hash"),
    )

    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"))
    auth_method: Mapped[str]
    amr: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    aal: Mapped[int] = mapped_column(SmallInteger)
    sso_organization_id: Mapped[UUID | None]
    refresh_key_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    refresh_counter: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), default=0)
    refreshed_at: Mapped[datetime | None]
    device_key_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    ip_address: Mapped[IPv4Address | IPv6Address | None] = mapped_column(INET)
    user_agent: Mapped[str | None]
    device_name: Mapped[str | None]
    device_type: Mapped[str | None]
    browser: Mapped[str | None]
    os: Mapped[str | None]
    location: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    is_remembered: Mapped[bool]
    idle_seconds: Mapped[int] = mapped_column(Integer)
    last_activity_at: Mapped[datetime]
    step_up_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None]
    replaced_by: Mapped[UUID | None]


class OneTimeToken(Identified, Timestamps, System, Base):
    """A token or code of a mail. It holds no secret: both are derived from the id."""

    __tablename__ = "one_time_tokens"
    __table_args__ = (
        CheckConstraint(
            "purpose IN ('email_confirm', 'email_change', 'email_change_undo', 'password_reset',"
            " 'magic_link', 'step_up', 'auth_code', 'team_invitation', 'ownership_transfer',"
            " 'erasure_cancel', 'sso_rollback')",
            name="purpose",
        ),
        Index(
            "one_time_tokens_live_key",
            "purpose",
            "owner_key",
            unique=True,
            postgresql_where=text("consumed_at IS NULL AND voided_at IS NULL"),
        ),
        Index("one_time_tokens_expires_at", "expires_at"),
    )

    purpose: Mapped[str]
    owner_key: Mapped[str]
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    organization_id: Mapped[UUID | None]
    subject_id: Mapped[UUID | None]
    email: Mapped[str | None]
    code_challenge: Mapped[str | None]
    redirect_to: Mapped[str | None]
    payload: Mapped[Json]
    attempt_count: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"), default=0)
    expires_at: Mapped[datetime]
    consumed_at: Mapped[datetime | None]
    voided_at: Mapped[datetime | None]


class SignInThrottle(Timestamps, System, Base):
    """Failed sign-ins in a row of one identifier, whether or not an account has it."""

    __tablename__ = "sign_in_throttles"

    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    failed_count: Mapped[int] = mapped_column(Integer)
    locked_until: Mapped[datetime | None]
    last_failed_at: Mapped[datetime]
