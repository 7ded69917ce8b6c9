"""Custom roles: making, changing, previewing and deleting them; the matrix, explanations and limits."""

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select, update

from app.core.database import SystemSession
from app.core.permission_descriptions import DESCRIPTIONS
from app.core.permissions import HOLDERS, OWNER_ONLY, ROLE_PERMISSIONS, Permission, Role
from app.models.team import TeamMember, TeamRole
from tests.areas.test_team_members import make_invitation
from tests.factories.accounts import access_token_of, make_session
from tests.factories.billing import grant_plan
from tests.factories.integrations import make_api_key_row
from tests.factories.roles import give_role, make_role
from tests.support.accounts import events
from tests.support.personas import Persona, make_colleague
from tests.support.teams import member_id

SHOP = {"key": "shop", "name": "Shop", "permissions": ["orders:read", "products:read"]}


async def create(client: AsyncClient, caller: Persona, **changes: Any) -> Any:
    return await client.post("/api/team/roles", headers=caller.headers, json={**SHOP, **changes})


async def write(client: AsyncClient, caller: Persona, role_id: Any, **body: Any) -> Any:
    return await client.patch(f"/api/team/roles/{role_id}", headers=caller.headers, json=body)


async def holder(db: SystemSession, boss: Persona, name: str, role: TeamRole) -> Persona:
    """A colleague who has a custom role."""
    persona = await make_colleague(db, boss, name)
    found = await db.scalars(select(TeamMember).where(TeamMember.id == await member_id(db, persona)))
    await give_role(db, found.one(), role)
    return persona


@pytest.fixture
async def premium(db: SystemSession, alice: Persona) -> None:
    """Alice's organisation may have custom roles."""
    await grant_plan(db, alice.organization_id, "premium")


async def test_role_when_it_is_made_changed_and_deleted(
    client: AsyncClient, db: SystemSession, alice: Persona, premium: None
) -> None:
    made = await create(client, alice)
    assert made.status_code == 201
    role = made.json()
    assert made.headers["Location"] == f"/api/team/roles/{role['id']}"
    assert made.headers["ETag"] == '"1"'
    assert role == {
        "id": role["id"],
        "key": "shop",
        "name": "Shop",
        "description": None,
        "permissions": ["orders:read", "organization:read", "products:read"],
        "is_builtin": False,
        "members_count": 0,
        "version": 1,
    }
    assert (await client.get(made.headers["Location"], headers=alice.headers)).json() == role
    changed = await write(
        client, alice, role["id"], description="Sells.", permissions=["products:read", "products:write"]
    )
    assert changed.status_code == 200
    assert changed.json()["permissions"] == ["organization:read", "products:read", "products:write"]
    assert changed.json()["version"] == 2
    (told,) = await events(db, "team.role_updated")
    assert (told["added"], told["removed"]) == (["products:write"], ["orders:read"])
    assert told["changes"] == {
        "description": None,
        "permissions": [role["permissions"], changed.json()["permissions"]],
    }
    same = await write(client, alice, role["id"], description="Sells.")
    assert same.json()["version"] == 2
    assert (await client.delete(made.headers["Location"], headers=alice.headers)).status_code == 204
    assert (await client.get(made.headers["Location"], headers=alice.headers)).status_code == 404
    assert [one["key"] for one in await events(db, "team.role_deleted")] == ["shop"]


async def test_role_when_its_holder_asks_before_and_after_a_change(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    role = await make_role(db, alice.organization_id, ["organization:read", "products:read"])
    dora = await holder(db, alice, "dora", role)
    assert (await client.get("/api/products", headers=dora.headers)).status_code == 200
    assert (await client.get("/api/orders", headers=dora.headers)).status_code == 403
    await write(client, alice, role.id, permissions=["orders:read"])
    assert (await client.get("/api/products", headers=dora.headers)).status_code == 403
    assert (await client.get("/api/orders", headers=dora.headers)).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"permissions": ["orders:fly"]}, 422, "unknown_permission"),
        ({"permissions": ["organization:delete"]}, 403, "role_not_grantable"),
        ({"permissions": ["platform:manage"]}, 403, "role_not_grantable"),
        ({"key": "admin"}, 422, "validation_error"),
        ({"key": "custom"}, 422, "validation_error"),
        ({"key": "No"}, 422, "validation_error"),
        ({"name": " "}, 422, "validation_error"),
        ({"name": "x" * 61}, 422, "validation_error"),
        ({"description": "x" * 301}, 422, "validation_error"),
        ({"permissions": [1]}, 422, "validation_error"),
        ({"permissions": ["x"] * 200}, 422, "validation_error"),
    ],
)
async def test_role_when_it_cannot_be_made(
    client: AsyncClient, alice: Persona, premium: None, changes: dict[str, Any], status: int, code: str
) -> None:
    answer = await create(client, alice, **changes)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_role_when_the_plan_or_the_number_forbids_it(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    refused = await create(client, alice)
    assert (refused.status_code, refused.json()["code"]) == (402, "feature_not_in_plan")
    assert refused.json()["feature"] == "custom_roles"
    await grant_plan(db, alice.organization_id, "business")
    assert (await create(client, alice)).status_code == 201
    assert (await create(client, alice)).json()["code"] == "role_key_taken"
    for _ in range(19):
        await make_role(db, alice.organization_id)
    assert (await create(client, alice, key="one-more")).json()["code"] == "too_many"


async def test_role_when_its_editor_has_fewer_rights(
    client: AsyncClient, db: SystemSession, alice: Persona, premium: None
) -> None:
    """Nobody makes, changes or deletes a role with more rights than their own, nor widens theirs."""
    own = await make_role(
        db, alice.organization_id, ["organization:read", "roles:manage", "products:read", "members:read"]
    )
    larger = await make_role(db, alice.organization_id, ["organization:read", "orders:refund"])
    editor = await holder(db, alice, "editor", own)
    path = f"/api/team/roles/{larger.id}"
    answers = [
        await create(client, editor, permissions=["orders:refund"]),
        await write(client, editor, own.id, permissions=["products:read", "orders:refund"]),
        await write(client, editor, larger.id, name="Mine"),
        await client.post(f"{path}/preview", headers=editor.headers, json={"permissions": []}),
        await client.post(
            f"/api/team/roles/{own.id}/preview",
            headers=editor.headers,
            json={"permissions": ["orders:refund"]},
        ),
        await client.delete(path, headers=editor.headers),
    ]
    assert [(one.status_code, one.json()["code"]) for one in answers] == [(403, "role_not_grantable")] * 6
    assert (await create(client, editor, permissions=["products:read"])).status_code == 201
    narrowed = await write(client, editor, own.id, permissions=["products:read"])
    assert narrowed.status_code == 200
    assert (await create(client, editor, key="late")).json()["code"] == "permission_denied"


async def test_editors_when_two_begin_from_one_version(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    role = await make_role(db, alice.organization_id)
    path = f"/api/team/roles/{role.id}"
    assert (await write(client, alice, role.id, name="First", version=1)).status_code == 200
    late = await write(client, alice, role.id, name="Second", version=1)
    assert (late.status_code, late.json()["code"], late.json()["version"]) == (412, "version_mismatch", 2)
    headers = {**alice.headers, "If-Match": '"1"'}
    assert (await client.put(path, headers=headers, json={"name": "Third"})).status_code == 412
    headers["If-Match"] = '"2"'
    assert (await client.put(path, headers=headers, json={"name": "Third"})).json()["name"] == "Third"


async def test_role_when_it_is_deleted_in_use(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    role = await make_role(db, alice.organization_id)
    path = f"/api/team/roles/{role.id}"
    await holder(db, alice, "dora", role)
    invitation = await make_invitation(db, alice, "new@luneo.test")
    invitation.role, invitation.role_key, invitation.team_role_id = "custom", role.key, role.id
    await db.commit()
    refused = await client.delete(path, headers=alice.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "role_in_use")
    assert (refused.json()["members"], refused.json()["invitations"]) == (1, 1)
    assert (await client.get(path, headers=alice.headers)).json()["members_count"] == 1
    await db.execute(
        update(TeamMember).where(TeamMember.team_role_id == role.id).values(role="viewer", team_role_id=None)
    )
    await db.commit()
    only_offered = (await client.delete(path, headers=alice.headers)).json()
    assert (only_offered["members"], only_offered["invitations"]) == (0, 1)
    invitation.status, invitation.team_role_id = "expired", None
    await db.commit()
    assert (await client.delete(path, headers=alice.headers)).status_code == 204


async def test_preview_when_permissions_would_change(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    role = await make_role(db, alice.organization_id, ["organization:read", "products:read", "orders:read"])
    dora = await holder(db, alice, "dora", role)
    preview = await client.post(
        f"/api/team/roles/{role.id}/preview",
        headers=alice.headers,
        json={"permissions": ["products:read", "products:write"]},
    )
    assert preview.json() == {
        "gains": ["products:write"],
        "losses": ["orders:read"],
        "members": [{"id": str(dora.user_id), "full_name": None, "avatar_url": None}],
    }
    assert (await client.get("/api/orders", headers=dora.headers)).status_code == 200


async def test_list_when_roles_are_paged_through(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    made = [(await make_role(db, alice.organization_id)).key for _ in range(3)]
    expected = [*Role, *made]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 4}
    while True:
        page = (await client.get("/api/team/roles", headers=bob.headers, params=query)).json()
        seen += [role["key"] for role in page["items"]]
        assert page["total"] is None
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == expected
    numbered = await client.get("/api/team/roles", headers=bob.headers, params={"page": 2, "limit": 5})
    assert [role["key"] for role in numbered.json()["items"]] == expected[5:]
    assert numbered.json()["total"] == 9
    first = (await client.get("/api/team/roles", headers=bob.headers)).json()["items"]
    assert (first[0]["id"], first[0]["members_count"], first[0]["is_builtin"]) == (None, 1, True)
    assert first[5]["members_count"] == 1, "Bob is the viewer"


async def test_matrix_when_it_is_compared_with_the_registry(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    role = await make_role(db, alice.organization_id)
    found = (await client.get("/api/team/permissions", headers=bob.headers)).json()
    assert {one["name"] for one in found["permissions"]} == set(Permission)
    for one in found["permissions"]:
        assert one["description"] == DESCRIPTIONS[Permission(one["name"])]
        assert f"{one['resource']}:{one['action']}" == one["name"]
    assert {one["key"]: set(one["permissions"]) for one in found["roles"]} == {
        **{key.value: set(permissions) for key, permissions in ROLE_PERMISSIONS.items()},
        role.key: {"organization:read", "products:read"},
    }
    assert set(found["mine"]) == ROLE_PERMISSIONS[Role.viewer]


def test_registry_when_it_is_described() -> None:
    assert set(DESCRIPTIONS) == set(Permission)
    assert all(text.endswith(".") and len(text) > 10 for text in DESCRIPTIONS.values())
    assert len(set(DESCRIPTIONS.values())) == len(Permission)
    assert {"organization:delete", "organization:transfer", "sso:enforce"} == OWNER_ONLY
    assert Role.viewer not in HOLDERS[Permission.orders_write]


async def test_explanation_when_it_is_asked_for(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    async def explain(caller: Persona, permission: str, about: Persona | None = None) -> Any:
        body = {"permission": permission, **({"user_id": str(about.user_id)} if about else {})}
        return await client.post("/api/team/permissions/explain", headers=caller.headers, json=body)

    def said(answer: Any) -> tuple[bool, list[str]]:
        return answer.json()["allowed"], [reason["code"] for reason in answer.json()["reasons"]]

    assert said(await explain(bob, "orders:read")) == (True, ["granted_by_role"])
    assert said(await explain(bob, "orders:write")) == (False, ["role_lacks_permission"])
    assert said(await explain(bob, "orders:write", bob)) == (False, ["role_lacks_permission"])
    assert said(await explain(bob, "organization:delete")) == (False, ["owner_only"])
    assert said(await explain(alice, "platform:manage")) == (False, ["staff_only"])
    assert (await explain(bob, "orders:read", alice)).json()["code"] == "permission_denied"
    assert said(await explain(alice, "orders:read", bob)) == (True, ["granted_by_role"])
    assert (await explain(alice, "orders:read", charlie)).status_code == 404
    assert (await explain(alice, "orders:fly")).json()["code"] == "unknown_permission"
    path = f"/api/team/members/{await member_id(db, bob)}"
    await client.patch(path, headers=alice.headers, json={"status": "suspended"})
    assert said(await explain(alice, "orders:read", bob)) == (
        False,
        ["membership_suspended", "granted_by_role"],
    )


async def test_limits_when_seats_roles_and_keys_are_taken(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    async def limits() -> Any:
        return (await client.get("/api/team/limits", headers=bob.headers)).json()

    await make_invitation(db, alice, "one@luneo.test")
    await make_invitation(db, alice, "late@luneo.test", days=-1)
    free = await limits()
    assert (free["plan"], free["features"]) == ("free", [])
    assert free["limits"]["team_members"] == {"limit": 5, "used": 2, "pending": 1}
    assert free["limits"]["custom_roles"] == {"limit": 0, "used": 0, "pending": None}
    assert free["limits"]["api_keys"] == {"limit": 2, "used": 0, "pending": None}
    assert free["limits"]["storage_bytes"] == {"limit": 500_000_000, "used": 0, "pending": None}
    await grant_plan(db, alice.organization_id, "enterprise")
    await make_role(db, alice.organization_id)
    await make_api_key_row(db, owner=alice)
    larger = await limits()
    assert larger["plan"] == "enterprise"
    assert {"custom_roles", "sso"} <= set(larger["features"])
    assert larger["limits"]["team_members"]["limit"] is None
    assert larger["limits"]["custom_roles"] == {"limit": 20, "used": 1, "pending": None}
    assert larger["limits"]["api_keys"] == {"limit": None, "used": 1, "pending": None}


async def test_session_when_its_person_was_demoted_meanwhile(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Another open session of the same person has the new rights as well."""
    admin = await make_colleague(db, alice, "admin", role="admin")
    other = await make_session(db, admin.user_id, organization_id=alice.organization_id)
    headers = {"Authorization": f"Bearer {access_token_of(other)}"}
    role = await make_role(db, alice.organization_id)
    path = f"/api/team/roles/{role.id}"
    assert (await client.patch(path, headers=headers, json={"name": "One"})).status_code == 200
    member = f"/api/team/members/{await member_id(db, admin)}"
    await client.patch(member, headers=alice.headers, json={"role": "viewer"})
    refused = await client.patch(path, headers=headers, json={"name": "Two"})
    assert refused.json()["code"] == "permission_denied"


async def test_me_when_the_role_is_custom(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    role = await make_role(db, alice.organization_id, key="print-shop")
    dora = await holder(db, alice, "dora", role)
    await grant_plan(db, alice.organization_id, "premium")
    me = (await client.get("/api/auth/me", headers=dora.headers)).json()
    active = me["organization"]
    assert (active["role"], active["plan"]) == ("print-shop", "premium")
    assert active["permissions"] == ["organization:read", "products:read"]
    roles = {one["id"]: one["role"] for one in me["organizations"]}
    assert roles[active["id"]] == "print-shop"
    switched = await client.post(
        "/api/auth/switch-organization", headers=dora.headers, json={"organization_id": active["id"]}
    )
    assert switched.json()["organization"] == active
