"""Open streams when administrators act: a demotion, a suspension, a removal and a deletion hold at once."""

from typing import Any

import pytest
from httpx import AsyncClient

from app.core.database import Database, SystemSession
from tests.factories.accounts import access_token_of, make_session
from tests.support.streams import following, happen
from tests.support.teams import home_of, member_id

pytestmark = pytest.mark.commits


async def act(http: AsyncClient, boss: Any, member: Any, **body: Any) -> None:
    answer = await http.patch(f"/api/team/members/{member}", headers=boss.headers, json=body)
    assert answer.status_code == 200, answer.text


async def test_stream_when_its_person_is_demoted_and_suspended(
    http: AsyncClient, db: SystemSession, database: Database, alice: Any, bob: Any, ordered: Any, noticed: Any
) -> None:
    member = await member_id(db, bob)
    organization = {"organization_id": alice.organization_id}
    async with following(http, bob.headers) as stream:

        async def settle(number: int) -> None:
            """Wait for what comes after the act: by then the stream knows the rights that it left."""
            await happen(database, noticed(number=number), user_id=bob.user_id)
            await stream.until(lambda: any(f.data["data"].get("number") == number for f in stream.events))

        await happen(database, ordered(number=1), **organization)
        await act(http, alice, member, role="designer")
        await settle(11)
        await happen(database, ordered(number=2), **organization)
        await settle(12)
        await act(http, alice, member, role="manager")
        await settle(13)
        await happen(database, ordered(number=3), **organization)
        await act(http, alice, member, status="suspended")
        await settle(14)
        await happen(database, ordered(number=4), **organization)
        await settle(15)
    told = [(frame.kind, frame.data["data"].get("number")) for frame in stream.events]
    changed = ("team.member_role_changed", None)
    assert told == [
        ("test.ordered", 1),
        changed,
        ("test.noticed", 11),
        ("test.noticed", 12),
        changed,
        ("test.noticed", 13),
        ("test.ordered", 3),
        ("team.member_suspended", None),
        ("test.noticed", 14),
        ("test.noticed", 15),
    ]


async def test_stream_when_an_administrator_ends_the_session(
    http: AsyncClient, db: SystemSession, alice: Any, bob: Any
) -> None:
    path = f"/api/team/members/{await member_id(db, bob)}/sessions"
    async with following(http, bob.headers) as stream:
        assert (await http.delete(path, headers=alice.headers)).status_code == 204
        bye = await stream.end()
    assert bye.data == {"code": "session_revoked", "reconnect": False}


async def test_streams_when_the_organization_is_deleted(
    http: AsyncClient, db: SystemSession, database: Database, alice: Any, ordered: Any, noticed: Any
) -> None:
    made = (await http.post("/api/organizations", headers=alice.headers, json={"name": "House"})).json()
    session = await make_session(db, alice.user_id, organization_id=made["id"])
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    async with following(http, headers) as stream:
        await happen(database, ordered(number=1), organization_id=made["id"])
        await stream.until(lambda: 1 in stream.numbers)
        answer = await http.delete(
            f"/api/organizations/{made['id']}", headers=headers, params={"confirm": made["slug"]}
        )
        assert answer.status_code == 204
        await happen(database, ordered(number=2), organization_id=made["id"])
        await happen(database, noticed(number=3), user_id=alice.user_id)
        await stream.until(lambda: any(frame.kind == "test.noticed" for frame in stream.events))
    assert 2 not in [frame.data["data"].get("number") for frame in stream.events]
    assert await home_of(db, alice.user_id) == alice.organization_id
