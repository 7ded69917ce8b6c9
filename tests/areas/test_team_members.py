"""Members: listing them, other roles, suspending, removing, leaving, ending sessions, and their effects."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, update

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.jobs.organizations import note_activity
from app.models.auth import User, UserSession
from app.models.integrations import ApiKey
from app.models.settings import Profile
from app.models.team import Invitation, OwnershipTransfer, TeamMember
from tests.factories.accounts import access_token_of, make_session
from tests.factories.integrations import make_api_key_row
from tests.factories.roles import give_role, make_role
from tests.support.accounts import events
from tests.support.events import handle_events
from tests.support.personas import Persona, make_colleague
from tests.support.teams import home_of, member_id, user_of, works_in


async def make_invitation(
    db: SystemSession, boss: Persona, email: str, *, by: Persona | None = None, days: int = 7
) -> Invitation:
    """An open invitation, sent by the boss unless somebody else is named."""
    now = clock.now()
    invitation = Invitation(
        organization_id=boss.organization_id,
        id=uuid7(),
        email=email,
        email_canonical=email.lower(),
        role="viewer",
        role_key="viewer",
        invited_by=(by or boss).user_id,
        expires_at=now + timedelta(days=days),
        last_sent_at=now,
        created_at=now,  # Not when the test's transaction began.
    )
    db.add(invitation)
    await db.commit()
    return invitation


async def change(client: AsyncClient, caller: Persona, member: UUID, **body: Any) -> Any:
    return await client.patch(f"/api/team/members/{member}", headers=caller.headers, json=body)


async def sees_products(client: AsyncClient, persona: Persona) -> Any:
    """Whether a persona's next request reaches the organisation."""
    headers = {**persona.headers, "X-Organization-Id": str(persona.organization_id)}
    return await client.get("/api/products", headers=headers)


async def team_list(client: AsyncClient, caller: Persona, **query: Any) -> Any:
    answer = await client.get("/api/team/members", headers=caller.headers, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def addresses(client: AsyncClient, caller: Persona, **query: Any) -> list[str]:
    return [item["email"].partition("@")[0] for item in (await team_list(client, caller, **query))["items"]]


async def test_list_when_it_is_narrowed_and_sorted(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    dora = await make_colleague(db, alice, "dora", role="designer")
    await make_colleague(db, alice, "emil", role="viewer")
    await make_invitation(db, alice, "dana@luneo.test")
    await make_invitation(db, alice, "late@luneo.test", days=-1)
    await make_invitation(db, charlie, "stranger@luneo.test")
    await db.execute(update(Profile).where(Profile.user_id == dora.user_id).values(full_name="Zoé"))
    await db.commit()
    await change(client, alice, await member_id(db, dora), status="suspended")
    assert await addresses(client, alice) == ["emil", "dora", "alice"]
    assert await addresses(client, alice, sort="joined_at") == ["alice", "dora", "emil"]
    assert await addresses(client, alice, include="invitations") == ["dana", "emil", "dora", "alice"]
    assert await addresses(client, alice, q="ZO") == ["dora"]
    assert await addresses(client, alice, q="d", include="invitations") == ["dana", "dora"]
    assert await addresses(client, alice, q="%") == []
    assert await addresses(client, alice, role="designer") == ["dora"]
    assert await addresses(client, alice, status="suspended", include="invitations") == ["dora"]
    assert await addresses(client, alice, status="pending", include="invitations") == ["dana"]
    assert await addresses(client, alice, sort="full_name", page=1) == ["alice", "dora", "emil"]
    by_cursor = await client.get(
        "/api/team/members", headers=alice.headers, params={"sort": "full_name", "cursor": "x"}
    )
    assert by_cursor.json()["code"] == "sort_needs_page"


async def test_list_when_it_is_paged_through_with_invitations(
    client: AsyncClient, db: SystemSession, alice: Persona, statements: Any
) -> None:
    for number in range(6):
        await make_colleague(db, alice, f"m{number}")
        await make_invitation(db, alice, f"i{number}@luneo.test")
    seen: list[str] = []
    query: dict[str, Any] = {"include": "invitations", "limit": 5}
    counts = []
    while True:
        with statements() as sent:
            page = await team_list(client, alice, **query)
        counts.append(len(sent))
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 13
    assert len(set(counts)) == 1
    kinds = {item["type"] for item in (await team_list(client, alice, include="invitations"))["items"]}
    assert kinds == {"member", "invitation"}
    assert (await team_list(client, alice, include="invitations", count=True))["total"] == 13


async def test_list_when_a_key_asks(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    _, secret = await make_api_key_row(db, owner=alice, permissions=["members:read"])
    headers = {"Authorization": f"Bearer {secret}"}
    answer = await client.get("/api/team/members?include=invitations", headers=headers)
    assert [item["email"] for item in answer.json()["items"]] == ["alice@luneo.test"]
    assert answer.json()["items"][0]["full_name"] == "Alice"
    refused = await client.get("/api/team/roles", headers=headers)
    assert refused.status_code in {401, 403}


async def test_role_when_it_is_changed(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, bob: Persona
) -> None:
    identifier = await member_id(db, bob)
    body = {"name": "Bag", "price": 100, "sku": "B"}
    assert (await client.post("/api/products", headers=bob.headers, json=body)).status_code == 403
    answer = await change(client, alice, identifier, role="designer")
    assert (answer.status_code, answer.json()["role"]) == (200, "designer")
    assert (await client.post("/api/products", headers=bob.headers, json=body)).status_code == 201
    role = await make_role(db, alice.organization_id, ["organization:read", "orders:read"], key="desk")
    answer = await change(client, alice, identifier, role="desk")
    assert (answer.json()["role"], answer.json()["role_name"]) == ("desk", role.name)
    assert (await client.get("/api/products", headers=bob.headers)).status_code == 403
    assert (await client.get("/api/orders", headers=bob.headers)).status_code == 200
    told = await events(db, "team.member_role_changed")
    assert [(one["from"], one["to"]) for one in told] == [("viewer", "designer"), ("designer", "desk")]
    assert told[0]["changes"] == {"role": ["viewer", "designer"]}
    again = await change(client, alice, identifier, role="desk")
    assert again.status_code == 200
    assert len(await events(db, "team.member_role_changed")) == 2
    await handle_events(database)
    mails = (await client.get("/sandbox/mail.json", params={"to": bob.email})).json()["items"]
    assert [mail["template"] for mail in mails] == ["role_changed", "role_changed"]
    assert "Craft" in mails[0]["text"]
    assert "créateur" in mails[1]["text"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"role": "owner"}, 403, "role_not_grantable"),
        ({"role": "nobody"}, 422, "unknown_role"),
        ({"role": "custom"}, 422, "unknown_role"),
        ({}, 422, "validation_error"),
        ({"role": None}, 422, "validation_error"),
        ({"status": "pending"}, 422, "validation_error"),
        ({"role": "viewer", "token": "x"}, 422, "validation_error"),
    ],
)
async def test_change_when_the_body_asks_too_much(
    client: AsyncClient,
    db: SystemSession,
    alice: Persona,
    bob: Persona,
    body: dict[str, Any],
    status: int,
    code: str,
) -> None:
    answer = await change(client, alice, await member_id(db, bob), **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_acts_when_rules_forbid_them(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    """In the order of the page: self, owner, upward."""
    admin = await make_colleague(db, alice, "admin", role="admin")
    other = await make_colleague(db, alice, "other", role="admin")
    people = await make_role(
        db,
        alice.organization_id,
        ["organization:read", "members:read", "members:update", "members:remove", "products:read"],
    )
    clerk = await make_colleague(db, alice, "clerk")
    found = await db.scalars(select(TeamMember).where(TeamMember.id == await member_id(db, clerk)))
    await give_role(db, found.one(), people)
    ids = {
        name: await member_id(db, persona)
        for name, persona in {"alice": alice, "admin": admin, "other": other, "bob": bob}.items()
    }
    cases = [
        (alice, "alice", {"role": "admin"}, 409, "cannot_act_on_self"),
        (admin, "admin", {"status": "suspended"}, 409, "cannot_act_on_self"),
        (admin, "alice", {"role": "viewer"}, 409, "owner_must_transfer"),
        (admin, "alice", {"status": "suspended"}, 409, "owner_must_transfer"),
        (clerk, "admin", {"role": "viewer"}, 403, "role_not_grantable"),
        (clerk, "bob", {"role": "viewer"}, 403, "role_not_grantable"),
        (admin, "other", {"role": "manager"}, 200, None),
        (admin, "bob", {"role": "admin"}, 200, None),
    ]
    for caller, target, body, status, code in cases:
        answer = await change(client, caller, ids[target], **body)
        assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    for caller, target, status in [(admin, "alice", 409), (admin, "admin", 409), (clerk, "other", 403)]:
        for path in (f"/api/team/members/{ids[target]}", f"/api/team/members/{ids[target]}/sessions"):
            assert (await client.delete(path, headers=caller.headers)).status_code == status
    await change(client, alice, await member_id(db, clerk), role=people.key)
    harmless = await make_role(db, alice.organization_id, ["organization:read", "members:read"], key="lobby")
    granted = await change(client, clerk, ids["bob"], role=harmless.key)
    assert granted.json()["code"] == "role_not_grantable", "Bob is an admin by now"


async def test_suspension_when_it_begins_and_ends(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, bob: Persona
) -> None:
    identifier = await member_id(db, bob)
    _, secret = await make_api_key_row(db, owner=alice, created_by=bob.user_id, permissions=["products:read"])
    by_key = {"Authorization": f"Bearer {secret}"}
    assert (await client.get("/api/products", headers=by_key)).status_code == 200
    assert (await sees_products(client, bob)).status_code == 200
    answer = await change(client, alice, identifier, status="suspended")
    assert (answer.status_code, answer.json()["status"]) == (200, "suspended")
    assert (await sees_products(client, bob)).json()["code"] == "membership_suspended"
    assert await works_in(db, bob) == await home_of(db, bob.user_id)
    assert (await client.get("/api/products", headers=bob.headers)).status_code == 200, "at home"
    assert (await client.get("/api/products", headers=by_key)).status_code in {401, 403}
    assert await db.scalar(select(func.count(ApiKey.id)).where(ApiKey.revoked_at.is_(None))) == 1
    answer = await change(client, alice, identifier, status="active")
    assert answer.json()["status"] == "active"
    assert (await sees_products(client, bob)).status_code == 200
    assert (await client.get("/api/products", headers=by_key)).status_code == 200
    suspended, activated = (
        (await events(db, "team.member_suspended"))[0],
        (await events(db, "team.member_activated"))[0],
    )
    assert (suspended["from"], suspended["to"]) == ("active", "suspended")
    assert (activated["from"], activated["to"]) == ("suspended", "active")
    await handle_events(database)
    mails = (await client.get("/sandbox/mail.json", params={"to": bob.email})).json()["items"]
    assert [mail["template"] for mail in mails] == ["membership_suspended"]


async def test_removal_when_much_hangs_on_the_member(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    gone = await make_colleague(db, alice, "gone", role="manager")
    organization_id = alice.organization_id
    user = await user_of(db, gone)
    user.managed_by_organization_id = organization_id
    second = await make_session(db, gone.user_id, organization_id=organization_id)
    at_home = await make_session(db, gone.user_id, organization_id=await home_of(db, gone.user_id))
    by_sso = await make_session(db, gone.user_id, organization_id=organization_id)
    await db.execute(
        update(UserSession).where(UserSession.id == by_sso.id).values(sso_organization_id=organization_id)
    )
    await make_api_key_row(db, owner=alice, created_by=gone.user_id)
    await make_api_key_row(db, owner=alice)
    await make_invitation(db, alice, "one@luneo.test", by=gone)
    await make_invitation(db, alice, "two@luneo.test", by=gone)
    await make_invitation(db, alice, "three@luneo.test")
    transfer = OwnershipTransfer(
        organization_id=organization_id,
        id=uuid7(),
        from_user_id=alice.user_id,
        to_user_id=gone.user_id,
        status="pending",
        expires_at=clock.now() + timedelta(days=3),
    )
    db.add(transfer)
    await db.commit()
    identifier = await member_id(db, gone)
    answer = await client.post("/api/team/remove", headers=alice.headers, json={"email": "GONE@luneo.test"})
    receipt = {
        "member_id": str(identifier),
        "sessions": 3,
        "api_keys": 1,
        "invitations": 2,
        "identities": 0,
        "integrations": 0,
    }
    assert answer.json() == {"removed": receipt}
    assert (await sees_products(client, gone)).status_code == 404
    home = await home_of(db, gone.user_id)
    places = select(UserSession.organization_id).where(
        UserSession.id.in_([gone.session_id, second.id, at_home.id])
    )
    assert set((await db.scalars(places)).all()) == {home}
    ended = select(UserSession.revoked_reason).where(UserSession.id == by_sso.id)
    assert await db.scalar(ended) == "membership_ended"
    alive = await db.scalars(select(ApiKey.created_by).where(ApiKey.revoked_at.is_(None)))
    assert alive.all() == [alice.user_id]
    open_ones = select(Invitation.email).where(Invitation.status == "pending")
    assert (await db.scalars(open_ones)).all() == ["three@luneo.test"]
    assert await db.scalar(select(OwnershipTransfer.status)) == "cancelled"
    released = select(User.managed_by_organization_id).where(User.id == gone.user_id)
    assert await db.scalar(released) is None
    (told,) = await events(db, "team.member_removed")
    assert told["effects"] == {name: value for name, value in receipt.items() if name != "member_id"}
    assert len(await events(db, "session.revoked")) == 1
    again = await client.post("/api/team/remove", headers=alice.headers, json={"user_id": str(gone.user_id)})
    assert again.status_code == 404
    await handle_events(database)
    mails = (await client.get("/sandbox/mail.json", params={"to": gone.email})).json()["items"]
    assert "member_removed" in [mail["template"] for mail in mails]


async def test_removal_when_it_is_named_badly(client: AsyncClient, alice: Persona) -> None:
    for body in (
        {},
        {"member_id": "x"},
        {"member_id": str(uuid4()), "user_id": str(uuid4())},
        {"email": "x"},
    ):
        answer = await client.post("/api/team/remove", headers=alice.headers, json=body)
        assert answer.status_code == 422
    assert (await client.delete("/api/team/members", headers=alice.headers)).status_code == 422
    assert (await client.delete("/api/team/members?id=x", headers=alice.headers)).status_code == 422
    assert (await client.delete("/api/team/remove", headers=alice.headers)).status_code == 422
    assert (await client.delete("/api/team/members/x", headers=alice.headers)).status_code == 404


async def test_aliases_when_older_clients_use_them(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    names = ["a", "b", "c", "d"]
    colleagues = [await member_id(db, await make_colleague(db, alice, name)) for name in names]
    body = {"member_id": str(colleagues[0]), "role": "manager"}
    changed = await client.put("/api/team/members", headers=alice.headers, json=body)
    assert (changed.status_code, changed.json()["role"]) == (200, "manager")
    removals = [
        await client.delete(f"/api/team/members?id={colleagues[0]}", headers=alice.headers),
        await client.delete(f"/api/team/remove?member_id={colleagues[1]}", headers=alice.headers),
        await client.request(
            "DELETE", "/api/team/remove", headers=alice.headers, json={"member_id": str(colleagues[2])}
        ),
        await client.delete(f"/api/team/members/{colleagues[3]}", headers=alice.headers),
    ]
    assert [answer.status_code for answer in removals] == [204] * 4
    assert await addresses(client, alice) == ["alice"]


async def test_leaving_when_it_is_the_owner_or_a_member(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    refused = await client.post("/api/team/leave", headers=alice.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "owner_must_transfer")
    assert (await client.post("/api/team/leave", headers=bob.headers)).status_code == 204
    assert (await sees_products(client, bob)).status_code == 404
    assert await works_in(db, bob) == await home_of(db, bob.user_id)
    (told,) = await events(db, "team.member_left")
    assert told["user_id"] == str(bob.user_id)
    assert told["effects"]["sessions"] == 1
    at_home = await client.post("/api/team/leave", headers=bob.headers)
    assert at_home.json()["code"] == "owner_must_transfer"


async def test_leaving_when_the_membership_is_suspended(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    """Nothing else is open to a suspended member, who is no member at all afterwards."""
    suspended = {"status": "suspended"}
    bobs = f"/api/team/members/{await member_id(db, bob)}"
    assert (await client.patch(bobs, headers=alice.headers, json=suspended)).status_code == 200
    named = {"X-Organization-Id": str(alice.organization_id)}
    shut = await client.get("/api/products", headers={**bob.headers, **named})
    assert (shut.status_code, shut.json()["code"]) == (403, "membership_suspended")
    assert (await client.post("/api/team/leave", headers={**charlie.headers, **named})).status_code == 404
    assert (await client.post("/api/team/leave", headers={**bob.headers, **named})).status_code == 204
    assert (await client.post("/api/team/leave", headers={**bob.headers, **named})).status_code == 404
    assert await addresses(client, alice) == ["alice"]
    assert [told["user_id"] for told in await events(db, "team.member_left")] == [str(bob.user_id)]


async def test_sessions_when_an_administrator_ends_them(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, bob: Persona
) -> None:
    elsewhere = await make_session(db, bob.user_id, organization_id=await home_of(db, bob.user_id))
    entering = {
        "Authorization": f"Bearer {access_token_of(elsewhere)}",
        "X-Organization-Id": str(alice.organization_id),
    }
    assert (await client.get("/api/products", headers=entering)).status_code == 200
    path = f"/api/team/members/{await member_id(db, bob)}/sessions"
    assert (await client.delete(path, headers=alice.headers)).status_code == 204
    assert (await client.get("/api/auth/me", headers=bob.headers)).json()["code"] == "session_revoked"
    assert (await client.get("/api/products", headers=entering)).json()["code"] == "step_up_required"
    await db.execute(update(UserSession).where(UserSession.id == elsewhere.id).values(step_up_at=clock.now()))
    await db.commit()
    assert (await client.get("/api/products", headers=entering)).status_code == 200
    assert [one["sessions"] for one in await events(db, "team.sessions_ended")] == [1]
    assert [one["session_id"] for one in await events(db, "session.revoked")] == [str(bob.session_id)]
    await handle_events(database)
    mails = (await client.get("/sandbox/mail.json", params={"to": bob.email})).json()["items"]
    assert [mail["template"] for mail in mails] == ["sessions_ended"]


async def test_activity_when_the_schedule_copies_it(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, bob: Persona
) -> None:
    moment = clock.now() - timedelta(minutes=5)
    await db.execute(
        update(UserSession).where(UserSession.id == bob.session_id).values(last_activity_at=moment)
    )
    await db.commit()
    await note_activity(database)
    await note_activity(database)
    found = (await team_list(client, alice, q="bob"))["items"][0]
    assert found["last_active_at"] == moment.isoformat().replace("+00:00", "Z")
