"""The access check of open streams: what a session or a key may read now, and which events make it ask."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import Row

from app.core import clock
from app.core.access import blocked_by, ended_by, ends_at
from app.core.database import Database
from app.core.key_access import ended_key, is_address_allowed, key_ends_at, key_permissions
from app.core.permissions import Permission, permissions_of
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

OF_KEYS = frozenset({"api_key.rotated", "api_key.updated"})
"""After these the streams of that key are checked again."""

DOUBTFUL = OF_MEMBERS | OF_ORGANIZATIONS | OF_KEYS | {"user.suspended"}
"""After these a check that is under way is made again. Whose key it is, is not known before."""

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


def rights_of_key(row: Row[Any] | None, address: str, now: datetime) -> Rights:
    """What the key of a stream may read, by points 2 to 4 of the page on keys."""
    ended = "api_key_invalid" if row is None else ended_key(row, now)
    if row is None or ended == "api_key_invalid" or not is_address_allowed(row, address):
        return Rights("session_revoked")
    if ended is not None:
        return Rights("session_expired")
    permissions = key_permissions(row)
    if Permission.events_read not in permissions:
        return Rights(None, key_ends_at(row))
    return Rights(None, key_ends_at(row), row.organization_id, permissions)


async def check(
    database: Database, connections: Sequence[Connection], apply: Callable[[Connection, Rights, int], None]
) -> None:
    """Repeat the access check of open connections, with one statement for sessions and one for keys.

    `apply` gets what was found for each.
    """
    number = next(numbers)
    people = [
        (one, (one.session_id, one.asked))
        for one in connections
        if one.asked is not None and one.session_id is not None
    ]
    by_key = [(one, one.key) for one in connections if one.asked is not None and one.key is not None]
    async with database.system(autocommit=True) as session:
        repository = StreamSessionRepository(session)
        facts = await repository.facts(sorted({asked for _, asked in people})) if people else {}
        wanted = sorted({(key.organization_id, key.key_id) for _, key in by_key})
        of_keys = await repository.facts_of_keys(wanted) if wanted else {}
    now = clock.now()
    for one, asked in people:
        apply(one, rights_of(facts.get(asked), now), number)
    for one, key in by_key:
        apply(one, rights_of_key(of_keys.get(key.key_id), key.address, now), number)


def ended_after(event: LogEvent, connections: Iterable[Connection]) -> list[Connection]:
    """The connections whose session or key an event has ended."""
    match event.type:
        case "session.revoked":
            session_id = str(event.data.get("session_id"))
            return [one for one in connections if str(one.session_id) == session_id]
        case "user.suspended":
            user_id = str(event.data.get("user_id"))
            return [one for one in connections if str(one.user_id) == user_id]
        case "api_key.revoked":
            return _of_keys({str(event.data.get("api_key_id"))}, connections)
    return []


def concerned_by(event: LogEvent, connections: Iterable[Connection]) -> list[Connection]:
    """The connections whose rights an event may have changed.

    Of those that are still being opened it is not known, so they only learn that they must ask again.
    """
    if event.type not in DOUBTFUL:
        return []
    for one in connections:
        one.is_doubtful = True
    if event.type in OF_ORGANIZATIONS:
        return [one for one in connections if one.asked == event.organization_id]
    data = event.data
    if event.type in OF_KEYS:
        return _of_keys({str(data.get("api_key_id")), str(data.get("rotated_from"))}, connections)
    if event.type not in OF_MEMBERS:
        return []
    user_id = str(data.get("user_id"))
    return [one for one in connections if one.asked == event.organization_id and str(one.user_id) == user_id]


def _of_keys(key_ids: set[str], connections: Iterable[Connection]) -> list[Connection]:
    return [one for one in connections if one.key is not None and str(one.key.key_id) in key_ids]
