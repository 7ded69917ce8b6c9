"""Domain events: their base class, their registry, and `emit()`, by which effects leave a transaction."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from uuid import UUID

from pydantic_core import to_json, to_jsonable_python
from sqlalchemy import BigInteger, CheckConstraint, Identity, LargeBinary, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core import clock
from app.core.callers import caller_facts
from app.core.config import get_settings
from app.core.crypto import key_ring, seal, unseal
from app.core.ids import uuid7
from app.core.permissions import Permission
from app.models.base import Base, System

if TYPE_CHECKING:
    from app.core.database import ScopedSession

API_VERSION = "2026-01-01"
MAX_PAYLOAD = 32 * 1024

Audience = Literal["organization", "personal", "topic", "internal"]

SHOWN_ACTORS = ("user", "api_key")
"""Whose ids readers of an event get to see; who of the platform's staff it was, only the audit log keeps."""

AUDIT = "audit"
"""The handler that keeps an event in the audit log."""

WEBHOOKS = "webhooks"
"""The handler that makes deliveries to customers' endpoints of an event."""

CALLER = "caller"
"""The member of an audited event's private part that says from where the request came."""

REGISTRY: dict[str, type["Event"]] = {}
"""Every event class by its type."""

_on_commit: list[Callable[[], None]] = []
"""What is told that this process has just committed an event: a sequencer that runs here wakes up early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSpec:
    """How an event becomes an entry of the audit log.

    `targets` are pairs of a kind of thing and the payload field with its id; `subject` is the payload field
    with the person concerned (None: the actor); `personal` are the members of the private part that the entry
    keeps, sealed under that person's key; `changes` is the payload field with `{field: [before, after]}`;
    `actor` is the payload field with the person who acted, where nobody was signed in yet.
    """

    targets: tuple[tuple[str, str], ...] = ()
    subject: str | None = None
    personal: tuple[str, ...] = ()
    changes: str | None = None
    actor: str | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """A fact in the past tense. Subclasses are frozen dataclasses whose fields are the payload (`data`).

    `type` names it, `audience` says who may hear of it, `read_permission` cuts an organisation's audience,
    `webhook` lets customers' webhooks carry it, `handlers` are the names of what happens afterwards,
    `subject` is the kind of thing it is about and the field that holds its id, `expand` names the thing with
    the id `<expand>_id`, which streams add to `data` as it is when it is sent; `audit` says what the audit
    log keeps, or in words why it keeps nothing. One that is audited has the handler `audit` by itself, and
    one that webhooks carry the handler `webhooks`.
    """

    type: ClassVar[str]
    description: ClassVar[str]
    audience: ClassVar[Audience]
    read_permission: ClassVar[Permission | None] = None
    webhook: ClassVar[bool] = False
    handlers: ClassVar[tuple[str, ...]] = ()
    subject: ClassVar[tuple[str, str] | None] = None
    expand: ClassVar[str | None] = None
    outcome: ClassVar[Literal["success", "failure", "denied"]] = "success"
    audit: ClassVar[AuditSpec | str] = ""
    is_audited: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls.is_audited = isinstance(cls.audit, AuditSpec)
        if "type" in cls.__dict__:
            if cls.is_audited and AUDIT not in cls.handlers:
                cls.handlers = (*cls.handlers, AUDIT)
            if cls.webhook and WEBHOOKS not in cls.handlers:
                cls.handlers = (*cls.handlers, WEBHOOKS)
            if REGISTRY.get(cls.type, cls).__qualname__ != cls.__qualname__:
                raise TypeError(f"two event classes have the type {cls.type}")
            REGISTRY[cls.type] = cls

    def data(self) -> dict[str, Any]:
        """The payload as JSON values; a field that would be a word taken here has an underscore behind it."""
        return {
            field.name.rstrip("_"): to_jsonable_python(getattr(self, field.name), serialize_unknown=False)
            for field in fields(self)
        }

    def topic(self) -> str:
        """The topic of a `topic` event; the other audiences have theirs by rule."""
        raise NotImplementedError(f"{type(self).__name__} has the audience `topic` and names none")


class EventColumns:
    """What the outbox and the log hold of an event alike."""

    event_id: Mapped[UUID]
    type: Mapped[str]
    audience: Mapped[str]
    topic: Mapped[str]
    extra_topic: Mapped[str | None]
    organization_id: Mapped[UUID | None]
    user_id: Mapped[UUID | None]
    object_type: Mapped[str | None]
    object_id: Mapped[str | None]
    actor_type: Mapped[str]
    actor_id: Mapped[UUID | None]
    session_id: Mapped[UUID | None]
    api_key_id: Mapped[UUID | None]
    outcome: Mapped[str] = mapped_column(server_default="success")
    request_id: Mapped[str | None]
    trace_id: Mapped[str | None]
    is_webhook: Mapped[bool] = mapped_column(server_default=text("false"))
    has_handlers: Mapped[bool] = mapped_column(server_default=text("false"))
    body: Mapped[str]
    private_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)


class EventOutbox(EventColumns, System, Base):
    """Events of committed transactions that the sequencer has not moved to the log yet."""

    __tablename__ = "event_outbox"
    __table_args__ = (
        CheckConstraint("char_length(type) <= 64", name="type"),
        CheckConstraint("audience IN ('organization', 'personal', 'topic', 'internal')", name="audience"),
        CheckConstraint("char_length(topic) <= 80", name="topic"),
        CheckConstraint("char_length(extra_topic) <= 80", name="extra_topic"),
        CheckConstraint("audience <> 'organization' OR organization_id IS NOT NULL", name="organization"),
        CheckConstraint("audience <> 'personal' OR user_id IS NOT NULL", name="person"),
        CheckConstraint("outcome IN ('success', 'failure', 'denied')", name="outcome"),
        CheckConstraint("octet_length(body) <= 40960", name="body"),
        {
            "postgresql_with": {
                "autovacuum_vacuum_threshold": 500,
                "autovacuum_vacuum_scale_factor": 0,
                "vacuum_truncate": "off",
            }
        },
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


async def emit(
    session: "ScopedSession",
    event: Event,
    *,
    private: Mapping[str, Any] | None = None,
    organization_id: UUID | None = None,
    user_id: UUID | None = None,
) -> UUID:
    """Add the event to the outbox in the caller's transaction, and do nothing else; answers the event's id.

    Organisation, actor, session and request come from the session's principal; an unscoped session passes
    `organization_id` or `user_id` itself. `private` is what only handlers may read; it is sealed. Rolled back
    means: it never happened, for anyone.
    """
    row = _outbox_row(session, event, private, organization_id, user_id)
    await _insert(session, [row])
    event_id: UUID = row["event_id"]
    return event_id


async def emit_all(
    session: "ScopedSession", events: Sequence[Event], *, organization_id: UUID | None = None
) -> None:
    """`emit` several events in this order with one statement, however many they are."""
    rows = [_outbox_row(session, event, None, organization_id, None) for event in events]
    if rows:
        await _insert(session, rows)


OUTBOX_COLUMNS = (
    "event_id",
    "type",
    "audience",
    "topic",
    "organization_id",
    "user_id",
    "object_type",
    "object_id",
    "actor_type",
    "actor_id",
    "session_id",
    "api_key_id",
    "outcome",
    "request_id",
    "trace_id",
    "is_webhook",
    "has_handlers",
    "body",
    "private_sealed",
)

OUTBOX_SQL = f"""
    INSERT INTO event_outbox ({", ".join(OUTBOX_COLUMNS)})
    SELECT {", ".join(OUTBOX_COLUMNS)} FROM jsonb_populate_recordset(NULL::event_outbox, $1::jsonb)
    """  # noqa: S608 - names of the code
"""One statement for any number of rows, which travel as one value: it is prepared once."""


async def _insert(session: "ScopedSession", rows: list[dict[str, Any]]) -> None:
    await session.fetch(OUTBOX_SQL, to_json(rows).decode())
    session.info["has_emitted"] = True


def _outbox_row(
    session: "ScopedSession",
    event: Event,
    private: Mapping[str, Any] | None,
    organization_id: UUID | None,
    user_id: UUID | None,
) -> dict[str, Any]:
    principal = session.principal
    event_id = uuid7()
    organization_id = organization_id or (principal.organization_id if principal else None)
    user_id = user_id or _field(event, "user_id") or (principal.user_id if principal else None)
    subject = event.subject
    data = event.data()
    if len(to_json(data)) > MAX_PAYLOAD:
        raise ValueError(f"the payload of {event.type} is larger than {MAX_PAYLOAD} bytes")
    actor = {
        "type": principal.actor_type if principal else "anonymous",
        "id": principal.actor_id if principal and principal.actor_type in SHOWN_ACTORS else None,
    }
    if event.is_audited and not (principal and principal.kind == "system"):
        private = {**(private or {}), CALLER: caller_facts()}
    about = {"type": subject[0], "id": str(getattr(event, subject[1]))} if subject else None
    envelope = {
        "id": event_id,
        "type": event.type,
        "timestamp": clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "api_version": API_VERSION,
        "livemode": get_settings().environment == "production",
        # An organisation is shown only where it is the audience: other events say nothing about one.
        "organization_id": organization_id if event.audience == "organization" else None,
        "actor": actor,
        "object": about,
        "data": data,
    }
    return {
        "event_id": event_id,
        "type": event.type,
        "audience": event.audience,
        "topic": _topic(event, organization_id, user_id),
        "organization_id": organization_id,
        "user_id": user_id,
        "object_type": about["type"] if about else None,
        "object_id": about["id"] if about else None,
        "actor_type": actor["type"],
        "actor_id": principal.actor_id if principal and principal.kind != "system" else None,
        "session_id": principal.session_id if principal else None,
        "api_key_id": principal.key_id if principal else None,
        "outcome": event.outcome,
        "request_id": session.info.get("request_id"),
        "trace_id": session.info.get("trace_id"),
        "is_webhook": event.webhook,
        # Webhooks alone make no work: the sequencer asks whether the organisation has an endpoint.
        "has_handlers": any(name != WEBHOOKS for name in event.handlers),
        "body": to_json(envelope).decode(),
        "private_sealed": _sealed(event_id, private),
    }


def _field(event: Event, name: str) -> UUID | None:
    value = getattr(event, name, None)
    return value if isinstance(value, UUID) else None


def _topic(event: Event, organization_id: UUID | None, user_id: UUID | None) -> str:
    match event.audience:
        case "organization":
            return f"org:{organization_id}"
        case "personal":
            return f"user:{user_id}"
        case "internal":
            return "internal"
        case _:
            return event.topic()


def _sealed(event_id: UUID, private: Mapping[str, Any] | None) -> str | None:
    """The private part, sealed, as the text of a `bytea`."""
    if private is None:
        return None
    plain = json.dumps(to_jsonable_python(dict(private))).encode()
    return "\\x" + seal(key_ring(), plain, context=private_context(event_id)).hex()


def private_context(event_id: UUID) -> str:
    """What binds a sealed private part to its event, in the outbox and in the log."""
    return f"event_log.private_sealed:{event_id}"


def open_private(event_id: UUID, sealed: bytes | None) -> dict[str, Any]:
    """The private part of an event row, for its handlers."""
    if sealed is None:
        return {}
    opened: dict[str, Any] = json.loads(unseal(key_ring(), sealed, context=private_context(event_id)))
    return opened


def on_commit(listener: Callable[[], None]) -> Callable[[], None]:
    """Call `listener` whenever this process has committed an event; answers what takes it off again."""
    _on_commit.append(listener)
    return lambda: _on_commit.remove(listener)


def announce_commit() -> None:
    """Called by the one commit, after a transaction that emitted."""
    for listener in _on_commit:
        listener()
