"""Streams and polls with an API key: what it gets, and how it loses it while the stream is open."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import update

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.events import emit
from app.core.permissions import Permission
from app.models.auth import User
from app.models.integrations import ApiKey
from app.models.team import TeamMember
from app.repositories.realtime import StreamSessionRepository
from app.services.realtime import hub as hub_module
from tests.factories.integrations import make_api_key_row
from tests.realtime.test_rights import about_member
from tests.support.personas import Persona
from tests.support.streams import STREAM, Followed, following, happen

pytestmark = pytest.mark.commits

POLL = "/api/realtime/events"
KEYS = "/api/integrations/api-keys"
ENDED = {"code": "session_revoked", "reconnect": False}


async def until_number(stream: Followed, number: int) -> None:
    """Wait for the test's own event with this number; others may come before it."""
    await stream.until(lambda: any(frame.data["data"].get("number") == number for frame in stream.events))


@pytest.fixture
async def made(db: SystemSession, alice: Persona, bob: Persona) -> tuple[ApiKey, dict[str, str]]:
    """A key that Bob made in Alice's organisation, for orders and events."""
    words = ["events:read", "orders:read", "members:read"]
    key, secret = await make_api_key_row(db, owner=alice, created_by=bob.user_id, permissions=words)
    return key, {"X-API-Key": secret}


async def test_stream_when_a_key_opens_it(
    http: AsyncClient,
    database: Database,
    alice: Persona,
    bob: Persona,
    charlie: Persona,
    made: Any,
    ordered: Any,
    noticed: Any,
) -> None:
    """It gets its organisation's events that its scopes cover, and nobody's own."""
    async with following(http, made[1]) as stream:
        hello = await stream.first("hello")
        assert (hello.data["organization"], hello.data["auth_expires_at"]) == (
            str(alice.organization_id),
            None,
        )
        await happen(database, noticed(number=1), user_id=bob.user_id)
        await happen(database, ordered(number=2), organization_id=charlie.organization_id)
        await happen(database, ordered(number=3), organization_id=alice.organization_id)
        await stream.until_number(3)
    assert stream.numbers == [3]


async def test_poll_when_a_key_asks(
    http: AsyncClient, database: Database, alice: Persona, bob: Persona, made: Any, ordered: Any, noticed: Any
) -> None:
    begin = (await http.get(POLL, headers=made[1])).json()["next_cursor"]
    await happen(database, noticed(number=1), user_id=bob.user_id)
    await happen(database, ordered(number=2), organization_id=alice.organization_id)
    answer = await http.get(POLL, headers=made[1], params={"cursor": begin, "wait": 10})
    assert [item["data"]["number"] for item in answer.json()["items"]] == [2]


async def test_key_when_it_lacks_the_scope(http: AsyncClient, db: SystemSession, alice: Persona) -> None:
    _, secret = await make_api_key_row(db, owner=alice, permissions=["orders:read"])
    for address in (STREAM, POLL, "/api/events"):
        answer = await http.get(address, headers={"X-API-Key": secret})
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
        assert answer.json()["scope"] == "events:read"
    answer = await http.post("/api/realtime/tickets", headers={"X-API-Key": secret})
    assert (answer.status_code, answer.json()["code"]) == (403, "user_session_required")


async def test_streams_when_a_key_opens_too_many(
    http: AsyncClient, db: SystemSession, alice: Persona, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "max_streams", 1)
    _, other = await make_api_key_row(db, owner=alice)
    async with following(http, made[1]), following(http, {"X-API-Key": other}):
        answer = await http.get(STREAM, headers=made[1])
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_streams")


async def test_stream_when_its_key_is_revoked(
    http: AsyncClient, db: SystemSession, database: Database, alice: Persona, made: Any, ordered: Any
) -> None:
    _, other = await make_api_key_row(db, owner=alice)
    async with following(http, made[1]) as stream, following(http, {"X-API-Key": other}) as others:
        assert (await http.delete(f"{KEYS}/{made[0].id}", headers=alice.headers)).status_code == 204
        await happen(database, ordered(number=1), organization_id=alice.organization_id)
        assert (await stream.end()).data == ENDED
        await others.until_number(1)
        assert not others.is_over
    assert stream.events == []
    answer = await http.get(STREAM, headers=made[1])
    assert (answer.status_code, answer.json()["code"]) == (401, "api_key_invalid")


@pytest.mark.parametrize("body", [{"is_active": False}, {"allowed_ips": ["203.0.113.0/24"]}], ids=str)
async def test_stream_when_its_key_is_shut_out(
    http: AsyncClient, database: Database, alice: Persona, made: Any, ordered: Any, body: dict[str, Any]
) -> None:
    async with following(http, made[1]) as stream:
        answer = await http.patch(f"{KEYS}/{made[0].id}", json=body, headers=alice.headers)
        assert answer.status_code == 200, answer.text
        await happen(database, ordered(number=1), organization_id=alice.organization_id)
        assert (await stream.end()).data == ENDED
    assert stream.events == []


async def test_stream_when_its_key_gets_other_scopes(
    http: AsyncClient, database: Database, alice: Persona, made: Any, ordered: Any
) -> None:
    organization = {"organization_id": alice.organization_id}
    async with following(http, made[1]) as stream, following(http, alice.headers) as hers:
        for number, words in enumerate(
            (["events:read"], ["events:read", "orders:read"], ["orders:read"], ["events:read", "orders:read"])
        ):
            body = {"permissions": words}
            assert (await http.patch(f"{KEYS}/{made[0].id}", json=body, headers=alice.headers)).is_success
            await happen(database, ordered(number=number), **organization)
            # A check finds the rights of its moment, so the next change waits until this one was seen.
            await until_number(hers, number)
        await stream.until_number(3)
    assert stream.numbers == [1, 3]


async def test_stream_when_the_role_of_the_keys_creator_changes(
    http: AsyncClient, database: Database, alice: Persona, bob: Persona, made: Any, ordered: Any
) -> None:
    organization: dict[str, Any] = {"organization_id": alice.organization_id}
    here = (TeamMember.user_id == bob.user_id) & (TeamMember.organization_id == alice.organization_id)
    async with following(http, made[1]) as stream, following(http, alice.headers) as hers:
        async with database.transaction() as session:
            await session.execute(update(TeamMember).where(here).values(role="designer"))
            await emit(session, about_member("team.member_role_changed", bob.user_id), **organization)
            await emit(session, ordered(number=1), **organization)
        # A check finds the rights of its moment, so the next change waits until this one was seen.
        await until_number(hers, 1)
        async with database.transaction() as session:
            await session.execute(update(TeamMember).where(here).values(status="suspended"))
            await emit(session, about_member("team.member_suspended", bob.user_id), **organization)
            await emit(session, ordered(number=2), **organization)
        assert (await stream.end()).data == ENDED
    assert [frame.kind for frame in stream.events] == ["team.member_role_changed", "team.member_suspended"]


async def test_stream_when_the_keys_creator_is_suspended(
    http: AsyncClient, database: Database, bob: Persona, alice: Persona, made: Any, ordered: Any
) -> None:
    async with following(http, made[1]) as stream:
        async with database.transaction() as session:
            await session.execute(update(User).where(User.id == bob.user_id).values(status="suspended"))
            await emit(session, about_member("user.suspended", bob.user_id, audience="personal"))
            await emit(session, ordered(number=1), organization_id=alice.organization_id)
        assert (await stream.end()).data == ENDED
    assert stream.events == []


async def test_stream_when_its_key_ends_by_itself(
    http: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    soon = clock.now() + timedelta(minutes=10)
    _, expiring = await make_api_key_row(db, owner=alice, expires_at=soon)
    rotated, replaced = await make_api_key_row(db, owner=alice)
    async with (
        following(http, {"X-API-Key": expiring}) as first,
        following(http, {"X-API-Key": replaced}) as second,
    ):
        answer = await http.post(
            f"{KEYS}/{rotated.id}/rotate", json={"grace_seconds": 600}, headers=alice.headers
        )
        assert answer.status_code == 201
        with clock.travel(timedelta(minutes=9, seconds=10)):
            await first.first("auth_expiring")
        with clock.travel(timedelta(minutes=11)):
            assert (await first.end()).data == {"code": "session_expired", "reconnect": False}
            assert (await second.end()).data == ENDED
    assert [frame.kind for frame in first.frames if frame.kind == "auth_expiring"] == ["auth_expiring"]


async def test_stream_when_its_key_is_revoked_while_it_opens(
    http: AsyncClient, alice: Persona, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The access check of the opening has answered, and then the key is revoked."""
    real = StreamSessionRepository.opening_by_key

    async def slow(repository: StreamSessionRepository, *asked: Any) -> Any:
        row = await real(repository, *asked)
        revoked = await http.delete(f"{KEYS}/{made[0].id}", headers=alice.headers)
        assert revoked.status_code == 204
        async with following(http, alice.headers) as hers:
            assert await hers.first("hello")
            await http.post(KEYS, json={"name": "Later"}, headers=alice.headers)
            await hers.until(lambda: any(frame.kind == "api_key.created" for frame in hers.events))
        return row

    monkeypatch.setattr(StreamSessionRepository, "opening_by_key", slow)
    answer = await http.get(STREAM, headers=made[1])
    assert (answer.status_code, answer.json()["code"]) == (401, "api_key_invalid")


async def test_streams_when_they_are_looked_after(
    http: AsyncClient, db: SystemSession, made: Any, bob: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that somebody stopped past the service loses its stream at the next round."""
    monkeypatch.setattr(hub_module, "CHECK_SECONDS", 1)
    async with following(http, made[1]) as stream:
        await db.execute(update(ApiKey).where(ApiKey.id == made[0].id).values(is_active=False))
        await db.commit()
        assert (await stream.end()).data == ENDED
    assert Permission.events_read.value in made[0].permissions
