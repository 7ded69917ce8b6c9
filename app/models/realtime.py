"""Tables of the event backbone: the log that everything reads, its epoch, and which handler has done what."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Index,
    SmallInteger,
    and_,
    func,
    or_,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from app.core.events import REGISTRY, Event, EventColumns
from app.models.base import Base, Shared, System

if TYPE_CHECKING:
    from app.core.access import Principal

_OF_ORGANIZATIONS = text("audience = 'organization'")


class EventLog(EventColumns, Shared, Base):
    """Every committed event in its order of delivery, `pos`. The outbox has checked what comes here."""

    __tablename__ = "event_log"
    __table_args__ = (
        Index("event_log_topic", "topic", "pos"),
        Index(
            "event_log_extra_topic", "extra_topic", "pos", postgresql_where=text("extra_topic IS NOT NULL")
        ),
        Index("event_log_type", "organization_id", "type", "pos", postgresql_where=_OF_ORGANIZATIONS),
        Index("event_log_object", "organization_id", "object_id", "pos", postgresql_where=_OF_ORGANIZATIONS),
        Index("event_log_sequenced", "sequenced_at", postgresql_using="brin"),
    )

    pos: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[UUID] = mapped_column(unique=True)
    occurred_at: Mapped[datetime]
    sequenced_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    @classmethod
    def visible(cls, principal: "Principal") -> ColumnElement[bool]:
        """Events of the principal's organisation that its permissions cover, and those of the person."""
        conditions = [
            and_(
                cls.audience == "organization",
                cls.organization_id == principal.organization_id,
                cls.type.in_(readable_types(principal)),
            )
        ]
        if principal.kind == "user":
            conditions.append(and_(cls.audience == "personal", cls.user_id == principal.user_id))
        return or_(*conditions)


class EventEpoch(System, Base):
    """The one row that makes stream cursors of this database differ from those of a restored copy."""

    __tablename__ = "event_epochs"
    __table_args__ = (
        CheckConstraint("id = 1", name="one"),
        CheckConstraint("salt ~ '^[0-9a-z]{6}$'", name="salt"),
    )

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    salt: Mapped[str]
    resume_floor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class EventHandling(System, Base):
    """That a handler has done its work for an event; committed with that work, so it is done once."""

    __tablename__ = "event_handlings"
    __table_args__ = (CheckConstraint("char_length(handler) <= 80", name="handler"),)

    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    handler: Mapped[str] = mapped_column(primary_key=True)
    handled_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RealtimeTicket(System, Base):
    """Lets a browser that cannot send headers open one stream, once and soon; it holds no secret."""

    __tablename__ = "realtime_tickets"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    session_id: Mapped[UUID]
    organization_id: Mapped[UUID]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


def readable_types(principal: "Principal") -> list[str]:
    """The types of organisation events whose read permission the principal holds, in alphabetical order."""
    return sorted(event.type for event in _of_organizations() if _may_read(principal, event))


def _of_organizations() -> Iterable[type[Event]]:
    return (event for event in REGISTRY.values() if event.audience == "organization")


def _may_read(principal: "Principal", event: type[Event]) -> bool:
    return event.read_permission is not None and principal.may(event.read_permission)
