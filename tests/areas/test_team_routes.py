"""Every route of organisations and teams against every built-in role: who may, and what others learn."""

from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from app.core.database import SystemSession
from app.core.permissions import HOLDERS, Permission, Role
from app.models.team import Organization
from tests.factories.accounts import make_member
from tests.factories.roles import make_role
from tests.invariants.served import guarded
from tests.support.personas import Persona, make_colleague
from tests.support.teams import member_id

ROUTES: list[tuple[str, str, Permission, Any]] = [
    ("GET", "/api/organizations/{organization_id}", Permission.organization_read, None),
    ("PATCH", "/api/organizations/{organization_id}", Permission.organization_update, {"name": "New"}),
    ("PUT", "/api/organizations/{organization_id}", Permission.organization_update, {"name": "New"}),
    (
        "PUT",
        "/api/organizations/{organization_id}/security",
        Permission.security_manage,
        {"session_max_seconds": 7200},
    ),
    ("DELETE", "/api/organizations/{organization_id}", Permission.organization_delete, None),
    ("GET", "/api/team/members", Permission.members_read, None),
    ("GET", "/api/team/members/{member_id}", Permission.members_read, None),
    ("PATCH", "/api/team/members/{member_id}", Permission.members_update, {"status": "suspended"}),
    ("PUT", "/api/team/members/{member_id}", Permission.members_update, {"role": "member"}),
    ("PUT", "/api/team/members", Permission.members_update, {"member_id": "{member_id}", "role": "member"}),
    ("DELETE", "/api/team/members/{member_id}", Permission.members_remove, None),
    ("DELETE", "/api/team/members?id={member_id}", Permission.members_remove, None),
    ("DELETE", "/api/team/remove?member_id={member_id}", Permission.members_remove, None),
    ("POST", "/api/team/remove", Permission.members_remove, {"member_id": "{member_id}"}),
    ("DELETE", "/api/team/members/{member_id}/sessions", Permission.members_remove, None),
    ("GET", "/api/team/roles", Permission.members_read, None),
    ("GET", "/api/team/roles/{role_id}", Permission.members_read, None),
    (
        "POST",
        "/api/team/roles",
        Permission.roles_manage,
        {"key": "craft", "name": "Craft", "permissions": ["products:read"]},
    ),
    ("PATCH", "/api/team/roles/{role_id}", Permission.roles_manage, {"name": "New"}),
    ("PUT", "/api/team/roles/{role_id}", Permission.roles_manage, {"name": "New"}),
    ("POST", "/api/team/roles/{role_id}/preview", Permission.roles_manage, {"permissions": []}),
    ("DELETE", "/api/team/roles/{role_id}", Permission.roles_manage, None),
    ("GET", "/api/team/permissions", Permission.organization_read, None),
    ("POST", "/api/team/permissions/explain", Permission.organization_read, {"permission": "orders:read"}),
    ("GET", "/api/team/limits", Permission.organization_read, None),
]
NAMING = [route for route in ROUTES if "_id}" in route[1] + str(route[3])]


def filled(body: Any, ids: dict[str, Any]) -> Any:
    """A body with its ids."""
    if not isinstance(body, dict):
        return body
    return {key: value.format(**ids) if isinstance(value, str) else value for key, value in body.items()}


async def ask(
    client: AsyncClient, caller: Persona, route: tuple[str, str, Permission, Any], ids: dict[str, Any]
) -> Any:
    method, path, _, body = route
    return await client.request(method, path.format(**ids), headers=caller.headers, json=filled(body, ids))


async def ids_of(db: SystemSession, owner: Persona) -> dict[str, Any]:
    """A viewer and a role in the owner's organisation."""
    organization = await db.get_one(Organization, owner.organization_id)
    member = await make_member(db, organization)
    role = await make_role(db, owner.organization_id)
    return {"organization_id": owner.organization_id, "member_id": member.id, "role_id": role.id}


@pytest.mark.parametrize("role", [role for role in Role if role != Role.owner])
async def test_routes_when_a_role_calls_them(
    client: AsyncClient, db: SystemSession, alice: Persona, role: Role
) -> None:
    caller = await make_colleague(db, alice, "caller", role=role.value)
    for route in ROUTES:
        ids = await ids_of(db, alice)
        answer = await ask(client, caller, route, ids)
        is_denied = answer.status_code == 403 and answer.json()["code"] == "permission_denied"
        assert is_denied == (role not in HOLDERS[route[2]]), f"{role} {route[:2]}: {answer.text}"
        assert answer.status_code < 500


async def test_routes_when_the_owner_calls_them(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    for route in ROUTES:
        answer = await ask(client, alice, route, await ids_of(db, alice))
        if route[0] == "DELETE" and "organizations" in route[1]:
            assert answer.json()["code"] == "personal_organization"
        elif "roles" in route[1] and route[0] == "POST" and "preview" not in route[1]:
            assert answer.json()["code"] == "feature_not_in_plan"
        else:
            assert answer.status_code in {200, 204}, f"{route[:2]}: {answer.text}"


async def test_rows_when_they_are_of_nothing_or_of_strangers(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    """403 comes before 404 inside; across organisations everything is 404."""
    nothing = {"organization_id": uuid4(), "member_id": uuid4(), "role_id": uuid4()}
    theirs = await ids_of(db, charlie)
    for route in NAMING:
        inside = await ask(client, bob, route, nothing)
        expected = 404 if Role.viewer in HOLDERS[route[2]] else 403
        assert inside.status_code == expected, f"{route[:2]}: {inside.text}"
        for ids in (nothing, theirs):
            across = await ask(client, alice, route, ids)
            assert across.status_code == 404, f"{route[:2]}: {across.text}"


async def test_list_of_routes_when_it_is_compared_with_the_service(
    client: AsyncClient, alice: Persona
) -> None:
    """The list above is complete: every route of these addresses with a permission stands in it."""
    listed = {(method, path.partition("?")[0]) for method, path, _, _ in ROUTES}
    others = ("/api/team/invit", "/api/team/transfer", "/api/team/activity")
    served = {
        (route.method, route.path)
        for route in guarded()
        if route.path.startswith(("/api/organizations", "/api/team"))
        and not route.path.startswith(others)
        and route.marker.permission is not None
    }
    assert served == listed
    assert (await client.get("/api/organizations", headers=alice.headers)).status_code == 200


async def test_member_when_bob_is_looked_up(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    identifier = await member_id(db, bob)
    found = (await client.get(f"/api/team/members/{identifier}", headers=bob.headers)).json()
    assert found == {
        "type": "member",
        "id": str(identifier),
        "user_id": str(bob.user_id),
        "email": "bob@luneo.test",
        "full_name": None,
        "avatar_url": None,
        "role": "viewer",
        "role_name": "Viewer",
        "status": "active",
        "mfa_enabled": None,
        "last_active_at": None,
        "joined_at": found["joined_at"],
        "invited_by": None,
    }
    for_alice = (await client.get(f"/api/team/members/{identifier}", headers=alice.headers)).json()
    assert for_alice["mfa_enabled"] is False
