"""Owns the team's feed: the audit log reduced to acts on the organisation, without any address."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.events import REGISTRY
from app.core.paging import Rows
from app.models.audit import AuditLog
from app.models.settings import Profile
from app.repositories.audit import EntryFilter, EntryRepository
from app.schemas.audit import Activity, ActivityQuery, ActivityTarget
from app.schemas.base import PublicProfile
from app.services.audit.paging import numbered_page, scope_of
from app.services.audit.pruning import shown_since
from app.services.files.addresses import avatar_url

SHOWN = ("organization.*", "team.*", "sso.*", "branding.*")


class ActivityService:
    """Reads the feed of the caller's organisation."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.entries = EntryRepository(session)
        assert principal.organization_id is not None  # noqa: S101 - the route asks for a permission in one
        self.organization_id: UUID = principal.organization_id

    async def list(self, query: ActivityQuery) -> Rows[Activity]:
        """A page of acts, newest first, as far back as the plan shows the audit log."""
        wanted = EntryFilter(
            action=query.action,
            within=SHOWN,
            actor_id=query.actor_id,
            since=await shown_since(self.session, self.organization_id),
        )
        rows: Rows[AuditLog] = await numbered_page(
            query,
            scope_of("activity", self.principal, query),
            fetch=lambda before, offset, limit: self.entries.page(
                wanted, before=before, offset=offset, limit=limit
            ),
            count=lambda cap: self.entries.count(wanted, cap),
        )
        people = {row.actor_id for row in rows.items if row.actor_kind == "user" and row.actor_id}
        profiles = await self.entries.profiles(sorted(people))
        return rows.map(lambda row: _activity(row, profiles))


def _activity(row: AuditLog, profiles: Mapping[UUID, Profile]) -> Activity:
    event = REGISTRY.get(row.action)
    actor = None
    if row.actor_kind == "user" and row.actor_id is not None:
        profile = profiles.get(row.actor_id)
        actor = PublicProfile(
            id=row.actor_id,
            full_name=profile.full_name if profile else None,
            avatar_url=avatar_url(profile.avatar_file_id) if profile else None,
        )
    return Activity(
        id=row.id,
        occurred_at=row.occurred_at,
        actor=actor,
        action=row.action,
        summary=event.description if event else row.action,
        targets=[ActivityTarget(type=target["type"], id=target["id"]) for target in row.targets],
    )


ActivityFeed = Annotated[ActivityService, Depends()]
