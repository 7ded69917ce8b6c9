"""Confirmation of addresses: by link, by code, from the browser that signed up."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, update

from app.core import clock
from app.core.crypto import AUTH_CODE_PREFIX, EMAIL_TOKEN_PREFIX, derive_token, key_ring
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.auth import UserSession
from app.models.team import Organization
from tests.support.accounts import (
    DEVICE_KEY,
    another,
    bearer,
    device,
    events,
    link_token,
    mailed_code,
    open_token,
    person,
    pkce,
    sign_in,
    sign_up,
)

EMAIL = "camille@maison.example"


def forged(*, prefix: str = EMAIL_TOKEN_PREFIX, use: str = "email_confirm") -> str:
    return derive_token(key_ring(), prefix, use, uuid7())


async def confirm(client: AsyncClient, **body: str) -> tuple[int, dict[str, Any]]:
    answer = await client.post("/api/auth/confirm", json=body)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", ["token", "token_hash"])
async def test_link_when_it_is_opened(client: AsyncClient, db: SystemSession, method: str, name: str) -> None:
    await sign_up(client, EMAIL)
    token = await link_token(db, EMAIL)
    for _ in range(2):
        answer = await client.request(method, "/api/auth/confirm", params={name: token, "utm_source": "mail"})
        assert answer.status_code == 303
        assert answer.headers["location"] == f"http://app.luneo.test/confirm#token={token}"
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
    assert await link_token(db, EMAIL) == token
    assert await confirm(client, token=token) == (200, {"status": "confirmed", "session": None})


@pytest.mark.parametrize(
    "token", [None, "", "x", "luneo_ot_", "luneo_ot_é", "luneo_ot_" + "A" * 64, "x" * 1000]
)
async def test_link_when_it_is_forged(client: AsyncClient, token: str | None) -> None:
    params = {} if token is None else {"token": token}
    answer = await client.get("/api/auth/confirm", params=params)
    assert (answer.status_code, answer.json()["code"]) == (400, "token_invalid")
    assert "location" not in answer.headers


async def test_confirm_when_the_token_is_right(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL)
    token = await link_token(db, EMAIL)
    assert await confirm(client, token=token) == (200, {"status": "confirmed", "session": None})
    user = await person(db, EMAIL)
    assert user is not None
    assert user.email_confirmed_at is not None
    assert await events(db, "user.email_confirmed") == [{"user_id": str(user.id)}]
    assert (await sign_in(client, EMAIL)).status_code == 200


async def test_confirm_when_the_token_was_used(client: AsyncClient, db: SystemSession) -> None:
    verifier, challenge = pkce()
    await sign_up(client, EMAIL, code_challenge=challenge)
    token = await link_token(db, EMAIL)
    assert (await confirm(client, token=token, code_verifier=verifier))[0] == 200
    status, problem = await confirm(client, token=token, code_verifier=verifier)
    assert (status, problem["code"]) == (410, "token_used")
    assert await db.scalar(select(func.count()).select_from(UserSession)) == 1
    assert len(await events(db, "user.email_confirmed")) == 1


async def test_confirm_when_the_token_is_too_old(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL)
    token = await link_token(db, EMAIL)
    with clock.travel(timedelta(hours=24, seconds=1)):
        status, problem = await confirm(client, token=token)
    assert (status, problem["code"]) == (410, "token_expired")
    user = await person(db, EMAIL)
    assert user is not None
    assert user.email_confirmed_at is None


@pytest.mark.parametrize(
    "token",
    ["x", "luneo_ot_", "luneo_ot_" + "A" * 64, forged(), forged(use="password_reset"),
     forged(prefix=AUTH_CODE_PREFIX)],
    ids=["word", "prefix", "unsigned", "no_row", "other_use", "other_prefix"],
)  # fmt: skip
async def test_confirm_when_the_token_is_forged(client: AsyncClient, token: str) -> None:
    status, problem = await confirm(client, token=token)
    assert (status, problem["code"]) == (400, "token_invalid")
    assert token not in str(problem)


async def test_query_when_the_token_is_forged(client: AsyncClient, statements) -> None:
    with statements() as seen:
        await confirm(client, token="luneo_ot_" + "A" * 64)
    assert seen == []


async def test_session_when_the_browser_that_signed_up_confirms(
    client: AsyncClient, db: SystemSession
) -> None:
    verifier, challenge = pkce()
    await sign_up(client, EMAIL, full_name="Camille", code_challenge=challenge)
    token = await link_token(db, EMAIL)
    answer = await client.post(
        "/api/auth/confirm", json={"token": token, "code_verifier": verifier}, headers=device()
    )
    session = answer.json()["session"]
    assert session["user"]["email"] == EMAIL
    assert session["organization"]["role"] == "owner"
    me = await client.get("/api/auth/me", headers=bearer(session))
    assert me.json()["session"]["auth_method"] == "magic_link"
    assert [event["method"] for event in await events(db, "auth.signed_in")] == ["magic_link"]


async def test_session_when_another_browser_confirms(client: AsyncClient, db: SystemSession) -> None:
    _, challenge = pkce()
    await sign_up(client, EMAIL, code_challenge=challenge)
    token = await link_token(db, EMAIL)
    answer = await confirm(client, token=token, code_verifier=pkce()[0])
    assert answer == (200, {"status": "confirmed", "session": None})


async def test_session_when_the_sign_up_had_no_challenge(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL)
    token = await link_token(db, EMAIL)
    answer = await confirm(client, token=token, code_verifier=pkce()[0])
    assert answer == (200, {"status": "confirmed", "session": None})


async def test_session_when_the_account_is_suspended_meanwhile(
    client: AsyncClient, db: SystemSession
) -> None:
    verifier, challenge = pkce()
    await sign_up(client, EMAIL, code_challenge=challenge)
    token = await link_token(db, EMAIL)
    user = await person(db, EMAIL)
    assert user is not None
    user.status = "suspended"
    await db.commit()
    answer = await confirm(client, token=token, code_verifier=verifier)
    assert answer == (200, {"status": "confirmed", "session": None})


async def test_code_when_it_is_right(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL)
    code = await mailed_code(db, EMAIL)
    assert await confirm(client, email=EMAIL.upper(), code=code) == (
        200,
        {"status": "confirmed", "session": None},
    )
    status, problem = await confirm(client, email=EMAIL, code=code)
    assert (status, problem["code"]) == (400, "token_invalid")


async def test_code_when_it_is_wrong_five_times(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL)
    code = await mailed_code(db, EMAIL)
    token = await link_token(db, EMAIL)
    for _ in range(5):
        status, problem = await confirm(client, email=EMAIL, code=another(code))
        assert (status, problem["code"]) == (400, "token_invalid")
    assert (await confirm(client, email=EMAIL, code=code))[0] == 400
    status, problem = await confirm(client, token=token)
    assert (status, problem["code"]) == (410, "token_used")


async def test_code_when_the_fifth_try_is_right(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL)
    code = await mailed_code(db, EMAIL)
    for _ in range(4):
        await confirm(client, email=EMAIL, code=another(code))
    assert (await confirm(client, email=EMAIL, code=code))[0] == 200


async def test_code_when_it_is_ten_minutes_old(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL)
    code, token = await mailed_code(db, EMAIL), await link_token(db, EMAIL)
    with clock.travel(timedelta(minutes=10, seconds=1)):
        assert (await confirm(client, email=EMAIL, code=code))[0] == 400
        assert (await confirm(client, token=token))[0] == 200


async def test_code_when_nobody_has_the_address(client: AsyncClient, db: SystemSession, statements) -> None:
    await sign_up(client, EMAIL)
    code = await mailed_code(db, EMAIL)
    with statements() as known:
        _, wrong = await confirm(client, email=EMAIL, code=another(code))
    with statements() as unknown:
        _, nobody = await confirm(client, email="nobody@maison.example", code=code)
    assert known == unknown
    del wrong["request_id"], nobody["request_id"]
    assert wrong == nobody


@pytest.mark.parametrize(
    "body",
    [{}, {"token": "a", "code": "123456"}, {"token": "a", "email": EMAIL}, {"email": EMAIL},
     {"code": "123456"}, {"email": EMAIL, "code": "12345"}, {"email": EMAIL, "code": "1234567"},
     {"email": EMAIL, "code": 123456},
     {"email": EMAIL, "code": "１２３４５６"}, {"email": EMAIL, "code": "12345\n"},
     {"email": EMAIL, "code": "123456\n"}, {"email": EMAIL, "code": "123456", "code_verifier": "v" * 43},
     {"token": "a", "code_verifier": "v"}, {"token": 1}, {"token": "a", "extra": 1}, [], "x", 1, None],
)  # fmt: skip
async def test_confirm_when_the_body_is_wrong(client: AsyncClient, db: SystemSession, body: object) -> None:
    await sign_up(client, EMAIL)
    answer = await client.post("/api/auth/confirm", json=body)
    assert answer.status_code == 422
    user = await person(db, EMAIL)
    assert user is not None
    assert (await open_token(db, user)).attempt_count == 0


async def test_session_when_no_organisation_is_left(client: AsyncClient, db: SystemSession) -> None:
    verifier, challenge = pkce()
    await sign_up(client, EMAIL, code_challenge=challenge)
    token = await link_token(db, EMAIL)
    await db.execute(update(Organization).values(deleted_at=clock.now()))
    await db.commit()
    answer = await confirm(client, token=token, code_verifier=verifier)
    assert answer == (200, {"status": "confirmed", "session": None})
    user = await person(db, EMAIL)
    assert user is not None
    assert user.email_confirmed_at is not None


async def test_device_key_when_it_is_malformed(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL)
    token = await link_token(db, EMAIL)
    for key in ("short", "x" * 65, DEVICE_KEY + "!", DEVICE_KEY + "é"):
        headers = {b"X-Device-Key": key.encode("latin-1")}
        answer = await client.post("/api/auth/confirm", json={"token": token}, headers=headers)
        assert answer.status_code == 422
    assert (await confirm(client, token=token))[0] == 200
