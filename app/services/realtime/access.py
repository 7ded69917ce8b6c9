"""The access check of open streams: what a session may read now, and which events make it worth asking."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import Row

from app.core import clock
from app.core.access import blocked_by, ended_by, ends_at
from app.core.database import Database
from app.core.permissions import permissions_of
from app.repositories.realtime import StreamSessionRepository
from app.services.realtime.connections import Connection, Rights
from app.services.realtime.ring import LogEvent

OF_MEMBERS = frozenset(
    {
        "team.member_activated",
        "team.member_joined",
        "team.member_left",
        "team.member_removed",
        "team.member_role_changed",
        "team.member_suspended",
    }
)
"""After these the streams of that person in that organisation are checked again."""

OF_ORGANIZATIONS = frozenset(
    {
        "organization.deleted",
        "organization.restored",
        "organization.security_updated",
        "team.ownership_transferred",
        "team.role_updated",
    }
)
"""After these all streams in that organisation are checked again."""

numbers = count(1)
"""Checks in the order in which they were begun: a later one knows all that an earlier one could know."""


def rights_of(row: Row[Any] | None, now: datetime) -> Rights:
    """What the session of a stream may read, by points 2 to 8 of the authentication page."""
    if row is None:
        return Rights("session_revoked")
    match ended_by(row, now):
        case "session_expired":
            return Rights("session_expired")
        case None:
            pass
        case _:
            return Rights("session_revoked")
    if row.organization_id is None or blocked_by(row, now) is not None:
        return Rights(None, ends_at(row))
    return Rights(None, ends_at(row), row.organization_id, permissions_of(row.role, row.permissions))


async def check(
    database: Database, connections: Sequence[Connection], apply: Callable[[Connection, Rights, int], None]
) -> None:
    """Repeat the access check of open connections with one statement; `apply` gets what it found for each."""
    number = next(numbers)
    asked = [(one, one.asked) for one in connections if one.asked is not None]
    async with database.system(autocommit=True) as session:
        facts = await StreamSessionRepository(session).facts(
            sorted({(one.session_id, organization_id) for one, organization_id in asked})
        )
    now = clock.now()
    for one, organization_id in asked:
        apply(one, rights_of(facts.get((one.session_id, organization_id)), now), number)


def ended_after(event: LogEvent, connections: Iterable[Connection]) -> list[Connection]:
    """The connections whose session an event has ended."""
    match event.type:
        case "session.revoked":
            session_id = str(event.data.get("session_id"))
            return [one for one in connections if str(one.session_id) == session_id]
        case "user.suspended":
            user_id = str(event.data.get("user_id"))
            return [one for one in connections if str(one.user_id) == user_id]
    return []


def concerned_by(event: LogEvent, connections: Iterable[Connection]) -> list[Connection]:
    """The connections whose rights an event may have changed.

    Of those that are still being opened it is not known, so they only learn that they must ask again.
    """
    if event.type not in OF_ORGANIZATIONS | OF_MEMBERS:
        return []
    for one in connections:
        one.is_doubtful = True
    if event.type in OF_ORGANIZATIONS:
        return [one for one in connections if one.asked == event.organization_id]
    user_id = str(event.data.get("user_id"))
    return [one for one in connections if one.asked == event.organization_id and str(one.user_id) == user_id]
