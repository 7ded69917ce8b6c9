"""Owns the catalogue of actions, which is the registry of events."""

import json
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.events import REGISTRY, AuditSpec, Event
from app.core.paging import Page, PageQuery, make_cursor, read_cursor
from app.schemas.audit import AuditAction
from app.services.audit.paging import START, offset_of

ALWAYS = ["ip_address", "user_agent", "country", "name", "email"]
"""What is sealed of every entry, where it is known."""


class AuditCatalogService:
    """Reads the catalogue."""

    def list(self, query: PageQuery) -> Page[AuditAction]:
        """A page of the actions that are kept, in alphabetical order."""
        audited = ((event, event.audit) for _, event in sorted(REGISTRY.items()))
        actions = [_action(event, spec) for event, spec in audited if isinstance(spec, AuditSpec)]
        scope = json.dumps(["audit_catalog"]).encode()
        begin = offset_of(query) if query.cursor is None else read_cursor(query.cursor, scope)[1].int
        end = begin + query.limit
        return Page[AuditAction](
            items=actions[begin:end],
            next_cursor=make_cursor(scope, START, UUID(int=end)) if end < len(actions) else None,
            total=len(actions) if query.page is not None or query.count else None,
        )


def _action(event: type[Event], spec: AuditSpec) -> AuditAction:
    return AuditAction(
        action=event.type,
        description=event.description,
        outcomes=[event.outcome],
        target_types=list(dict.fromkeys(kind for kind, _ in spec.targets)),
        personal_fields=[*ALWAYS, *spec.personal],
    )


AuditCatalog = Annotated[AuditCatalogService, Depends()]
