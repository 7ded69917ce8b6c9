"""The tables of the audit log: the chain, its inbox, heads and checkpoints, exports, and keys per person."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    UniqueConstraint,
    desc,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from app.models.base import Base, Identified, Owned, OwnedKept, System, Timestamps

SYSTEM_CHAIN = UUID(int=0)
"""The chain of what belongs to no organisation; nobody's session sees it."""

GENESIS = bytes(32)
"""What the first entry of a chain links to."""

CONTENT_CHECKS = (
    ("outcome", "outcome IN ('success', 'failure', 'denied')"),
    (
        "actor_kind",
        "actor_kind IN ('user', 'api_key', 'scim', 'staff', 'stripe', 'customer', 'anonymous', 'system')",
    ),
    ("targets", "jsonb_array_length(targets) <= 10"),
    ("personal", "jsonb_array_length(personal) <= 4"),
)


class AuditContent(OwnedKept):
    """What happened, by whom, about whom: the columns of an entry before it has its place in the chain."""

    organization_id: Mapped[UUID] = mapped_column(sort_order=-10)
    id: Mapped[UUID] = mapped_column(sort_order=-8)
    occurred_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    action: Mapped[str]
    outcome: Mapped[str]
    actor_kind: Mapped[str]
    actor_id: Mapped[UUID | None]
    subject_id: Mapped[UUID | None]
    targets: Mapped[list[dict[str, str]]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    context: Mapped[dict[str, str | None]] = mapped_column(JSONB)
    changes: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    personal: Mapped[list[dict[str, str]]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)


class AuditLog(AuditContent, Base):
    """An entry in its place. Triggers refuse every change but the pruning of the oldest."""

    __tablename__ = "audit_logs"

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Any, ...]:
        return (
            PrimaryKeyConstraint("organization_id", "seq"),
            UniqueConstraint("organization_id", "id", name="audit_logs_event_key"),
            *(CheckConstraint(rule, name=name) for name, rule in CONTENT_CHECKS),
            Index("audit_logs_action", "organization_id", "action", desc("seq")),
            Index("audit_logs_actor", "organization_id", "actor_id", desc("seq")),
            Index("audit_logs_occurred_at", "organization_id", "occurred_at"),
            Index("audit_logs_subject", "subject_id", desc("occurred_at")),
            Index(
                "audit_logs_targets",
                "targets",
                postgresql_using="gin",
                postgresql_ops={"targets": "jsonb_path_ops"},
            ),
        )

    seq: Mapped[int] = mapped_column(BigInteger, autoincrement=False, sort_order=-9)
    prev_hash: Mapped[bytes] = mapped_column(LargeBinary)
    entry_hash: Mapped[bytes] = mapped_column(LargeBinary)


class AuditInbox(AuditContent, Base):
    """A finished entry that waits for its place."""

    __tablename__ = "audit_inbox"

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Any, ...]:
        return (
            PrimaryKeyConstraint("organization_id", "id"),
            *(CheckConstraint(rule, name=name) for name, rule in CONTENT_CHECKS),
            Index("audit_inbox_order", "organization_id", "occurred_at", "id"),
        )


class AuditHead(OwnedKept, Base):
    """Where a chain ends, and which entry was the last that was pruned at its beginning."""

    __tablename__ = "audit_heads"
    __table_args__ = (CheckConstraint("base_seq BETWEEN 0 AND seq", name="base_seq"),)

    seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), default=0)
    head_hash: Mapped[bytes] = mapped_column(LargeBinary)
    base_seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), default=0)
    base_hash: Mapped[bytes] = mapped_column(LargeBinary)


class AuditCheckpoint(Identified, OwnedKept, Base):
    """The head of a chain in one night, signed; a copy of it elsewhere shows a rewritten database."""

    __tablename__ = "audit_checkpoints"
    __table_args__ = (UniqueConstraint("organization_id", "seq"),)

    seq: Mapped[int] = mapped_column(BigInteger)
    head_hash: Mapped[bytes] = mapped_column(LargeBinary)
    signed_at: Mapped[datetime]
    key_id: Mapped[str]
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)


class AuditExport(Identified, Timestamps, Owned, Base):
    """A file of entries that somebody asked for."""

    __tablename__ = "audit_exports"
    __table_args__ = (
        CheckConstraint("format IN ('jsonl', 'csv')", name="format"),
        CheckConstraint("status IN ('queued', 'running', 'ready', 'failed', 'expired')", name="status"),
        Index("audit_exports_list", "organization_id", "created_at", "id"),
        Index(
            "audit_exports_running_key",
            "organization_id",
            unique=True,
            postgresql_where=text("status IN ('queued', 'running')"),
        ),
        Index("audit_exports_expires_at", "expires_at", postgresql_where=text("status = 'ready'")),
        Index("audit_exports_file_id", "file_id", postgresql_where=text("file_id IS NOT NULL")),
    )

    requested_by: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    format: Mapped[str]
    filters: Mapped[dict[str, Any]] = mapped_column(JSONB)
    status: Mapped[str] = mapped_column(server_default="queued", default="queued")
    row_count: Mapped[int | None] = mapped_column(Integer)
    file_id: Mapped[UUID | None] = mapped_column(ForeignKey("stored_files.id", ondelete="SET NULL"))
    error_code: Mapped[str | None]
    expires_at: Mapped[datetime | None]


class SubjectKey(System, Base):
    """The key under which a person's data stand in entries; a destroyed one is never made again."""

    __tablename__ = "subject_keys"
    __table_args__ = (
        CheckConstraint("(destroyed_at IS NULL) = (key_sealed IS NOT NULL)", name="destroyed_at"),
    )

    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    key_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    destroyed_at: Mapped[datetime | None]
