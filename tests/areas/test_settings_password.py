"""The change of a password by its signed-in person."""

from typing import Any

import pytest
from httpx import AsyncClient, Response
from passlib.hash import bcrypt
from sqlalchemy import select, update

from app.core.database import Database, SystemSession
from app.models.auth import Password, User, UserSession
from app.models.team import Organization
from tests.factories.accounts import access_token_of, make_session, make_user, refresh_token_of
from tests.support.accounts import (
    DEVICE_KEY,
    OTHER_PASSWORD,
    PASSWORD,
    WRONG,
    bearer,
    counted_hashes,
    events,
    refresh,
    sign_in,
)
from tests.support.links import give_factor, magic_link, mail_of, reset, reset_token, templates, verify_link

EMAIL = "camille@maison.example"


@pytest.fixture
async def user(db: SystemSession) -> User:
    return await make_user(db, email=EMAIL, full_name="Camille", password=PASSWORD)


@pytest.fixture
async def session(db: SystemSession, user: User) -> UserSession:
    return await make_session(db, user, device_key=DEVICE_KEY)


@pytest.fixture
def headers(session: UserSession) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token_of(session)}"}


async def change(
    client: AsyncClient,
    headers: dict[str, str],
    current: str = PASSWORD,
    new: str = OTHER_PASSWORD,
    method: str = "POST",
) -> Response:
    body = {"current_password": current, "new_password": new}
    return await client.request(method, "/api/settings/password", json=body, headers=headers)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_change_when_the_current_password_is_right(
    client: AsyncClient, db: SystemSession, database: Database, user: User, session: UserSession,
    headers: dict[str, str], method: str,
) -> None:  # fmt: skip
    others = [await make_session(db, user) for _ in range(2)]
    answer = await change(client, headers, method=method)
    assert (answer.status_code, answer.json()["sessions_revoked"]) == (200, 2)
    assert answer.headers["cache-control"] == "no-store"
    opened: dict[str, Any] = answer.json()["session"]
    assert opened["session_id"] != str(session.id)
    assert (await client.get("/api/auth/me", headers=bearer(opened))).status_code == 200
    for ended in (session, *others):
        old = {"Authorization": f"Bearer {access_token_of(ended)}"}
        assert (await client.get("/api/auth/me", headers=old)).json()["code"] == "session_revoked"
        assert (await refresh(client, refresh_token_of(ended))).status_code == 401
    row = await db.get_one(UserSession, session.id, populate_existing=True)
    assert str(row.replaced_by) == opened["session_id"]
    assert (await refresh(client, opened["refresh_token"], key=DEVICE_KEY)).status_code == 200
    assert (await sign_in(client, EMAIL)).status_code == 401
    assert (await sign_in(client, EMAIL, OTHER_PASSWORD)).status_code == 200
    assert await events(db, "user.password_changed") == [{"user_id": str(user.id), "sessions_revoked": 2}]
    mail = await mail_of(client, database, EMAIL, "password_changed")
    assert "http://app.luneo.test/settings/security" in mail["links"]


async def test_change_when_the_current_password_is_wrong(
    client: AsyncClient, db: SystemSession, user: User, headers: dict[str, str]
) -> None:
    for _ in range(5):
        answer = await change(client, headers, WRONG)
        assert (answer.status_code, answer.json()["code"]) == (403, "current_password_invalid")
        assert (await sign_in(client, EMAIL, WRONG)).status_code == 401
    locked = await change(client, headers)
    assert (locked.status_code, locked.json()["code"]) == (429, "too_many_attempts")
    assert (await sign_in(client, EMAIL)).status_code == 429
    assert len(await events(db, "auth.locked")) == 1
    assert (await client.get("/api/auth/me", headers=headers)).status_code == 200


async def test_failures_when_the_password_is_changed(
    client: AsyncClient, db: SystemSession, user: User, headers: dict[str, str]
) -> None:
    for _ in range(9):
        await sign_in(client, EMAIL, WRONG)
    opened = (await change(client, headers)).json()["session"]
    assert (await sign_in(client, EMAIL, WRONG)).status_code == 401
    assert (await change(client, bearer(opened), OTHER_PASSWORD, PASSWORD)).status_code == 200


@pytest.mark.parametrize("same", [PASSWORD, "ｂｌｕｅ lantern over water"])
async def test_change_when_the_password_is_the_same(
    client: AsyncClient, user: User, headers: dict[str, str], same: str
) -> None:
    answer = await change(client, headers, PASSWORD, same)
    assert (answer.status_code, answer.json()["code"]) == (422, "password_unchanged")
    assert (await client.get("/api/auth/me", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("password", "code"),
    [("xq7 zq1", "too_short"), ("x" * 129, "too_long"), ("password1", "common"), ("my camille x", "context")],
)
async def test_change_when_the_password_is_weak(
    client: AsyncClient, user: User, headers: dict[str, str], monkeypatch, password: str, code: str
) -> None:
    with counted_hashes(monkeypatch) as hashes:
        answer = await change(client, headers, PASSWORD, password)
    assert (answer.status_code, answer.json()["code"]) == (422, "password_rejected")
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/new_password"}
    assert code in {error["code"] for error in answer.json()["errors"]}
    assert password not in answer.text
    assert hashes == []


async def test_change_when_links_are_open(
    client: AsyncClient, database: Database, user: User, headers: dict[str, str]
) -> None:
    token = await reset_token(client, database, EMAIL)
    link = await magic_link(client, database, EMAIL)
    assert (await change(client, headers)).status_code == 200
    assert (await reset(client, token, "yet " + PASSWORD)).json()["code"] == "token_used"
    assert (await verify_link(client, **link.by_token())).json()["code"] == "token_used"


async def test_change_when_a_sign_in_waits_for_its_second_factor(
    client: AsyncClient, db: SystemSession, database: Database, user: User, headers: dict[str, str]
) -> None:
    """Somebody who reads the mail has come halfway in; the new password ends that, too."""
    app = await give_factor(db, user.id)
    link = await magic_link(client, database, EMAIL)
    waiting = (await verify_link(client, **link.by_token())).json()
    assert waiting["status"] == "mfa_required"
    assert (await change(client, headers)).status_code == 200
    body = {"mfa_token": waiting["mfa_token"], "code": app.code()}
    late = await client.post("/api/auth/mfa/verify", json=body)
    assert (late.status_code, late.json()["code"]) == (401, "mfa_token_invalid")


async def test_change_when_there_is_no_password(client: AsyncClient, db: SystemSession) -> None:
    session = await make_session(db, await make_user(db))
    answer = await change(client, {"Authorization": f"Bearer {access_token_of(session)}"})
    assert (answer.status_code, answer.json()["code"]) == (409, "password_not_set")


async def test_password_when_it_is_the_first(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    user = await make_user(db, email=EMAIL)
    session = await make_session(db, user)
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    body = {"new_password": PASSWORD}
    answer = await client.post("/api/settings/password/set", json=body, headers=headers)
    assert (answer.status_code, answer.json()["sessions_revoked"]) == (200, 0)
    opened = answer.json()["session"]
    assert (await sign_in(client, EMAIL)).status_code == 200
    again = await client.post("/api/settings/password/set", json=body, headers=bearer(opened))
    assert (again.status_code, again.json()["code"]) == (409, "password_already_set")
    assert await events(db, "user.password_set") == [{"user_id": str(user.id), "sessions_revoked": 0}]
    assert "password_changed" in await templates(client, database, EMAIL)


async def test_password_when_the_check_is_old(client: AsyncClient, db: SystemSession) -> None:
    session = await make_session(db, await make_user(db), step_up=False)
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    answer = await client.post("/api/settings/password/set", json={"new_password": PASSWORD}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "step_up_required")


@pytest.mark.parametrize("path", ["/api/settings/password", "/api/settings/password/set"])
@pytest.mark.parametrize("code", ["own_sign_in_required", "user_sso_managed"])
async def test_password_when_an_organisation_signs_them_in(
    client: AsyncClient, db: SystemSession, user: User, session: UserSession, headers: dict[str, str],
    path: str, code: str,
) -> None:  # fmt: skip
    if code == "own_sign_in_required":
        session.auth_method = "sso"
    else:
        user.managed_by_organization_id = (await db.execute(select(Organization.id))).scalar_one()
    await db.commit()
    body = {"new_password": OTHER_PASSWORD}
    if path.endswith("password"):
        body["current_password"] = PASSWORD
    answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == (403 if code == "own_sign_in_required" else 409)
    assert answer.json()["code"] == code


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"new_password": OTHER_PASSWORD},
        {"current_password": PASSWORD},
        {"current_password": PASSWORD, "new_password": 12345678},
        {"current_password": PASSWORD, "new_password": "a\x00bcdefghij"},
        {"current_password": PASSWORD, "new_password": OTHER_PASSWORD, "hash": "x"},
        {"current_password": "x" * 1025, "new_password": OTHER_PASSWORD},
    ],
)
async def test_change_when_the_body_is_wrong(
    client: AsyncClient, db: SystemSession, user: User, headers: dict[str, str], body: dict[str, Any]
) -> None:
    answer = await client.post("/api/settings/password", json=body, headers=headers)
    assert answer.status_code == 422
    assert PASSWORD not in answer.text
    assert await events(db, "auth.sign_in_failed") == []


async def test_change_when_it_came_too_often(
    client: AsyncClient, user: User, headers: dict[str, str]
) -> None:
    for _ in range(10):
        assert (await change(client, headers, PASSWORD, PASSWORD)).status_code == 422
    answer = await change(client, headers)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")


async def test_repeat_when_the_key_is_the_same(
    client: AsyncClient, db: SystemSession, user: User, headers: dict[str, str]
) -> None:
    answer = await change(client, {**headers, "Idempotency-Key": "one"})
    assert answer.status_code == 200
    kept = (await db.execute(select(Password.hash))).scalar_one()
    assert kept.startswith("$argon2id$")
    replay = await change(client, {**headers, "Idempotency-Key": "one"})
    assert replay.json()["code"] == "session_revoked"


async def test_imported_hash_when_the_password_is_changed(
    client: AsyncClient, db: SystemSession, user: User, headers: dict[str, str]
) -> None:
    await db.execute(update(Password).values(hash=bcrypt.using(rounds=4).hash(PASSWORD)))
    await db.commit()
    assert (await change(client, headers, WRONG)).status_code == 403
    assert (await change(client, headers)).status_code == 200
    assert (await sign_in(client, EMAIL, OTHER_PASSWORD)).status_code == 200
