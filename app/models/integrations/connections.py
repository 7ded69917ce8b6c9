"""Tables of connections: grants of other services, authorisations under way, their log, revocations."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified, Json, Owned, System, Timestamps, owned_reference


class Integration(Identified, Timestamps, Owned, Base):
    """A connection to an account at another service."""

    __tablename__ = "integrations"
    __table_args__ = (
        CheckConstraint("char_length(service) <= 40", name="service"),
        CheckConstraint("status IN ('connected', 'error', 'needs_reauth', 'disconnected')", name="status"),
        CheckConstraint("auth_mode IN ('oauth2', 'api_key', 'inbound')", name="auth_mode"),
        CheckConstraint("char_length(external_account_id) <= 200", name="external_account_id"),
        CheckConstraint("char_length(account_label) <= 200", name="account_label"),
        CheckConstraint("char_length(token_type) <= 20", name="token_type"),
        CheckConstraint("char_length(refresh_lease_by) <= 64", name="refresh_lease_by"),
        CheckConstraint("octet_length(config::text) <= 16384", name="config"),
        CheckConstraint("char_length(error_code) <= 40", name="error_code"),
        CheckConstraint("char_length(error_message) <= 300", name="error_message"),
        CheckConstraint(
            "status <> 'disconnected' OR (access_token_sealed IS NULL AND refresh_token_sealed IS NULL)",
            name="wiped",
        ),
        Index(
            "integrations_account_key",
            "organization_id",
            "service",
            "external_account_id",
            unique=True,
            postgresql_where=text("status <> 'disconnected'"),
        ),
        # The job that refreshes looks at the connections of every organisation.
        Index("integrations_refresh_due", "next_refresh_at", postgresql_where=text("status = 'connected'")),
        Index("integrations_failing_due", "next_refresh_at", postgresql_where=text("status = 'error'")),
        Index("integrations_created_at", "organization_id", "created_at", "id"),
        Index("integrations_created_by", "created_by"),
    )

    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    service: Mapped[str]
    status: Mapped[str]
    auth_mode: Mapped[str]
    external_account_id: Mapped[str]
    account_label: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text()), server_default=text("'{}'"), default=list)
    access_token_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    refresh_token_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    token_type: Mapped[str | None]
    token_expires_at: Mapped[datetime | None]
    token_version: Mapped[int] = mapped_column(Integer, server_default=text("1"), default=1)
    refresh_lease_until: Mapped[datetime | None]
    refresh_lease_by: Mapped[str | None]
    refresh_failures: Mapped[int] = mapped_column(Integer, server_default=text("0"), default=0)
    last_refresh_at: Mapped[datetime | None]
    next_refresh_at: Mapped[datetime | None]
    config: Mapped[Json]
    details: Mapped[dict[str, Any]] = mapped_column(
        "metadata", JSONB, server_default=text("'{}'"), default=dict
    )
    last_sync_at: Mapped[datetime | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    disconnected_at: Mapped[datetime | None]


class OAuthState(Identified, Created, System, Base):
    """One way to a service and back. State and completion token are kept as SHA-256."""

    __tablename__ = "oauth_states"
    __table_args__ = (
        UniqueConstraint("state_hash"),
        UniqueConstraint("completion_hash"),
        CheckConstraint("octet_length(state_hash) = 32", name="state_hash"),
        CheckConstraint("octet_length(completion_hash) = 32", name="completion_hash"),
        CheckConstraint("char_length(redirect_after) <= 512", name="redirect_after"),
        ForeignKeyConstraint(
            ["organization_id", "integration_id"],
            ["integrations.organization_id", "integrations.id"],
            ondelete="CASCADE",
            deferrable=True,
            initially="IMMEDIATE",
        ),
        Index("oauth_states_expires_at", "expires_at"),
        Index("oauth_states_organization", "organization_id", "integration_id"),
        Index("oauth_states_user_id", "user_id"),
    )

    state_hash: Mapped[bytes] = mapped_column(LargeBinary)
    completion_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    session_id: Mapped[UUID]
    service: Mapped[str]
    integration_id: Mapped[UUID | None]
    pkce_verifier_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    code_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    redirect_after: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    params: Mapped[Json]
    expires_at: Mapped[datetime]
    returned_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]


class IntegrationLog(Identified, Created, Owned, Base):
    """What was done with a connection, and how it went; kept for 30 days."""

    __tablename__ = "integration_logs"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('connect', 'refresh', 'test', 'sync', 'disconnect', 'inbound')", name="kind"
        ),
        CheckConstraint("char_length(error_code) <= 40", name="error_code"),
        CheckConstraint("octet_length(detail::text) <= 4096", name="detail"),
        owned_reference(["integration_id"], "integrations", ["id"], ondelete="CASCADE"),
        Index("integration_logs_list", "organization_id", "integration_id", "created_at", "id"),
        Index("integration_logs_created_at", "created_at"),
    )

    integration_id: Mapped[UUID]
    kind: Mapped[str]
    is_ok: Mapped[bool]
    http_status: Mapped[int | None] = mapped_column(Integer)
    error_code: Mapped[str | None]
    duration_ms: Mapped[int] = mapped_column(Integer)
    detail: Mapped[Json]


class IntegrationRevocation(Identified, Created, System, Base):
    """A grant that is still to be revoked at its service; gone with success or the fifth failure."""

    __tablename__ = "integration_revocations"
    __table_args__ = (
        CheckConstraint("char_length(service) <= 40", name="service"),
        Index("integration_revocations_due", "next_attempt_at"),
        Index("integration_revocations_integration", "integration_id"),
    )

    # No reference: what is to be revoked outlives the connection and its organisation.
    integration_id: Mapped[UUID]
    service: Mapped[str]
    token_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"), default=0)
    next_attempt_at: Mapped[datetime]
