"""Sign-in by password: the session it opens, the refusals, and the same work for every address."""

import logging
from datetime import timedelta

import pytest
from httpx import AsyncClient
from passlib.hash import bcrypt
from sqlalchemy import func, select, update

from app.core import clock
from app.core.config import get_settings
from app.core.database import SystemSession
from app.models.auth import Password, SignInThrottle, UserSession
from app.models.team import Organization, TeamMember
from tests.factories.accounts import make_member, make_organization, make_session, make_user
from tests.support.accounts import (
    DEVICE_KEY,
    PASSWORD,
    WRONG,
    bearer,
    counted_hashes,
    device,
    events,
    person,
    privates,
    sign_in,
)

EMAIL = "camille@maison.example"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/131.0.0.0 Safari/537.36"
)


async def session_of(db: SystemSession, session_id: str) -> UserSession:
    statement = select(UserSession).where(UserSession.id == session_id)
    return (await db.execute(statement.execution_options(populate_existing=True))).scalar_one()


async def test_sign_in_when_the_password_is_right(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL, full_name="Camille", password=PASSWORD)
    answer = await client.post(
        "/api/auth/login",
        json={"email": EMAIL.upper(), "password": PASSWORD},
        headers={"User-Agent": CHROME, **device()},
    )
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    body = answer.json()
    assert body.keys() == {
        "status", "access_token", "token_type", "expires_in", "expires_at", "refresh_token",
        "refresh_expires_at", "session_id", "user", "organization",
    }  # fmt: skip
    assert (body["status"], body["token_type"], body["expires_in"]) == ("ok", "Bearer", 600)
    assert body["refresh_token"].startswith("luneo_rt_")
    assert body["user"] == {
        "id": str(user.id), "email": EMAIL, "full_name": "Camille", "avatar_url": None
    }  # fmt: skip
    assert body["organization"]["id"] == str(user.last_organization_id)
    assert body["organization"]["role"] == "owner"
    row = await session_of(db, body["session_id"])
    assert (row.auth_method, row.amr, row.aal) == ("password", ["pwd"], 1)
    assert (row.device_name, row.device_type) == ("Chrome 131, Windows 10", "desktop")
    assert (row.browser, row.os, row.user_agent) == ("Chrome 131", "Windows 10", CHROME)
    assert str(row.ip_address) == "127.0.0.1"
    assert row.location is None
    assert row.step_up_at == row.created_at == row.last_activity_at
    assert row.expires_at - row.created_at == timedelta(days=7)
    assert row.idle_seconds == 86_400
    assert body["refresh_token"].encode() not in row.refresh_key_sealed
    signed_in = {
        "user_id": str(user.id), "session_id": body["session_id"], "method": "password", "aal": 1,
        "is_new_device": True,
    }  # fmt: skip
    assert await events(db, "auth.signed_in") == [signed_in]
    account = await person(db, EMAIL)
    assert account is not None
    assert account.last_sign_in_at == row.created_at


async def test_access_token_when_it_is_used(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    opened = (await sign_in(client, EMAIL)).json()
    assert (await client.get("/api/auth/me", headers=bearer(opened))).status_code == 200
    with clock.travel(timedelta(seconds=620)):
        late = await client.get("/api/auth/me", headers=bearer(opened))
    assert (late.status_code, late.json()["code"]) == (401, "access_token_expired")


async def test_session_when_it_is_to_be_remembered(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    body = (await sign_in(client, EMAIL, remember=True)).json()
    row = await session_of(db, body["session_id"])
    assert row.is_remembered
    assert row.idle_seconds == 7 * 86_400
    assert row.expires_at - row.created_at == timedelta(days=30)


async def test_session_when_one_is_open_already(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    first, second = [(await sign_in(client, EMAIL, key=DEVICE_KEY)).json() for _ in range(2)]
    assert first["session_id"] != second["session_id"]
    for opened in (first, second):
        assert (await client.get("/api/auth/me", headers=bearer(opened))).status_code == 200


async def test_device_when_it_is_known_or_new(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    for key in (DEVICE_KEY, DEVICE_KEY, "another-key-of-another-browser"):
        await sign_in(client, EMAIL, key=key)
    assert [event["is_new_device"] for event in await events(db, "auth.signed_in")] == [True, False, True]
    assert [event["is_first"] for event in await privates(db, "auth.signed_in")] == [True, False, False]


async def test_device_when_it_keeps_no_key(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    for agent in (CHROME, CHROME, "curl/8.1"):
        await client.post(
            "/api/auth/login",
            json={"email": EMAIL, "password": PASSWORD},
            headers={"User-Agent": agent},
        )
    assert [event["is_new_device"] for event in await events(db, "auth.signed_in")] == [True, False, True]


@pytest.mark.parametrize("agent", ["", "x" * 5000, "Mozilla/5.0 (é", "%s%n", "'; DROP TABLE sessions"])
async def test_session_when_the_user_agent_is_odd(client: AsyncClient, db: SystemSession, agent: str) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    answer = await client.post(
        "/api/auth/login",
        json={"email": EMAIL, "password": PASSWORD},
        headers={b"User-Agent": agent.encode("latin-1")},
    )
    assert answer.status_code == 200
    row = await session_of(db, answer.json()["session_id"])
    assert row.user_agent == (agent[:512] or None)


async def test_sign_in_when_the_password_is_wrong(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    answer = await sign_in(client, EMAIL, WRONG)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["cache-control"] == "no-store"
    assert EMAIL not in answer.text
    assert WRONG not in answer.text
    failed = {"user_id": str(user.id), "reason": "invalid_credentials"}
    assert await events(db, "auth.sign_in_failed") == [failed]


async def test_answer_when_the_address_is_known_or_not(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    await make_user(db, email="no-password@maison.example")
    answers = []
    for email in (EMAIL, "no-password@maison.example", "nobody@maison.example"):
        answer = await sign_in(client, email, WRONG)
        problem = answer.json()
        del problem["request_id"]
        answers.append((answer.status_code, problem, answer.headers["ratelimit-policy"]))
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("password", [WRONG, "", "x" * 1024, "\u00e9" * 500])
async def test_work_when_the_address_is_known_or_not(
    client: AsyncClient,
    db: SystemSession,
    monkeypatch: pytest.MonkeyPatch,
    statements,
    password: str,
) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    await make_user(db, email="no-password@maison.example")
    suspended = await make_user(db, email="suspended@maison.example", password=PASSWORD)
    suspended.status = "suspended"
    await db.commit()
    work = []
    for email in (EMAIL, "no-password@maison.example", suspended.email, "nobody@maison.example"):
        with counted_hashes(monkeypatch) as hashes, statements() as seen:
            assert (await sign_in(client, email, password, key=DEVICE_KEY)).status_code == 401
        assert len(hashes) == 1
        work.append(seen)
    assert work[0] == work[1] == work[2] == work[3]
    assert len(work[0]) >= 4


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"email_confirmed_at": None}, "email_not_confirmed"),
        ({"status": "suspended"}, "account_suspended"),
        ({"status": "pending_erasure"}, "erasure_pending"),
    ],
)
async def test_sign_in_when_the_account_may_not_be_entered(
    client: AsyncClient, db: SystemSession, change: dict[str, object], code: str
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    for name, value in change.items():
        setattr(user, name, value)
    await db.commit()
    assert (await sign_in(client, EMAIL, WRONG)).json()["code"] == "invalid_credentials"
    answer = await sign_in(client, EMAIL)
    assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert [event["reason"] for event in await events(db, "auth.sign_in_failed")] == [
        "invalid_credentials",
        code,
    ]
    assert await events(db, "auth.signed_in") == []


async def test_sign_in_when_the_account_is_erased(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    user.status = "erased"
    await db.commit()
    assert (await sign_in(client, EMAIL)).json()["code"] == "invalid_credentials"


async def test_hash_when_an_import_brought_it(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL)
    old = bcrypt.using(rounds=4).hash(PASSWORD)
    changed_at = clock.now() - timedelta(days=400)
    db.add(Password(user_id=user.id, hash=old, changed_at=changed_at))
    await db.commit()
    assert (await sign_in(client, EMAIL)).status_code == 200
    stored = await db.get_one(Password, user.id, populate_existing=True)
    assert stored.hash.startswith("$argon2id$")
    assert stored.changed_at == changed_at
    assert (await sign_in(client, EMAIL)).status_code == 200


async def enter(client: AsyncClient) -> str | None:
    organization = (await sign_in(client, EMAIL)).json()["organization"]
    return organization["id"] if organization else None


async def test_organization_when_the_last_one_can_be_entered(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    team = await make_organization(db)
    await make_member(db, team, "manager", user=user)
    user.last_organization_id = team.id
    await db.commit()
    assert await enter(client) == str(team.id)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        (TeamMember, {"status": "suspended"}),
        (TeamMember, {"must_use_sso": True}),
        (Organization, {"require_mfa": True}),
        (Organization, {"sso_enforced": True}),
        (Organization, {"deleted_at": clock.now()}),
    ],
)
async def test_organization_when_the_last_one_cannot_be_entered(
    client: AsyncClient, db: SystemSession, table: type, change: dict[str, object]
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    home = user.last_organization_id
    team = await make_organization(db)
    member = await make_member(db, team, "viewer", user=user)
    user.last_organization_id = team.id
    for name, value in change.items():
        setattr(member if table is TeamMember else team, name, value)
    await db.commit()
    assert await enter(client) == str(home)


async def test_organization_when_there_was_none_before(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    home, user.last_organization_id = user.last_organization_id, None
    team = await make_organization(db)
    await make_member(db, team, "viewer", user=user)
    assert await enter(client) == str(home)


async def test_organization_when_the_personal_one_is_gone(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    await db.execute(update(Organization).values(deleted_at=clock.now()))
    team = await make_organization(db)
    await make_member(db, team, "viewer", user=user)
    assert await enter(client) == str(team.id)


async def test_sign_in_when_no_organization_can_be_entered(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    await db.execute(update(Organization).values(deleted_at=clock.now()))
    team = await make_organization(db)
    await make_member(db, team, "viewer", user=user, status="suspended")
    await sign_in(client, EMAIL, WRONG)
    answer = await sign_in(client, EMAIL)
    assert (answer.status_code, answer.json()["code"]) == (403, "no_organization")
    assert await db.scalar(select(func.count()).select_from(UserSession)) == 0
    assert await db.scalar(select(func.count()).select_from(SignInThrottle)) == 0
    refused = await events(db, "auth.sign_in_failed")
    assert [event["reason"] for event in refused] == ["invalid_credentials", "no_organization"]
    assert (await sign_in(client, EMAIL, WRONG)).status_code == 401


@pytest.mark.parametrize(
    "body",
    [{}, {"email": EMAIL}, {"password": PASSWORD}, {"email": "none", "password": PASSWORD},
     {"email": EMAIL, "password": 7}, {"email": EMAIL, "password": None}, {"email": [], "password": PASSWORD},
     {"email": EMAIL, "password": PASSWORD, "remember": "yes"}, {"email": EMAIL, "password": "a\x00b"},
     {"email": EMAIL, "password": PASSWORD, "remember": 1}, {"email": EMAIL, "password": "x" * 1025},
     {"email": EMAIL, "password": PASSWORD, "role": "x"}, [], "text", 3],
)  # fmt: skip
async def test_sign_in_when_the_body_is_wrong(client: AsyncClient, db: SystemSession, body: object) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    answer = await client.post("/api/auth/login", json=body)
    assert answer.status_code == 422
    assert PASSWORD not in answer.text
    assert await events(db, "auth.sign_in_failed") == []


async def test_sign_in_when_the_address_tried_too_often(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "limit_login_ip", "2/15m")
    monkeypatch.setattr(get_settings(), "limit_factor", 1)
    codes = [(await sign_in(client, f"{n}@maison.example", WRONG)).json()["code"] for n in range(3)]
    assert codes == ["invalid_credentials", "invalid_credentials", "rate_limited"]


async def test_log_when_somebody_signs_in(
    client: AsyncClient,
    db: SystemSession,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    await make_user(db, email=EMAIL, password=PASSWORD)
    await sign_in(client, EMAIL, WRONG, key=DEVICE_KEY)
    opened = (await sign_in(client, EMAIL, key=DEVICE_KEY)).json()
    out, err = capfd.readouterr()
    logged = out + err + caplog.text
    assert "sign_in_failed" in logged
    for secret in (EMAIL, WRONG, PASSWORD, DEVICE_KEY, opened["access_token"], opened["refresh_token"]):
        assert secret not in logged


async def test_providers_when_anybody_asks(client: AsyncClient) -> None:
    answer = await client.get("/api/auth/providers")
    assert answer.json() == {
        "password": True,
        "magic_link": True,
        "signup": True,
        "oauth": [{"provider": "google", "name": "Google"}, {"provider": "github", "name": "GitHub"}],
        "sso": False,
    }
    assert answer.headers["cache-control"] == "no-store"


async def test_device_when_an_older_session_had_its_key(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    await make_session(db, user, device_key=DEVICE_KEY)
    await sign_in(client, EMAIL, key=DEVICE_KEY)
    assert [event["is_new_device"] for event in await events(db, "auth.signed_in")] == [False]
