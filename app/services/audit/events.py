"""Owns what is told of the audit log itself, and of refusals."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event
from app.core.permissions import Permission


@dataclass(frozen=True, kw_only=True)
class AccessDenied(Event):
    """Somebody known was refused: at most once a minute per caller and route."""

    type: ClassVar[str] = "access.denied"
    description: ClassVar[str] = "Somebody asked for what they have no right to."
    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.audit_read
    outcome: ClassVar[Literal["success", "failure", "denied"]] = "denied"
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("permission", "permission"), ("route", "route"), ("reason", "reason"))
    )

    permission: str | None
    route: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class AuditEvent(Event):
    """What is told to those who may read the log."""

    audience: ClassVar[Audience] = "organization"
    read_permission: ClassVar[Permission | None] = Permission.audit_read


@dataclass(frozen=True, kw_only=True)
class AuditRead(AuditEvent):
    """Somebody has read the log: at most once an hour per caller, with the first filters."""

    type: ClassVar[str] = "audit.read"
    description: ClassVar[str] = "The audit log was read; told at most once an hour per reader."
    audit: ClassVar[AuditSpec | str] = AuditSpec()

    filters: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class AuditVerified(AuditEvent):
    """A chain was recomputed, by somebody or in the night."""

    type: ClassVar[str] = "audit.verified"
    description: ClassVar[str] = "The chain of the audit log was recomputed and compared."
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("result", "result"), ("entry", "first_bad_seq")))

    organization_id: UUID
    ok: bool
    result: Literal["valid", "broken"]
    from_seq: int
    to_seq: int
    first_bad_seq: int | None


@dataclass(frozen=True, kw_only=True)
class AuditExportRequested(Event):
    """A file of entries was asked for."""

    type: ClassVar[str] = "audit.export_requested"
    description: ClassVar[str] = "A file of the audit log was asked for."
    audience: ClassVar[Audience] = "internal"
    handlers: ClassVar[tuple[str, ...]] = ("audit_export",)
    audit: ClassVar[AuditSpec | str] = "The finished file is kept as audit.exported."

    organization_id: UUID
    export_id: UUID


@dataclass(frozen=True, kw_only=True)
class AuditExported(AuditEvent):
    """A file of entries is ready."""

    type: ClassVar[str] = "audit.exported"
    description: ClassVar[str] = "A file of the audit log is ready."
    handlers: ClassVar[tuple[str, ...]] = ("mail", "notifications")
    audit: ClassVar[AuditSpec | str] = AuditSpec(
        targets=(("audit_export", "export_id"), ("format", "format")), subject="user_id", actor="user_id"
    )

    export_id: UUID
    user_id: UUID
    format: str
    row_count: int


@dataclass(frozen=True, kw_only=True)
class AuditPruned(AuditEvent):
    """The oldest entries, beyond their keeping time, were deleted."""

    type: ClassVar[str] = "audit.pruned"
    description: ClassVar[str] = "Entries of the audit log beyond their keeping time were deleted."
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("entry", "up_to_seq"),))

    up_to_seq: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class AuditCheckpointSigned(AuditEvent):
    """The head of a chain was signed; keep it outside of this service."""

    type: ClassVar[str] = "audit.checkpoint_signed"
    description: ClassVar[str] = (
        "The head of the audit log was signed. A copy outside shows whether the log was ever rewritten."
    )
    webhook: ClassVar[bool] = True
    audit: ClassVar[AuditSpec | str] = AuditSpec(targets=(("entry", "seq"), ("key", "key_id")))

    seq: int
    head_hash: str
    signed_at: datetime
    key_id: str
    signature: str
