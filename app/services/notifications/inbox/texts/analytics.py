"""Notices about files that somebody asked for."""

from uuid import UUID

from app.core.database import SystemSession
from app.services.audit.events import AuditExported
from app.services.notifications.inbox.notices import Fact, Notice, Words, in_both, notices_for


@notices_for(AuditExported)
async def audit_export_notices(session: SystemSession, fact: Fact) -> list[Notice]:  # noqa: ARG001 - all is said
    """To whoever asked, if they are still a member; its mail is the audit log's own."""
    rows = fact.data["row_count"]
    return [
        Notice(
            category="analytics",
            level="success",
            words=in_both(
                Words(
                    "Votre export du journal d'audit est prêt",
                    f"Il a {rows} entrées ; il est gardé quelques jours.",
                    "Télécharger",
                ),
                Words(
                    "Your export of the audit log is ready",
                    f"It has {rows} entries, and is kept for some days.",
                    "Download",
                ),
            ),
            people=[UUID(fact.data["user_id"])],
            is_for_actor=True,
            organization_id=fact.organization,
            path="/settings/audit",
            ids={"export_id": fact.data["export_id"]},
        )
    ]
