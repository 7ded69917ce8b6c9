"""Teams under parallel requests, with real commits: limits hold, one wins, nobody keeps rights they lost."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import func, select

from app.core.database import Database, SystemSession, create_engine
from app.core.limits import Limiter
from app.main import create_app
from app.models.team import Organization, TeamMember, TeamRole
from tests.factories.accounts import access_token_of, make_session
from tests.factories.billing import grant_plan
from tests.factories.roles import make_role
from tests.support.personas import Persona, make_colleague
from tests.support.teams import member_id

pytestmark = pytest.mark.commits


def outcomes(answers: list[Response]) -> Counter[tuple[int, str | None]]:
    """How often each status and code was answered."""
    return Counter(
        (answer.status_code, answer.json().get("code") if answer.content else None) for answer in answers
    )


async def send_all(
    client: AsyncClient, caller: Persona, method: str, path: str, bodies: list[dict[str, Any]]
) -> list[Response]:
    """All these requests at the same time."""
    return await asyncio.gather(
        *(client.request(method, path, headers=caller.headers, json=body) for body in bodies)
    )


async def test_organizations_when_twenty_are_made_at_the_limit(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    bodies = [{"name": f"House {number}"} for number in range(20)]
    answers = await send_all(client, alice, "POST", "/api/organizations", bodies)
    assert outcomes(answers) == {(201, None): 9, (409, "too_many_organizations"): 11}
    owned = select(func.count(TeamMember.id)).where(
        TeamMember.user_id == alice.user_id, TeamMember.role == "owner"
    )
    assert await db.scalar(owned) == 10


async def test_slug_when_many_people_want_it(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    people = [await make_colleague(db, alice, f"p{number}") for number in range(8)]
    body = {"name": "The house", "slug": "the-house"}
    answers = await asyncio.gather(
        *(client.post("/api/organizations", headers=one.headers, json=body) for one in people)
    )
    assert outcomes(list(answers)) == {(201, None): 1, (409, "slug_taken"): 7}
    names = [{"name": "Same name"}] * 6
    made = await send_all(client, alice, "POST", "/api/organizations", names)
    assert outcomes(made) == {(201, None): 6}
    assert len({answer.json()["slug"] for answer in made}) == 6
    assert await db.scalar(select(func.count(Organization.id)).where(Organization.slug == "the-house")) == 1


async def test_organization_when_two_change_it_from_one_version(client: AsyncClient, alice: Persona) -> None:
    bodies = [{"name": f"Name {number}", "version": 1} for number in range(6)]
    answers = await send_all(client, alice, "PATCH", f"/api/organizations/{alice.organization_id}", bodies)
    assert outcomes(answers) == {(200, None): 1, (412, "version_mismatch"): 5}


async def test_role_when_two_change_it_from_one_version(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    role = await make_role(db, alice.organization_id)
    bodies = [{"permissions": ["orders:read"], "version": 1}, {"permissions": ["designs:read"], "version": 1}]
    answers = await send_all(client, alice, "PATCH", f"/api/team/roles/{role.id}", bodies * 3)
    assert outcomes(answers) == {(200, None): 1, (412, "version_mismatch"): 5}


async def test_roles_when_thirty_are_made_at_the_limit(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await grant_plan(db, alice.organization_id, "business")
    bodies = [{"key": f"role-{number}", "name": "Role", "permissions": []} for number in range(30)]
    answers = await send_all(client, alice, "POST", "/api/team/roles", bodies)
    assert outcomes(answers) == {(201, None): 20, (409, "too_many"): 10}
    assert await db.scalar(select(func.count(TeamRole.id))) == 20


async def test_role_when_it_is_given_while_it_is_deleted(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Either somebody has it and it stays, or it is gone and nobody has it."""
    for number in range(6):
        role = await make_role(db, alice.organization_id)
        colleague = await make_colleague(db, alice, f"c{number}")
        member = await member_id(db, colleague)
        given, deleted = await asyncio.gather(
            client.patch(f"/api/team/members/{member}", headers=alice.headers, json={"role": role.key}),
            client.delete(f"/api/team/roles/{role.id}", headers=alice.headers),
        )
        assert (given.status_code, deleted.status_code) in {(200, 409), (422, 204)}


async def test_members_when_two_admins_remove_each_other(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Who acts is read again under the lock: whoever was removed first removes nobody."""
    for number in range(4):
        pair = [await make_colleague(db, alice, f"a{number}{side}", role="admin") for side in "xy"]
        ids = [await member_id(db, one) for one in pair]
        answers = await asyncio.gather(
            client.delete(f"/api/team/members/{ids[1]}", headers=pair[0].headers),
            client.delete(f"/api/team/members/{ids[0]}", headers=pair[1].headers),
        )
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 204
        assert statuses[1] in {403, 404}
        left = await db.scalars(select(TeamMember.id).where(TeamMember.id.in_(ids)))
        assert len(left.all()) == 1


async def test_removal_when_it_is_sent_twice(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    colleague = await make_colleague(db, alice, "colleague")
    second = await make_session(db, colleague.user_id, organization_id=alice.organization_id)
    body = {"member_id": str(await member_id(db, colleague))}
    answers = await send_all(client, alice, "POST", "/api/team/remove", [body] * 5)
    assert outcomes(answers) == {(200, None): 1, (404, "not_found"): 4}
    receipt = next(answer.json()["removed"] for answer in answers if answer.status_code == 200)
    assert receipt["sessions"] == 2
    for token in (colleague.token, access_token_of(second)):
        headers = {"Authorization": f"Bearer {token}", "X-Organization-Id": str(alice.organization_id)}
        assert (await client.get("/api/products", headers=headers)).status_code == 404


async def test_organization_when_it_is_deleted_while_its_team_changes(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    made = (await client.post("/api/organizations", headers=alice.headers, json={"name": "House"})).json()
    session = await make_session(db, alice.user_id, organization_id=made["id"])
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    path = f"/api/organizations/{made['id']}"
    answers = await asyncio.gather(
        client.delete(path, headers=headers, params={"confirm": made["slug"]}),
        *(client.patch(path, headers=headers, json={"name": f"Name {number}"}) for number in range(5)),
    )
    assert answers[0].status_code == 204
    assert {answer.status_code for answer in answers[1:]} <= {200, 404}
    assert (await client.get(path, headers=headers)).status_code == 404


async def test_rights_when_another_process_takes_them(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """An application with a pool of its own, as of another process, knows of it with the next request."""
    other = create_app()
    other.state.database = Database(create_engine(database.engine.url, pool_size=2))
    other.state.limiter = Limiter(None)
    colleague = await make_colleague(db, alice, "colleague", role="designer")
    path = f"/api/team/members/{await member_id(db, colleague)}"
    there = {**colleague.headers, "X-Organization-Id": str(alice.organization_id)}
    body = {"name": "Bag", "price": 100}
    transport = ASGITransport(app=other)
    async with AsyncClient(transport=transport, base_url="http://api.luneo.test") as elsewhere:
        found = [(await elsewhere.post("/api/products", headers=there, json=body)).status_code]
        for change in ({"role": "viewer"}, {"status": "suspended"}, {"status": "active"}):
            assert (await client.patch(path, headers=alice.headers, json=change)).status_code == 200
            found.append((await elsewhere.get("/api/products", headers=there)).status_code)
            found.append((await elsewhere.post("/api/products", headers=there, json=body)).status_code)
        assert (await client.delete(path, headers=alice.headers)).status_code == 204
        found.append((await elsewhere.get("/api/products", headers=there)).status_code)
    await other.state.database.dispose()
    assert found == [201, 200, 403, 403, 403, 200, 403, 404]
