"""Exports of the audit log for tests; each function commits what it made."""

from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.audit import AuditExport
from tests.support.personas import Persona


async def make_export(db: SystemSession, *, owner: Persona, status: str = "failed") -> AuditExport:
    """An export that the owner asked for."""
    export = AuditExport(
        organization_id=owner.organization_id,
        id=uuid7(),
        requested_by=owner.user_id,
        format="csv",
        filters={"from": "2026-01-01T00:00:00.000000Z", "to": "2026-02-01T00:00:00.000000Z"},
        status=status,
    )
    db.add(export)
    await db.commit()
    return export
