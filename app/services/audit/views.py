"""Owns how an entry is shown: names and addresses as they were, or that they were erased."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app.core.audit import base64_text
from app.models.audit import AuditLog
from app.schemas.audit import AuditActor, AuditContext, AuditEntry, AuditTarget
from app.services.audit.personal import Keys, open_part

PEOPLE = frozenset({"user", "member", "invitation"})
"""Kinds of targets that are the person concerned, and bear their name."""


def subjects_of(entries: Iterable[AuditLog | Row[Any]]) -> set[UUID]:
    """Everybody whose data stand in these entries."""
    return {UUID(part["subject"]) for entry in entries for part in entry.personal}


def opened_parts(entry: AuditLog, keys: Keys) -> dict[UUID, dict[str, Any] | None]:
    """What an entry keeps of each person; None for what can no longer be read."""
    return {UUID(part["subject"]): open_part(keys, entry.id, part) for part in entry.personal}


def shown(entry: AuditLog, keys: Keys) -> AuditEntry:
    """An entry as its readers see it."""
    parts = opened_parts(entry, keys)
    merged: dict[str, Any] = {}
    for part in parts.values():
        merged.update(part or {})
    lost = {subject for subject, part in parts.items() if part is None}
    actor, subject = merged.get("actor", {}), merged.get("subject", {})
    is_subject_lost = entry.subject_id in lost
    return AuditEntry(
        id=entry.id,
        seq=entry.seq,
        occurred_at=entry.occurred_at,
        created_at=entry.created_at,
        action=entry.action,
        outcome=entry.outcome,  # type: ignore[arg-type]  # the database holds the closed list
        actor=AuditActor(
            kind=entry.actor_kind,  # type: ignore[arg-type]  # as above
            id=entry.actor_id,
            name=actor.get("name"),
            email=actor.get("email"),
            erased=entry.actor_id in lost,
        ),
        subject_id=entry.subject_id,
        targets=[_target(target, subject, is_lost=is_subject_lost) for target in entry.targets],
        context=_context(entry, merged.get("caller", {}), is_lost=bool(lost) and "caller" not in merged),
        changes=entry.changes,
        personal={"erased": True} if is_subject_lost else merged.get("kept"),
        prev_hash=base64_text(entry.prev_hash),
        entry_hash=base64_text(entry.entry_hash),
    )


def _target(target: Mapping[str, str], subject: Mapping[str, Any], *, is_lost: bool) -> AuditTarget:
    is_person = target["type"] in PEOPLE
    return AuditTarget(
        type=target["type"],
        id=target["id"],
        name=subject.get("name") if is_person else None,
        erased=is_person and is_lost,
    )


def _context(entry: AuditLog, caller: Mapping[str, Any], *, is_lost: bool) -> AuditContext:
    return AuditContext(
        ip_address=caller.get("ip_address"),
        user_agent=caller.get("user_agent"),
        country=caller.get("country"),
        session_id=_uuid(entry.context.get("session_id")),
        api_key_id=_uuid(entry.context.get("api_key_id")),
        request_id=entry.context.get("request_id"),
        erased=is_lost,
    )


def _uuid(value: str | None) -> UUID | None:
    return UUID(value) if value is not None else None
