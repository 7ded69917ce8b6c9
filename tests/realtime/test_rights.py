"""Rights that change while a stream is open: it ends or is narrowed at exactly that position."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import delete, select, update

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.events import REGISTRY, Audience, Event, emit
from app.core.permissions import Permission
from app.models.auth import User, UserSession
from app.models.realtime import EventLog
from app.models.team import TeamMember, TeamRole
from app.repositories.realtime import StreamSessionRepository
from app.services.realtime import hub as hub_module
from tests.invariants.test_refusals import colleague_with
from tests.support.streams import STREAM, LiveServer, following, happen

pytestmark = pytest.mark.commits


def about_member(kind: str, user_id: UUID, *, audience: Audience = "organization") -> Event:
    """An event about a person that has all that streams look at, in the place of the service's own class."""
    REGISTRY.pop(kind, None)

    @dataclass(frozen=True, kw_only=True)
    class About(Event):
        type: ClassVar = kind
        description: ClassVar = "Something about a member."
        read_permission: ClassVar = Permission.members_read
        user_id: UUID

    About.audience = audience
    return About(user_id=user_id)


async def change(
    database: Database, who: Any, kind: str, statement: Any, *, before: Event, after: Event
) -> None:
    """Change rights in one transaction, with events before and after the one that tells of it."""
    organization = {"organization_id": who.organization_id}
    async with database.transaction() as session:
        await emit(session, before, **organization)
        await session.execute(statement)
        await emit(session, about_member(kind, who.user_id), **organization)
        await emit(session, after, **organization)


def member(who: Any, **values: Any) -> Any:
    return update(TeamMember).where(*membership(who)).values(**values)


def membership(who: Any) -> tuple[Any, Any]:
    return TeamMember.user_id == who.user_id, TeamMember.organization_id == who.organization_id


async def test_stream_is_narrowed_and_widened_when_the_role_changes(
    http: AsyncClient, database: Database, alice: Any, bob: Any, ordered: Any, noticed: Any
) -> None:
    async with following(http, bob.headers) as stream, following(http, alice.headers) as hers:
        steps = [
            ("team.member_role_changed", member(bob, role="designer")),
            ("team.member_role_changed", member(bob, role="manager")),
            ("team.member_suspended", member(bob, status="suspended")),
            ("team.member_activated", member(bob, status="active")),
        ]
        for number, (kind, statement) in enumerate(steps):
            before, after = ordered(number=10 * number), ordered(number=10 * number + 1)
            await change(database, bob, kind, statement, before=before, after=after)
            # A check finds the rights of its moment, so the next change waits until this one was seen.
            await hers.count(3 * (number + 1))
        gone = delete(TeamMember).where(*membership(bob))
        await change(
            database, bob, "team.member_removed", gone, before=ordered(number=40), after=ordered(number=41)
        )
        await happen(database, noticed(number=50), user_id=bob.user_id)
        await stream.until(lambda: any(frame.kind == "test.noticed" for frame in stream.events))
        await hers.until(lambda: len(hers.events) == 15)
    told = [(frame.kind, frame.data["data"].get("number")) for frame in stream.events]
    changed = ("team.member_role_changed", None)
    assert told == [
        ("test.ordered", 0),
        changed,
        changed,
        ("test.ordered", 11),
        ("test.ordered", 20),
        ("team.member_suspended", None),
        ("test.ordered", 31),
        ("test.ordered", 40),
        ("team.member_removed", None),
        ("test.noticed", 50),
    ]


async def test_stream_is_narrowed_when_its_custom_role_changes(
    http: AsyncClient, db: SystemSession, database: Database, alice: Any, ordered: Any, noticed: Any
) -> None:
    reader = await colleague_with(db, alice, Permission.orders_read)
    async with following(http, reader.headers) as stream:
        await change(
            database,
            reader,
            "team.role_updated",
            update(TeamRole).values(permissions=["products:read"]),
            before=ordered(number=1),
            after=ordered(number=2),
        )
        await happen(database, noticed(number=3), user_id=reader.user_id)
        await stream.until(lambda: 3 in stream.numbers)
    assert stream.numbers == [1, 3]


async def test_streams_of_a_session_end_when_it_is_revoked(
    http: AsyncClient, server: LiveServer, database: Database, alice: Any, bob: Any, noticed: Any
) -> None:
    async with (
        following(http, alice.headers) as stream,
        following(http, alice.headers) as second,
        following(http, bob.headers) as others,
    ):
        answer = await http.delete(f"/api/settings/sessions/{alice.session_id}", headers=alice.headers)
        assert answer.status_code == 204
        await happen(database, noticed(number=1), user_id=alice.user_id)
        await happen(database, noticed(number=2), user_id=bob.user_id)
        for ended in (stream, second):
            bye = await ended.end()
            assert [frame.kind for frame in ended.frames[-2:]] == ["session.revoked", "bye"]
            assert bye.data == {"code": "session_revoked", "reconnect": False}
        await others.until(lambda: 2 in others.numbers)
        assert not others.is_over
        refused = await http.get(STREAM, headers=alice.headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "session_revoked")


async def test_streams_of_a_person_end_when_the_account_is_suspended(
    http: AsyncClient, database: Database, alice: Any, noticed: Any
) -> None:
    async with following(http, alice.headers) as stream:
        async with database.transaction() as session:
            await session.execute(update(User).where(User.id == alice.user_id).values(status="suspended"))
            await emit(session, about_member("user.suspended", alice.user_id, audience="personal"))
            await emit(session, noticed(number=1), user_id=alice.user_id)
        bye = await stream.end()
    assert bye.data == {"code": "session_revoked", "reconnect": False}
    assert [frame.kind for frame in stream.events] == ["user.suspended"]


async def test_rights_hold_when_they_change_while_the_stream_is_opened(
    http: AsyncClient,
    server: LiveServer,
    database: Database,
    bob: Any,
    ordered: Any,
    noticed: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The access check of the opening has answered, and then the role is taken away."""
    real, has_changed = StreamSessionRepository.opening, False

    async def slow(repository: StreamSessionRepository, session_id: UUID, asked: UUID | None) -> Any:
        nonlocal has_changed
        row = await real(repository, session_id, asked)
        if not has_changed:
            has_changed = True
            taken = member(bob, role="designer")
            await change(
                database,
                bob,
                "team.member_role_changed",
                taken,
                before=ordered(number=1),
                after=ordered(number=2),
            )
            await sequenced(database, server, 3)
        return row

    monkeypatch.setattr(StreamSessionRepository, "opening", slow)
    async with following(http, bob.headers) as stream:
        await happen(database, ordered(number=3), organization_id=bob.organization_id)
        await happen(database, noticed(number=4), user_id=bob.user_id)
        await stream.until(lambda: 4 in stream.numbers)
    assert stream.numbers == [4]


async def sequenced(database: Database, server: LiveServer, count: int) -> None:
    """Wait until the hub has seen so many events."""
    found: list[int] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            async with database.system(autocommit=True) as session:
                found = list(await session.scalars(select(EventLog.pos).order_by(EventLog.pos)))
    await server.until(found[-1])


async def test_rights_end_within_a_minute_when_no_event_says_so(
    http: AsyncClient,
    server: LiveServer,
    database: Database,
    alice: Any,
    bob: Any,
    ordered: Any,
    noticed: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "CHECK_SECONDS", 1)
    async with following(http, bob.headers) as stream, following(http, alice.headers) as hers:
        async with database.transaction() as session:
            await session.execute(member(bob, status="suspended"))
            ended = update(UserSession).where(UserSession.id == alice.session_id)
            await session.execute(ended.values(revoked_at=clock.now()))
        assert (await hers.end()).data["code"] == "session_revoked"
        await happen(database, ordered(number=1), organization_id=bob.organization_id)
        await happen(database, noticed(number=2), user_id=bob.user_id)
        await stream.until(lambda: 2 in stream.numbers)
    assert stream.numbers == [2]


async def test_end_of_a_session_is_announced_and_moved_by_activity(
    http: AsyncClient, server: LiveServer, alice: Any, bob: Any
) -> None:
    idle = timedelta(seconds=get_settings().session_idle_seconds)
    async with following(http, alice.headers) as stream, following(http, bob.headers) as active:
        first_end = stream.frames[0].data["auth_expires_at"]
        with clock.travel(idle - timedelta(seconds=30)):
            expiring = await stream.first("auth_expiring")
            await active.first("auth_expiring")
            assert expiring.data == {"auth_expires_at": first_end}
            touched = update(UserSession).where(UserSession.id == bob.session_id)
            async with server.hub.database.transaction() as session:
                await session.execute(touched.values(last_activity_at=clock.now()))
        with clock.travel(idle + timedelta(seconds=1)):
            bye = await stream.end()
            refused = await http.get(STREAM, headers=alice.headers)
        assert bye.data == {"code": "session_expired", "reconnect": False}
        assert refused.status_code == 401
        assert not active.is_over
