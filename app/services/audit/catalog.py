"""Owns the catalogue of actions, which is the registry of events."""

from typing import Annotated

from fastapi import Depends

from app.core.events import REGISTRY, AuditSpec, Event
from app.core.paging import PageQuery, Rows, page_of_all
from app.schemas.audit import AuditAction

ALWAYS = ["ip_address", "user_agent", "country", "name", "email"]
"""What is sealed of every entry, where it is known."""


class AuditCatalogService:
    """Reads the catalogue."""

    def list(self, query: PageQuery) -> Rows[AuditAction]:
        """A page of the actions that are kept, in alphabetical order."""
        audited = ((event, event.audit) for _, event in sorted(REGISTRY.items()))
        actions = [_action(event, spec) for event, spec in audited if isinstance(spec, AuditSpec)]
        return page_of_all(actions, query, b"audit_catalog")


def _action(event: type[Event], spec: AuditSpec) -> AuditAction:
    return AuditAction(
        action=event.type,
        description=event.description,
        outcomes=[event.outcome],
        target_types=list(dict.fromkeys(kind for kind, _ in spec.targets)),
        personal_fields=[*ALWAYS, *spec.personal],
    )


AuditCatalog = Annotated[AuditCatalogService, Depends()]
