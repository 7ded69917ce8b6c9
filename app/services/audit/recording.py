"""Owns what an event leaves in the audit log, and in which chain."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from app.core.audit import settled
from app.core.database import SystemSession
from app.core.events import CALLER, REGISTRY, AuditSpec
from app.models.audit import SYSTEM_CHAIN
from app.repositories.audit import InboxRepository, NamedPerson, PeopleOfEventsRepository
from app.services.audit.personal import seal_parts

MOST_TARGETS = 10
LONGEST_TARGET = 200


class Happened(Protocol):
    """An event of the log, as its handlers get it."""

    @property
    def event_id(self) -> UUID: ...
    @property
    def type(self) -> str: ...
    @property
    def audience(self) -> str: ...
    @property
    def organization_id(self) -> UUID | None: ...
    @property
    def actor_type(self) -> str: ...
    @property
    def actor_id(self) -> UUID | None: ...
    @property
    def session_id(self) -> UUID | None: ...
    @property
    def api_key_id(self) -> UUID | None: ...
    @property
    def outcome(self) -> str: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def data(self) -> dict[str, Any]: ...
    @property
    def private(self) -> dict[str, Any]: ...


async def record(session: SystemSession, event: Happened) -> UUID:
    """Put what the log keeps of an event into the inbox of its chain; answers the chain."""
    spec = REGISTRY[event.type].audit
    assert isinstance(spec, AuditSpec)  # noqa: S101 - only such classes have this handler
    data, private = event.data, event.private
    actor_kind, actor_id = _actor(event, spec, data, has_caller=CALLER in private)
    acting_user = actor_id if actor_kind == "user" else None
    subject_id = _id(data, spec.subject) or acting_user
    people = PeopleOfEventsRepository(session)
    chain = await _chain(people, event, subject_id)
    named = dict(await people.named({person for person in (acting_user, subject_id) if person is not None}))
    if actor_kind == "api_key" and actor_id is not None:
        named[actor_id] = NamedPerson(await people.key_name(chain, actor_id), None)
    parts = _parts(spec, private, actor_id, subject_id, named)
    session_id = event.session_id or _id(data, "session_id")
    await InboxRepository(session).add(
        {
            "organization_id": chain,
            "id": event.event_id,
            "occurred_at": event.occurred_at,
            "action": event.type,
            "outcome": event.outcome,
            "actor_kind": actor_kind,
            "actor_id": actor_id,
            "subject_id": subject_id,
            "targets": list(_targets(spec, data))[:MOST_TARGETS],
            "context": {
                "session_id": str(session_id) if session_id else None,
                "api_key_id": str(event.api_key_id) if event.api_key_id else None,
                "request_id": event.request_id,
            },
            "changes": settled(data.get(spec.changes)) if spec.changes else None,
            "personal": await seal_parts(session, event.event_id, parts),
        }
    )
    return chain


async def _chain(people: PeopleOfEventsRepository, event: Happened, subject_id: UUID | None) -> UUID:
    """The organisation's own, for what is about one; else that of the person's home, else the system's."""
    if event.organization_id is not None and event.audience != "personal":
        return event.organization_id
    home = await people.home_of(subject_id) if subject_id is not None else None
    return home or SYSTEM_CHAIN


def _actor(
    event: Happened, spec: AuditSpec, data: Mapping[str, Any], *, has_caller: bool
) -> tuple[str, UUID | None]:
    """Who acted: whoever has just proved who they are did it as that person.

    A handler that knows a caller only finished what somebody nameless had asked for.
    """
    if event.actor_type != "user" and (person := _id(data, spec.actor)) is not None:
        return "user", person
    if event.actor_type == "system" and has_caller:
        return "anonymous", None
    return event.actor_type, event.actor_id


def _parts(
    spec: AuditSpec,
    private: Mapping[str, Any],
    actor_id: UUID | None,
    subject_id: UUID | None,
    named: Mapping[UUID, NamedPerson],
) -> dict[UUID, dict[str, Any]]:
    """What is kept of each person: of the one who acts from where, of both how they are called.

    From where somebody unknown came is kept for the person concerned, and else under nobody's key.
    """
    parts: dict[UUID, dict[str, Any]] = {}
    caller = {name: value for name, value in private.get(CALLER, {}).items() if value is not None}
    if caller:
        parts.setdefault(actor_id or subject_id or SYSTEM_CHAIN, {})["caller"] = caller
    if actor_id is not None and actor_id in named:
        parts.setdefault(actor_id, {})["actor"] = named[actor_id]._asdict()
    if subject_id is not None:
        if subject_id in named:
            parts.setdefault(subject_id, {})["subject"] = named[subject_id]._asdict()
        kept = {name: settled(private[name]) for name in spec.personal if private.get(name) is not None}
        if kept:
            parts.setdefault(subject_id, {})["kept"] = kept
    return parts


def _targets(spec: AuditSpec, data: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for kind, field in spec.targets:
        value = data.get(field)
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                yield {"type": kind, "id": str(item)[:LONGEST_TARGET]}


def _id(data: Mapping[str, Any], field: str | None) -> UUID | None:
    value = data.get(field) if field is not None else None
    return UUID(value) if value is not None else None
