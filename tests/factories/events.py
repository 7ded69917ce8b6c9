"""Events of the log for tests, as if they had been emitted and sequenced."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.realtime import EventLog
from tests.support.personas import Persona

NEXT = text("SELECT nextval('event_pos')")


async def make_event(
    db: SystemSession,
    *,
    owner: Persona,
    type: str = "product.updated",
    audience: str = "organization",
    object_type: str | None = None,
    object_id: str | None = None,
    event_id: UUID | None = None,
    occurred_at: datetime | None = None,
    **data: Any,
) -> EventLog:
    """An event of the owner's organisation, or of the owner with the audience `personal`."""
    identifier = event_id or uuid7()
    is_shared = audience == "organization"
    envelope = {
        "id": str(identifier),
        "type": type,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "api_version": "2026-01-01",
        "livemode": False,
        "organization_id": str(owner.organization_id) if is_shared else None,
        "actor": {"type": "user", "id": str(owner.user_id)},
        "object": {"type": object_type, "id": object_id} if object_type else None,
        "data": data,
    }
    row = EventLog(
        pos=(await db.execute(NEXT)).scalar_one(),
        event_id=identifier,
        type=type,
        audience=audience,
        topic=f"org:{owner.organization_id}" if is_shared else f"user:{owner.user_id}",
        organization_id=owner.organization_id,
        user_id=owner.user_id,
        object_type=object_type,
        object_id=object_id,
        actor_type="user",
        actor_id=owner.user_id,
        body=json.dumps(envelope, ensure_ascii=False, separators=(",", ":")),
        occurred_at=occurred_at or clock.now(),
    )
    db.add(row)
    await db.commit()
    return row
