"""Requests at the same moment: one wins, nobody is locked out by right passwords, nothing is doubled."""

import asyncio
from collections import Counter
from collections.abc import Awaitable

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select
from sqlalchemy.event import listen

from app.core import passwords
from app.core.database import Database, SystemSession
from app.models.auth import OneTimeToken, Password, SignInThrottle, User, UserSession
from app.models.settings import Profile
from app.models.team import Organization, TeamMember
from tests.factories.accounts import access_token_of, make_session, make_user, refresh_token_of
from tests.support.accounts import (
    DEVICE_KEY,
    PASSWORD,
    WRONG,
    another,
    bearer,
    device,
    events,
    link_token,
    mailed_code,
    person,
    pkce,
    refresh,
    sign_in,
    sign_up,
)

pytestmark = pytest.mark.commits

EMAIL = "camille@maison.example"


async def together(requests: list[Awaitable[Response]]) -> list[Response]:
    return list(await asyncio.gather(*requests))


def codes(answers: list[Response]) -> Counter[str]:
    return Counter(answer.json().get("code", str(answer.status_code)) for answer in answers)


async def count(db: SystemSession, model: type) -> int:
    return int(await db.scalar(select(func.count()).select_from(model)) or 0)


async def session_row(db: SystemSession, session: UserSession) -> UserSession:
    await db.commit()
    return await db.get_one(UserSession, session.id, populate_existing=True)


async def test_refresh_when_twenty_tabs_of_a_device_ask(client: AsyncClient, db: SystemSession) -> None:
    session = await make_session(db, await make_user(db), device_key=DEVICE_KEY)
    first = refresh_token_of(session)
    answers = await together([refresh(client, first, key=DEVICE_KEY) for _ in range(20)])
    assert [answer.status_code for answer in answers] == [200] * 20
    assert {answer.json()["refresh_token"] for answer in answers} == {refresh_token_of(session, 1)}
    row = await session_row(db, session)
    assert (row.refresh_counter, row.revoked_at) == (1, None)
    assert len(await events(db, "session.refresh_replayed")) == 19
    successor = refresh_token_of(session, 1)
    assert (await refresh(client, successor, key=DEVICE_KEY)).status_code == 200
    replay = await refresh(client, first, key=DEVICE_KEY)
    assert (replay.status_code, replay.json()["code"]) == (401, "refresh_token_reused")
    assert (await session_row(db, session)).revoked_reason == "refresh_reused"


async def test_refresh_when_twenty_strict_clients_ask(client: AsyncClient, db: SystemSession) -> None:
    session = await make_session(db, await make_user(db))
    answers = await together([refresh(client, refresh_token_of(session)) for _ in range(20)])
    found = codes(answers)
    assert found["200"] == 1
    assert found["refresh_token_reused"] == 1
    assert found["session_revoked"] == 18
    row = await session_row(db, session)
    assert (row.refresh_counter, row.revoked_reason) == (1, "refresh_reused")
    assert len(await events(db, "session.refresh_reused")) == 1
    (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert (await client.get("/api/auth/me", headers=bearer(winner))).status_code == 401
    assert (await refresh(client, winner["refresh_token"])).json()["code"] == "session_revoked"


async def test_confirm_when_ten_tabs_do_it(client: AsyncClient, db: SystemSession) -> None:
    verifier, challenge = pkce()
    await sign_up(client, EMAIL, code_challenge=challenge)
    body = {"token": await link_token(db, EMAIL), "code_verifier": verifier}
    answers = await together([client.post("/api/auth/confirm", json=body) for _ in range(10)])
    assert codes(answers) == {"200": 1, "token_used": 9}
    await db.commit()
    assert await count(db, UserSession) == 1
    assert len(await events(db, "user.email_confirmed")) == 1


async def test_code_when_it_is_guessed_in_parallel(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL)
    code = await mailed_code(db, EMAIL)
    guesses = [{"email": EMAIL, "code": another(code)} for _ in range(12)]
    answers = await together([client.post("/api/auth/confirm", json=guess) for guess in guesses])
    assert codes(answers) == {"token_invalid": 12}
    await db.commit()
    (token,) = (await db.execute(select(OneTimeToken))).scalars()
    await db.refresh(token)
    assert token.attempt_count == 5
    assert token.voided_at is not None
    right = await client.post("/api/auth/confirm", json={"email": EMAIL, "code": code})
    assert right.status_code == 400


async def test_confirm_when_the_sign_up_is_repeated_meanwhile(client: AsyncClient, db: SystemSession) -> None:
    for number in range(5):
        email = f"person-{number}@maison.example"
        await sign_up(client, email)
        token = await link_token(db, email)
        confirmed, repeated = await together(
            [
                client.post("/api/auth/confirm", json={"token": token}),
                sign_up(client, email, "other " + PASSWORD),
            ]
        )
        assert repeated.status_code == 202
        await db.commit()
        user = await person(db, email)
        assert user is not None
        if confirmed.status_code == 200:
            assert user.email_confirmed_at is not None
            assert (await sign_in(client, email)).status_code == 200
        else:
            assert confirmed.json()["code"] == "token_used"
            assert user.email_confirmed_at is None


async def test_signup_when_ten_come_for_one_address(client: AsyncClient, db: SystemSession) -> None:
    answers = await together([sign_up(client, EMAIL, full_name=f"Number {n}") for n in range(10)])
    assert [answer.status_code for answer in answers] == [202] * 10
    for model in (User, Profile, Password, Organization, TeamMember):
        assert await count(db, model) == 1
    live = select(func.count()).where(OneTimeToken.voided_at.is_(None))
    assert await db.scalar(live) == 1
    assert len(await events(db, "auth.signed_up")) == 1
    token = await link_token(db, EMAIL)
    assert (await client.post("/api/auth/confirm", json={"token": token})).status_code == 200
    opened = await sign_in(client, EMAIL)
    profile = (await db.execute(select(Profile))).scalar_one()
    assert opened.json()["user"]["full_name"] == profile.full_name


async def test_sign_in_when_twenty_right_ones_come(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    for _ in range(9):
        await sign_in(client, EMAIL, WRONG)
    answers = await together([sign_in(client, EMAIL) for _ in range(20)])
    assert codes(answers) == {"200": 20}
    assert len({answer.json()["session_id"] for answer in answers}) == 20
    await db.commit()
    assert await count(db, SignInThrottle) == 0
    assert await events(db, "auth.locked") == []


@pytest.mark.parametrize("email", [EMAIL, "nobody@maison.example"])
async def test_sign_in_when_twenty_wrong_ones_come(
    client: AsyncClient, db: SystemSession, email: str
) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    answers = await together([sign_in(client, email, WRONG) for _ in range(20)])
    assert codes(answers) == {"invalid_credentials": 10, "too_many_attempts": 10}
    assert (await sign_in(client, email)).status_code == 429
    await db.commit()
    assert len(await events(db, "auth.locked")) == 1


async def test_sign_in_when_more_wait_than_may(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    answers = await together([sign_in(client, EMAIL) for _ in range(40)])
    found = codes(answers)
    assert found["200"] >= 21
    assert found["200"] + found["too_many_attempts"] == 40
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.headers["retry-after"] for answer in refused} <= {"1"}


async def test_lock_when_the_request_was_refused(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    headers = {"Idempotency-Key": "one-and-the-same"}
    for _ in range(3):
        body = {"email": EMAIL, "password": WRONG}
        assert (await client.post("/api/auth/login", json=body, headers=headers)).status_code == 401
    async with database.system() as session:
        counter = (await session.execute(select(SignInThrottle))).scalar_one()
    assert counter.failed_count == 3


async def test_sign_in_when_it_is_repeated_by_its_key(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    headers = {"Idempotency-Key": "one-and-the-same", **device()}
    body = {"email": EMAIL, "password": PASSWORD}
    first, again = [await client.post("/api/auth/login", json=body, headers=headers) for _ in range(2)]
    assert first.json()["access_token"]
    assert again.status_code == 200
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["session_id"] == first.json()["session_id"]
    assert (again.json()["access_token"], again.json()["refresh_token"]) == (None, None)
    await db.commit()
    assert await count(db, UserSession) == 1


async def test_sign_in_when_ten_carry_one_key(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    headers = {"Idempotency-Key": "one-and-the-same", **device()}
    body = {"email": EMAIL, "password": PASSWORD}
    answers = await together([client.post("/api/auth/login", json=body, headers=headers) for _ in range(10)])
    found = codes(answers)
    assert found["200"] >= 1
    assert found["200"] + found["idempotency_in_progress"] == 10
    assert len({answer.json()["session_id"] for answer in answers if answer.status_code == 200}) == 1
    assert await count(db, UserSession) == 1


@pytest.mark.parametrize("path", ["login", "signup", "step-up"])
async def test_transaction_when_a_password_is_hashed(
    client: AsyncClient, db: SystemSession, database: Database, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    token = access_token_of(await make_session(db, user))
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "one-and-the-same"}
    body = {"password": PASSWORD} if path == "step-up" else {"email": EMAIL, "password": PASSWORD}
    await db.close()
    is_open: list[int] = []
    engine = database.engine.sync_engine
    listen(engine, "begin", lambda _: is_open.append(1))
    for end in ("commit", "rollback"):
        listen(engine, end, lambda _: is_open.pop())
    seen: list[int] = []
    for name in ("hash", "verify", "verify_and_update"):
        real = getattr(passwords._context, name)

        def counting(*arguments, _real=real):
            seen.append(len(is_open))
            return _real(*arguments)

        monkeypatch.setattr(passwords._context, name, counting)
    answer = await client.post(f"/api/auth/{path}", json=body, headers=headers)
    assert answer.status_code in (200, 202)
    assert set(seen) == {0}


async def test_sign_out_when_a_refresh_runs(client: AsyncClient, db: SystemSession) -> None:
    for _ in range(5):
        session = await make_session(db, await make_user(db), device_key=DEVICE_KEY)
        opened = (await refresh(client, refresh_token_of(session), key=DEVICE_KEY)).json()
        signed_out, refreshed = await together(
            [
                client.post("/api/auth/logout", headers=bearer(opened)),
                refresh(client, opened["refresh_token"], key=DEVICE_KEY),
            ]
        )
        assert signed_out.status_code == 204
        assert refreshed.status_code in (200, 401)
        assert (await session_row(db, session)).revoked_at is not None
        if refreshed.status_code == 200:
            late = await refresh(client, refreshed.json()["refresh_token"], key=DEVICE_KEY)
            assert late.json()["code"] == "session_revoked"


async def test_connections_when_many_sign_up_at_once(client: AsyncClient, db: SystemSession) -> None:
    answers = await together([sign_up(client, f"p{n}@maison.example") for n in range(40)])
    assert [answer.status_code for answer in answers] == [202] * 40
    assert await count(db, User) == 40
