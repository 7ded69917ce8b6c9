"""Owns a person's security log: the entries about them, in every organisation, opened by their own key."""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.database import Unscoped
from app.core.devices import device_name
from app.core.paging import Rows, make_cursor, offset_of, read_cursor
from app.models.audit import AuditLog
from app.repositories.audit import EntryFilter, OwnEntriesRepository
from app.schemas.audit import SecurityLogEntry, SecurityLogQuery
from app.services.audit.paging import scope_of, total_of
from app.services.audit.personal import Keys, open_keys
from app.services.audit.views import opened_parts

SHOWN_FOR = timedelta(days=90)


class SecurityLogService:
    """Reads what happened to the caller's account; every statement is bound to the caller's id."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        assert principal.user_id is not None  # noqa: S101 - the route is for signed-in people
        self.user_id: UUID = principal.user_id
        self.entries = OwnEntriesRepository(session, principal.user_id)

    async def list(self, query: SecurityLogQuery) -> Rows[SecurityLogEntry]:
        """A page of the caller's entries of ninety days, newest first."""
        wanted = EntryFilter(action=query.action, since=clock.now() - SHOWN_FOR)
        scope = scope_of("security_log", self.principal, query)
        after = None if query.cursor is None else read_cursor(query.cursor, scope)
        total = await total_of(query, lambda cap: self.entries.count(wanted, cap))
        found = await self.entries.page(wanted, after=after, offset=offset_of(query), limit=query.limit + 1)
        items = found[: query.limit]
        cursor = None
        if len(found) > query.limit:
            cursor = make_cursor(scope, items[-1].occurred_at, items[-1].id)
        keys = await open_keys(self.session, [self.user_id])
        return Rows([self._shown(entry, keys) for entry in items], cursor, total)

    def _shown(self, entry: AuditLog, keys: Keys) -> SecurityLogEntry:
        """Only the caller's own part is opened: where somebody else acted from is not theirs to see."""
        own: dict[str, Any] = opened_parts(entry, keys).get(self.user_id) or {}
        caller = own.get("caller", {})
        country = caller.get("country")
        session_id = entry.context.get("session_id")
        is_own = entry.actor_id in (self.user_id, None)
        return SecurityLogEntry(
            id=entry.id,
            action=entry.action,
            outcome=entry.outcome,  # type: ignore[arg-type]  # the database holds the closed list
            occurred_at=entry.occurred_at,
            ip_address=caller.get("ip_address"),
            device=device_name(caller.get("user_agent")),
            location={"country": country} if country else None,
            session_id=UUID(session_id) if session_id and is_own else None,
        )


SecurityLog = Annotated[SecurityLogService, Depends()]
