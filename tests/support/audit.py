"""What tests of the audit log share: entries made at will, the chain as rows, and a hash worked out apart."""

import base64
import hashlib
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.audit import AuditInbox, AuditLog
from app.services.audit.chaining import append
from app.services.audit.personal import seal_parts
from tests.support.personas import Persona

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


async def make_entry(
    db: SystemSession,
    organization_id: UUID,
    *,
    action: str = "team.member_role_changed",
    outcome: str = "success",
    actor: Persona | None = None,
    subject: Persona | None = None,
    occurred_at: datetime | None = None,
    targets: list[dict[str, str]] | None = None,
    changes: dict[str, Any] | None = None,
    name: str = "Alice",
    user_agent: str = BROWSER,
) -> UUID:
    """An entry with its place in the chain, as if its event had been handled; answers the event's id."""
    event_id = uuid7()
    parts: dict[UUID, dict[str, Any]] = {}
    if actor is not None:
        parts[actor.user_id] = {
            "caller": {"ip_address": "192.0.2.7", "user_agent": user_agent},
            "actor": {"name": name, "email": actor.email},
        }
    if subject is not None:
        parts.setdefault(subject.user_id, {})["subject"] = {"name": "Camille", "email": subject.email}
    entry = AuditInbox(
        organization_id=organization_id,
        id=event_id,
        occurred_at=occurred_at or clock.now(),
        action=action,
        outcome=outcome,
        actor_kind="user" if actor else "system",
        actor_id=actor.user_id if actor else None,
        subject_id=subject.user_id if subject else actor.user_id if actor else None,
        targets=targets if targets is not None else [{"type": "member", "id": str(event_id)}],
        context={"session_id": None, "api_key_id": None, "request_id": "r-1"},
        changes=changes,
        personal=await seal_parts(db, event_id, parts),
    )
    db.add(entry)
    await db.flush()
    await append(db, organization_id)
    await db.commit()
    return event_id


async def entries(db: SystemSession, action: str | None = None, *, of: UUID | None = None) -> list[AuditLog]:
    """Entries by chain and number: of one kind, of one chain, or all."""
    statement = select(AuditLog).order_by(AuditLog.organization_id, AuditLog.seq)
    if action is not None:
        statement = statement.where(AuditLog.action == action)
    if of is not None:
        statement = statement.where(AuditLog.organization_id == of)
    return list((await db.scalars(statement.execution_options(populate_existing=True))).all())


def hash_apart(entry: AuditLog) -> bytes:
    """The hash of an entry by the words of the specification, with nothing of the service's code."""
    canonical = json.dumps(
        [
            "audit.v1",
            str(entry.organization_id),
            entry.seq,
            str(entry.id),
            entry.occurred_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            entry.action,
            entry.outcome,
            entry.actor_kind,
            str(entry.actor_id) if entry.actor_id else None,
            str(entry.subject_id) if entry.subject_id else None,
            entry.targets,
            entry.context,
            entry.changes,
            entry.personal,
        ],
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return hashlib.sha256(entry.prev_hash + canonical.encode()).digest()


async def tamper(db: SystemSession, statement: str, **values: Any) -> None:
    """Change rows as somebody would who controls the database: with its triggers switched off."""
    await db.execute(text("SET LOCAL session_replication_role = replica"))
    await db.execute(text(statement), values)
    await db.execute(text("SET LOCAL session_replication_role = origin"))
    await db.commit()
    db.expire_all()


def bytes_of(value: str) -> bytes:
    """What a base64 text of the API stands for."""
    return base64.b64decode(value, validate=True)
