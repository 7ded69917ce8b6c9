"""Invariant: no route answers a caller that it should not; the refusals are generated from the routes.

Nobody gets 401, a colleague without the permission 403 whether or not the row exists, and a stranger who may
do everything in an organisation of their own 404 for every row of another one.
"""

import pytest
from httpx import AsyncClient, Response

from app.core.database import SystemSession
from app.core.ids import uuid7
from app.core.permissions import Permission
from app.models.team import TeamMember, TeamRole
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.invariants.examples import NoExampleError
from tests.invariants.path_ids import FACTORIES, all_names, family, names_rows
from tests.invariants.served import Served, guarded
from tests.support.personas import Persona

PROBLEM = "application/problem+json"


async def colleague_with(db: SystemSession, boss: Persona, permission: Permission) -> Persona:
    """Somebody in the boss's organisation whose custom role holds this and nothing else."""
    user = await make_user(db)
    role = TeamRole(
        organization_id=boss.organization_id, id=uuid7(), key=f"only_{permission.name}"[:32], name="Only"
    )
    role.permissions = [permission.value]
    member = TeamMember(organization_id=boss.organization_id, id=uuid7(), user_id=user.id, role="custom")
    member.team_role_id, member.source, member.joined_at = role.id, "invitation", await db.now()
    db.add(role)
    await db.flush()
    db.add(member)
    session = await make_session(db, user, organization_id=boss.organization_id)
    token = access_token_of(session)
    return Persona(user.id, boss.organization_id, session.id, user.email, "custom", token)


def is_problem(answer: Response, status: int, code: str | None = None) -> bool:
    return (
        answer.status_code == status
        and answer.headers["content-type"] == PROBLEM
        and (code is None or answer.json()["code"] == code)
    )


def seen(route: Served, answer: Response, wanted: str) -> str:
    return f"{route.name} answered {answer.status_code} {answer.text[:200]} where {wanted} is due"


async def test_routes_when_nobody_is_signed_in(client: AsyncClient) -> None:
    routes = guarded()
    assert len(routes) > 25
    wrong: list[str] = []
    for route in routes:
        answer = await route.ask(client)
        if not is_problem(answer, 401, "unauthenticated") or "www-authenticate" not in answer.headers:
            wrong.append(seen(route, answer, "401 unauthenticated"))
    assert not wrong, "\n".join(wrong)


async def test_routes_when_the_credential_is_made_up(client: AsyncClient) -> None:
    wrong: list[str] = []
    for route in guarded():
        answer = await route.ask(client, {"Authorization": "Bearer made.up.token"})
        if not is_problem(answer, 401, "access_token_invalid"):
            wrong.append(seen(route, answer, "401 access_token_invalid"))
    assert not wrong, "\n".join(wrong)


async def test_routes_when_a_colleague_lacks_the_permission(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The ids are those of nothing: 403 comes before 404, so that nobody learns what exists."""
    routes = [route for route in guarded() if route.marker.permission]
    assert len(routes) > 20
    visitor = await colleague_with(db, alice, Permission.organization_read)
    guest = await colleague_with(db, alice, Permission.products_read)
    wrong: list[str] = []
    for route in routes:
        caller = guest if route.marker.permission == Permission.organization_read else visitor
        answer = await route.ask(client, caller.headers)
        if not is_problem(answer, 403, "permission_denied"):
            wrong.append(seen(route, answer, "403 permission_denied"))
    assert not wrong, "\n".join(wrong)


async def test_routes_when_the_caller_is_not_staff(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Not even an owner with a second factor, and whether or not the row exists."""
    routes = [route for route in guarded() if route.marker.is_for_staff]
    assert routes
    session = await make_session(db, alice.user_id, aal=2)
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    wrong: list[str] = []
    for route in routes:
        for ids in ({}, await family(db, alice, route)):
            answer = await route.ask(client, headers, body=route.example(), **ids)
            if not is_problem(answer, 403, "permission_denied"):
                wrong.append(seen(route, answer, "403 permission_denied"))
    assert not wrong, "\n".join(wrong)


def test_path_ids_when_they_are_looked_up() -> None:
    ids = {name for route in guarded() for name in route.path_ids}
    assert len(ids) > 1
    missing = ids - set(FACTORIES)
    assert not missing, (
        f"no factory makes {sorted(missing)}: add them to FACTORIES in tests/invariants/path_ids.py"
    )
    assert not set(FACTORIES) - ids, (
        f"no route has {sorted(set(FACTORIES) - ids)}: take them out of FACTORIES"
    )


WITH_IDS = [route for route in guarded() if names_rows(route) and not route.marker.is_for_staff]
"""What staff asks for belongs to no organisation; everybody else is refused below."""


def test_bodies_when_a_route_needs_one() -> None:
    wrong: list[str] = []
    for route in WITH_IDS:
        try:
            route.example()
        except NoExampleError as error:
            wrong.append(f"{route.name}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("route", WITH_IDS, ids=lambda route: route.name)
async def test_row_when_it_belongs_to_another_organisation(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, route: Served
) -> None:
    body = route.example()
    named = await all_names(db, alice, route)
    hers, his = named[0], await family(db, charlie, route)
    mixed = [{**his, name: hers[name]} for name in hers] if len(hers) > 1 else []
    for ids in (*named, *mixed):
        answer = await route.ask(client, charlie.headers, body=body, **ids)
        assert is_problem(answer, 404), seen(route, answer, "404")
    answer = await route.ask(client, alice.headers, body=body, **hers)
    assert answer.status_code != 404, (
        f"{route.name} answers its own organisation 404 {answer.text[:200]}, which proves nothing:"
        f" let tests/invariants/path_ids.py make the row that it needs"
    )
