"""Connections for tests that are not about connecting."""

from typing import Any

from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.integrations import Integration, IntegrationLog
from tests.support.personas import Persona


async def make_integration(db: SystemSession, *, owner: Persona, **values: Any) -> Integration:
    """A connection to Slack, without credentials."""
    row_id = uuid7()
    row = Integration(
        **{
            "organization_id": owner.organization_id,
            "id": row_id,
            "created_by": owner.user_id,
            "service": "slack",
            "status": "connected",
            "auth_mode": "oauth2",
            "external_account_id": f"T{row_id.hex}",
            "account_label": "Atelier",
            "scopes": ["chat:write"],
            **values,
        }
    )
    db.add(row)
    await db.commit()
    return row


async def make_log(db: SystemSession, *, integration: Integration, **values: Any) -> IntegrationLog:
    """An entry of a connection's log."""
    entry = IntegrationLog(
        **{
            "organization_id": integration.organization_id,
            "id": uuid7(),
            "integration_id": integration.id,
            "kind": "test",
            "is_ok": True,
            "duration_ms": 12,
            **values,
        }
    )
    db.add(entry)
    await db.commit()
    return entry
