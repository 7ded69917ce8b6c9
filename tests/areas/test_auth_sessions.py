"""The signed-in person: who they are, their sessions and organisations, the second check, sign-out."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import select, update

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.auth import User, UserSession
from app.models.team import Organization, TeamMember
from tests.factories.accounts import access_token_of, make_member, make_organization, make_session, make_user
from tests.support.accounts import OTHER_PASSWORD, PASSWORD, events
from tests.support.personas import Persona

SESSIONS = "/api/settings/sessions"


async def others(db: SystemSession, persona: Persona, count: int = 2) -> list[UserSession]:
    user = await db.get_one(User, persona.user_id)
    return [await make_session(db, user) for _ in range(count)]


def headers_of(session: UserSession) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token_of(session)}"}


async def is_live(client: AsyncClient, session: UserSession) -> bool:
    answer = await client.get("/api/auth/me", headers=headers_of(session))
    if answer.status_code != 200:
        assert answer.json()["code"] == "session_revoked"
    return answer.status_code == 200


async def test_me_when_the_caller_is_in_two_organizations(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    answer = await client.get("/api/auth/me", headers=bob.headers)
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["user"]["email"] == bob.email
    assert body["user"]["mfa_enabled"] is False
    assert body["profile"]["locale"] == "fr"
    assert body["session"]["id"] == str(bob.session_id)
    assert body["session"]["is_current"] is True
    assert body["organization"]["id"] == str(alice.organization_id)
    assert body["organization"]["role"] == "viewer"
    assert "products:read" in body["organization"]["permissions"]
    assert "products:write" not in body["organization"]["permissions"]
    assert [(item["kind"], item["role"], item["blocked_by"]) for item in body["organizations"]] == [
        ("personal", "owner", None),
        ("personal", "viewer", None),
    ]


async def test_me_when_the_header_names_another_organization(
    client: AsyncClient, db: SystemSession, bob: Persona
) -> None:
    user = await db.get_one(User, bob.user_id)
    own = str(user.last_organization_id)
    answer = await client.get("/api/auth/me", headers={**bob.headers, "X-Organization-Id": own})
    assert (answer.json()["organization"]["id"], answer.json()["organization"]["role"]) == (own, "owner")


@pytest.mark.parametrize(
    ("table", "change", "code"),
    [
        (TeamMember, {"status": "suspended"}, "membership_suspended"),
        (TeamMember, {"must_use_sso": True}, "sso_required"),
        (Organization, {"require_mfa": True}, "mfa_enrollment_required"),
        (Organization, {"session_max_seconds": 3600}, "step_up_required"),
    ],
)
async def test_organization_when_it_cannot_be_entered(
    client: AsyncClient, db: SystemSession, charlie: Persona, table: type, change: dict[str, Any], code: str
) -> None:
    team = await make_organization(db)
    member = await make_member(db, team, user=await db.get_one(User, charlie.user_id))
    for name, value in change.items():
        setattr(member if table is TeamMember else team, name, value)
    await db.commit()
    with clock.travel(timedelta(minutes=61)):
        headers = headers_of(await db.get_one(UserSession, charlie.session_id))
        me = (await client.get("/api/auth/me", headers=headers)).json()
        answer = await client.post(
            "/api/auth/switch-organization", json={"organization_id": str(team.id)}, headers=headers
        )
    assert {item["id"]: item["blocked_by"] for item in me["organizations"]}[str(team.id)] == code
    assert answer.status_code == (401 if code == "step_up_required" else 403)
    assert answer.json()["code"] == code


async def test_switch_when_the_caller_is_a_member(
    client: AsyncClient, db: SystemSession, charlie: Persona
) -> None:
    user = await db.get_one(User, charlie.user_id)
    team = await make_organization(db, name="Atelier")
    await make_member(db, team, "designer", user=user)
    answer = await client.post(
        "/api/auth/switch-organization", json={"organization_id": str(team.id)}, headers=charlie.headers
    )
    assert answer.status_code == 200
    organization = answer.json()["organization"]
    assert (organization["name"], organization["role"]) == ("Atelier", "designer")
    me = (await client.get("/api/auth/me", headers=charlie.headers)).json()
    assert me["organization"]["id"] == me["session"]["organization"]["id"] == str(team.id)
    user = await db.get_one(User, charlie.user_id, populate_existing=True)
    assert user.last_organization_id == team.id


async def test_switch_when_it_is_repeated_with_its_key(
    client: AsyncClient, db: SystemSession, charlie: Persona
) -> None:
    """The repeat comes from the organisation that the first one moved to, and is the same request."""
    team = await make_organization(db)
    await make_member(db, team, user=await db.get_one(User, charlie.user_id))
    headers = {**charlie.headers, "Idempotency-Key": "switch-1"}
    body = {"organization_id": str(team.id)}
    first = await client.post("/api/auth/switch-organization", json=body, headers=headers)
    again = await client.post("/api/auth/switch-organization", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()


async def test_switch_when_the_organization_is_not_the_callers(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    gone = await make_organization(db)
    await make_member(db, gone, user=await db.get_one(User, charlie.user_id))
    gone.deleted_at = clock.now()
    await db.commit()
    for identifier in (alice.organization_id, gone.id, uuid7()):
        answer = await client.post(
            "/api/auth/switch-organization",
            json={"organization_id": str(identifier)},
            headers=charlie.headers,
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("body", [{}, {"organization_id": 1}, {"organization_id": "x"}, [], None])
async def test_switch_when_the_body_is_wrong(client: AsyncClient, alice: Persona, body: object) -> None:
    answer = await client.post("/api/auth/switch-organization", json=body, headers=alice.headers)
    assert answer.status_code == 422


async def step_up(
    client: AsyncClient, session: UserSession, password: str = PASSWORD
) -> tuple[int, dict[str, Any]]:
    answer = await client.post("/api/auth/step-up", json={"password": password}, headers=headers_of(session))
    return answer.status_code, answer.json()


async def test_step_up_when_the_password_is_right(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, password=PASSWORD)
    session, other = await make_session(db, user, step_up=False), await make_session(db, user, step_up=False)
    status, body = await step_up(client, session)
    assert status == 200
    assert (body["valid_for"], body["aal"]) == (900, 1)
    row = await db.get_one(UserSession, session.id, populate_existing=True)
    assert row.step_up_at is not None
    assert (await db.get_one(UserSession, other.id, populate_existing=True)).step_up_at is None
    stepped = {"user_id": str(user.id), "session_id": str(session.id), "method": "password"}
    assert await events(db, "auth.stepped_up") == [stepped]


async def test_step_up_when_the_password_is_wrong(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, password=PASSWORD)
    session = await make_session(db, user, step_up=False)
    status, body = await step_up(client, session, OTHER_PASSWORD)
    assert (status, body["code"]) == (401, "invalid_credentials")
    assert (await db.get_one(UserSession, session.id, populate_existing=True)).step_up_at is None
    failed = {"user_id": str(user.id), "reason": "step_up_failed"}
    assert await events(db, "auth.sign_in_failed") == [failed]


async def test_step_up_when_there_is_no_password(client: AsyncClient, db: SystemSession) -> None:
    session = await make_session(db, await make_user(db))
    status, body = await step_up(client, session)
    assert (status, body["code"]) == (401, "invalid_credentials")


async def test_step_up_when_it_is_too_frequent(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, password=PASSWORD)
    session = await make_session(db, user)
    statuses = [(await step_up(client, session))[0] for _ in range(11)]
    assert statuses == [200] * 10 + [429]


@pytest.mark.parametrize(
    "body", [{}, {"password": 1}, {"code": "12345"}, {"password": "a", "code": "123456"}, []]
)
async def test_step_up_when_the_body_is_wrong(client: AsyncClient, alice: Persona, body: object) -> None:
    assert (await client.post("/api/auth/step-up", json=body, headers=alice.headers)).status_code == 422


@pytest.mark.parametrize(
    ("query", "current", "other"),
    [("", False, True), ("?scope=local", False, True), ("?scope=others", True, False),
     ("?scope=global", False, False)],
)  # fmt: skip
async def test_sign_out_when_it_has_a_scope(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, query: str, *,
    current: bool, other: bool,
) -> None:  # fmt: skip
    second, third = await others(db, alice)
    (stranger,) = await others(db, charlie, 1)
    answer = await client.post(f"/api/auth/logout{query}", headers=headers_of(second))
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["cache-control"] == "no-store"
    assert await is_live(client, second) is current
    assert await is_live(client, third) is other
    assert await is_live(client, stranger)
    scope = query.removeprefix("?scope=") or "local"
    assert await events(db, "auth.signed_out") == [{"user_id": str(alice.user_id), "scope": scope}]
    ended = {event["session_id"] for event in await events(db, "session.revoked")}
    assert (str(second.id) in ended, str(third.id) in ended) == (not current, not other)
    row = await db.get_one(UserSession, second.id, populate_existing=True)
    assert row.revoked_reason == (None if current else "signed_out")


@pytest.mark.parametrize("query", ["?scope=", "?scope=all", "?scope=LOCAL"])
async def test_sign_out_when_the_scope_is_unknown(client: AsyncClient, alice: Persona, query: str) -> None:
    assert (await client.post(f"/api/auth/logout{query}", headers=alice.headers)).status_code == 422


@pytest.mark.parametrize("path", ["/api/auth/me", SESSIONS])
async def test_read_when_nobody_is_signed_in(client: AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_list_when_some_sessions_are_over(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    older, revoked, expired, idle = await others(db, alice, 4)
    now = clock.now()
    for session, change in (
        (older, {"last_activity_at": now - timedelta(hours=2)}),
        (revoked, {"revoked_at": now}),
        (expired, {"expires_at": now}),
        (idle, {"last_activity_at": now - timedelta(hours=25)}),
    ):
        await db.execute(update(UserSession).where(UserSession.id == session.id).values(**change))
    await db.commit()
    body = (await client.get(SESSIONS, headers=alice.headers)).json()
    assert [item["id"] for item in body["items"]] == [str(alice.session_id), str(older.id)]
    assert [item["is_current"] for item in body["items"]] == [True, False]
    item = body["items"][0]
    assert item["last_activity"] == item["last_activity_at"]
    assert item["organization"]["id"] == str(alice.organization_id)
    assert not {"refresh_key_sealed", "device_key_hash", "refresh_counter", "user_agent"} & item.keys()


async def test_list_when_it_has_pages(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    made = {str(session.id) for session in await others(db, alice, 4)} | {str(alice.session_id)}
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await client.get(SESSIONS, params=query, headers=alice.headers)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == 5
    assert set(seen) == made
    page = (await client.get(SESSIONS, params={"page": 3, "limit": 2}, headers=alice.headers)).json()
    assert (len(page["items"]), page["total"]) == (1, 5)


async def test_list_when_it_grows(client: AsyncClient, db: SystemSession, alice: Persona, statements) -> None:
    await client.get(SESSIONS, headers=alice.headers)
    with statements() as few:
        await client.get(SESSIONS, headers=alice.headers)
    await others(db, alice, 10)
    with statements() as many:
        assert len((await client.get(SESSIONS, headers=alice.headers)).json()["items"]) == 11
    assert len(few) == len(many)


async def test_delete_when_the_session_is_the_callers(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    second, third = await others(db, alice)
    answer = await client.delete(f"{SESSIONS}/{second.id}", headers=alice.headers)
    assert answer.status_code == 204
    assert not await is_live(client, second)
    assert await is_live(client, third)
    revoked = {"user_id": str(alice.user_id), "session_id": str(second.id), "reason": "user"}
    assert await events(db, "session.revoked") == [revoked]
    again = await client.delete(f"{SESSIONS}/{second.id}", headers=alice.headers)
    assert again.status_code == 404


async def test_delete_when_it_is_the_present_session(client: AsyncClient, alice: Persona) -> None:
    answer = await client.delete(f"{SESSIONS}/{alice.session_id}", headers=alice.headers)
    assert answer.status_code == 204
    answer = await client.get(SESSIONS, headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "session_revoked")


async def test_delete_when_the_session_is_a_strangers(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    for identifier in (charlie.session_id, bob.session_id, uuid7(), "x"):
        answer = await client.delete(f"{SESSIONS}/{identifier}", headers=alice.headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    for other in (bob, charlie):
        assert (await client.get("/api/auth/me", headers=other.headers)).status_code == 200


@pytest.mark.parametrize(("scope", "current"), [("others", True), ("all", False)])
async def test_delete_when_it_has_a_scope(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, scope: str, *, current: bool
) -> None:
    (second,) = await others(db, alice, 1)
    answer = await client.delete(SESSIONS, params={"scope": scope}, headers=alice.headers)
    assert answer.status_code == 204
    assert not await is_live(client, second)
    status = (await client.get("/api/auth/me", headers=alice.headers)).status_code
    assert status == (200 if current else 401)
    assert (await client.get("/api/auth/me", headers=charlie.headers)).status_code == 200


@pytest.mark.parametrize("form", ["id", "body"])
async def test_delete_when_an_older_client_names_the_session(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, form: str
) -> None:
    async def delete(session_id: UUID | None) -> int:
        named = str(session_id)
        if form == "id":
            answer = await client.delete(SESSIONS, params={"id": named}, headers=alice.headers)
        else:
            answer = await client.request(
                "DELETE", SESSIONS, json={"session_id": named}, headers=alice.headers
            )
        return answer.status_code

    second, third = await others(db, alice)
    assert await delete(second.id) == 204
    assert not await is_live(client, second)
    assert await is_live(client, third)
    assert await delete(charlie.session_id) == 404


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", None),
        ("?scope=all&id=0198c0de-0000-7000-8000-000000000001", None),
        ("?scope=all", {"session_id": "0198c0de-0000-7000-8000-000000000001"}),
        (
            "?id=0198c0de-0000-7000-8000-000000000001",
            {"session_id": "0198c0de-0000-7000-8000-000000000001"},
        ),
        ("?scope=some", None),
        ("?id=x", None),
        ("?all=true", None),
        ("", {"session_id": 1}),
        ("", []),
    ],
)
async def test_delete_when_it_is_unclear_what(
    client: AsyncClient, db: SystemSession, alice: Persona, query: str, body: object
) -> None:
    (second,) = await others(db, alice, 1)
    content: dict[str, Any] = {} if body is None else {"json": body}
    answer = await client.request("DELETE", SESSIONS + query, headers=alice.headers, **content)
    assert answer.status_code == 422
    if query == "" and body is None:
        assert answer.json()["code"] == "session_id_missing"
    assert await is_live(client, second)


async def test_session_when_it_is_read_by_its_organizations_owner(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    items = (await client.get(SESSIONS, headers=alice.headers)).json()["items"]
    assert str(bob.session_id) not in [item["id"] for item in items]
    row = (await db.execute(select(UserSession).where(UserSession.id == bob.session_id))).scalar_one()
    assert row.organization_id == alice.organization_id
