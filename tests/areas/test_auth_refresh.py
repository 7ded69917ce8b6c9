"""Refresh: one successor for each token, again for a lost answer, and the end when a token comes back."""

from datetime import timedelta

import pytest
from httpx import AsyncClient
from sqlalchemy import delete, select

from app.core import clock
from app.core.config import get_settings
from app.core.crypto import decode_base64url, encode_base64url, make_refresh_token
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.auth import User, UserSession
from app.models.team import TeamMember
from tests.factories.accounts import access_token_of, make_session, make_user, refresh_token_of
from tests.support.accounts import DEVICE_KEY, bearer, events, refresh
from tests.support.personas import Persona

OTHER_KEY = "the-key-of-quite-another-browser"


async def current(db: SystemSession, session: UserSession) -> UserSession:
    statement = select(UserSession).where(UserSession.id == session.id)
    return (await db.execute(statement.execution_options(populate_existing=True))).scalar_one()


@pytest.fixture
async def user(db: SystemSession) -> User:
    return await make_user(db, email="camille@maison.example", full_name="Camille")


@pytest.fixture
async def session(db: SystemSession, user: User) -> UserSession:
    return await make_session(db, user)


@pytest.fixture
async def keyed(db: SystemSession, user: User) -> UserSession:
    return await make_session(db, user, device_key=DEVICE_KEY)


async def test_refresh_when_the_token_is_the_newest(
    client: AsyncClient, db: SystemSession, session: UserSession
) -> None:
    first = refresh_token_of(session)
    with clock.travel(timedelta(hours=1)):
        answer = await refresh(client, first)
        body = answer.json()
        assert (await client.get("/api/auth/me", headers=bearer(body))).status_code == 200
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert body["session_id"] == str(session.id)
    assert body["refresh_token"] == refresh_token_of(session, 1) != first
    assert body["user"]["full_name"] == "Camille"
    assert body["organization"]["id"] == str(session.organization_id)
    row = await current(db, session)
    assert (row.refresh_counter, row.expires_at) == (1, session.expires_at)
    assert row.refreshed_at == row.last_activity_at
    assert row.last_activity_at - row.created_at >= timedelta(hours=1)


async def test_refresh_when_it_goes_on(client: AsyncClient, session: UserSession) -> None:
    token = refresh_token_of(session)
    for _ in range(5):
        token = (await refresh(client, token)).json()["refresh_token"]
    assert token == refresh_token_of(session, 5)


async def test_reuse_when_the_client_keeps_no_device_key(
    client: AsyncClient, db: SystemSession, session: UserSession
) -> None:
    first = refresh_token_of(session)
    successor = (await refresh(client, first)).json()
    answer = await refresh(client, first)
    assert (answer.status_code, answer.json()["code"]) == (401, "refresh_token_reused")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    row = await current(db, session)
    assert row.revoked_at is not None
    assert row.revoked_reason == "refresh_reused"
    ids = {"user_id": str(session.user_id), "session_id": str(session.id)}
    assert await events(db, "session.refresh_reused") == [ids]
    assert await events(db, "session.revoked") == [{**ids, "reason": "refresh_reused"}]
    stolen = await refresh(client, successor["refresh_token"])
    assert (stolen.status_code, stolen.json()["code"]) == (401, "session_revoked")
    me = await client.get("/api/auth/me", headers=bearer(successor))
    assert (me.status_code, me.json()["code"]) == (401, "session_revoked")


async def test_replay_when_the_same_device_lost_the_answer(
    client: AsyncClient, db: SystemSession, keyed: UserSession
) -> None:
    first = refresh_token_of(keyed)
    lost = (await refresh(client, first, key=DEVICE_KEY)).json()
    with clock.travel(timedelta(seconds=5)):
        again = (await refresh(client, first, key=DEVICE_KEY)).json()
    assert again["refresh_token"] == lost["refresh_token"]
    assert again["access_token"] != lost["access_token"]
    ids = {"user_id": str(keyed.user_id), "session_id": str(keyed.id)}
    assert await events(db, "session.refresh_replayed") == [ids]
    assert (await refresh(client, again["refresh_token"], key=DEVICE_KEY)).status_code == 200


@pytest.mark.parametrize("key", [None, OTHER_KEY])
async def test_replay_when_another_device_sends_it(
    client: AsyncClient, keyed: UserSession, key: str | None
) -> None:
    first = refresh_token_of(keyed)
    await refresh(client, first, key=DEVICE_KEY)
    assert (await refresh(client, first, key=key)).json()["code"] == "refresh_token_reused"


async def test_replay_when_it_comes_too_late(client: AsyncClient, keyed: UserSession) -> None:
    first = refresh_token_of(keyed)
    await refresh(client, first, key=DEVICE_KEY)
    with clock.travel(timedelta(seconds=11)):
        late = await refresh(client, first, key=DEVICE_KEY)
    assert late.json()["code"] == "refresh_token_reused"


async def test_replay_when_the_token_is_two_steps_behind(client: AsyncClient, keyed: UserSession) -> None:
    first = refresh_token_of(keyed)
    second = (await refresh(client, first, key=DEVICE_KEY)).json()["refresh_token"]
    await refresh(client, second, key=DEVICE_KEY)
    assert (await refresh(client, first, key=DEVICE_KEY)).json()["code"] == "refresh_token_reused"


async def test_replay_when_the_session_had_no_key_at_sign_in(
    client: AsyncClient, session: UserSession
) -> None:
    first = refresh_token_of(session)
    await refresh(client, first, key=DEVICE_KEY)
    assert (await refresh(client, first, key=DEVICE_KEY)).json()["code"] == "refresh_token_reused"


def tampered(token: str) -> str:
    data = bytearray(decode_base64url(token.removeprefix("luneo_rt_")) or b"")
    data[-1] ^= 1
    return "luneo_rt_" + encode_base64url(bytes(data))


async def test_token_when_it_is_forged(client: AsyncClient, db: SystemSession, session: UserSession) -> None:
    for token in (
        tampered(refresh_token_of(session)),
        make_refresh_token(b"k" * 32, session.id, 0),
        make_refresh_token(b"k" * 32, uuid7(), 0),
        refresh_token_of(session, 1),
        refresh_token_of(session, 2**63 - 1),
        refresh_token_of(session)[:-1],
        refresh_token_of(session) + "=",
        access_token_of(session),
        "luneo_rt_" + "A" * 75,
        "x",
    ):
        answer = await refresh(client, token)
        assert (answer.status_code, answer.json()["code"]) == (401, "refresh_token_invalid")
        assert token not in answer.text
    row = await current(db, session)
    assert (row.refresh_counter, row.revoked_at) == (0, None)
    assert (await refresh(client, refresh_token_of(session))).status_code == 200


@pytest.mark.parametrize(
    ("hours", "status"),
    [(23.9, 200), (24.1, 401), (24 * 7 + 1, 401)],
)
async def test_refresh_when_the_session_was_idle(
    client: AsyncClient, session: UserSession, hours: float, status: int
) -> None:
    with clock.travel(timedelta(hours=hours)):
        answer = await refresh(client, refresh_token_of(session))
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["code"] == "session_expired"


async def test_refresh_when_the_session_reaches_its_end(client: AsyncClient, session: UserSession) -> None:
    token = refresh_token_of(session)
    for day in range(1, 8):
        with clock.travel(timedelta(hours=23.9 * day)):
            answer = await refresh(client, token)
        if answer.status_code != 200:
            break
        token = answer.json()["refresh_token"]
    assert day == 7
    with clock.travel(timedelta(days=7, seconds=1)):
        answer = await refresh(client, token)
    assert (answer.status_code, answer.json()["code"]) == (401, "session_expired")


async def test_refresh_when_the_person_is_suspended(
    client: AsyncClient, db: SystemSession, user: User, session: UserSession
) -> None:
    user.status = "suspended"
    await db.commit()
    answer = await refresh(client, refresh_token_of(session))
    assert (answer.status_code, answer.json()["code"]) == (401, "session_revoked")


async def test_refresh_when_the_caller_signed_out(client: AsyncClient, session: UserSession) -> None:
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    assert (await client.post("/api/auth/logout", headers=headers)).status_code == 204
    answer = await refresh(client, refresh_token_of(session))
    assert (answer.status_code, answer.json()["code"]) == (401, "session_revoked")


async def test_organization_when_the_membership_is_over(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    row = (await db.execute(select(UserSession).where(UserSession.id == bob.session_id))).scalar_one()
    await db.execute(
        delete(TeamMember).where(
            TeamMember.user_id == bob.user_id, TeamMember.organization_id == bob.organization_id
        )
    )
    await db.commit()
    body = (await refresh(client, refresh_token_of(row))).json()
    assert body["organization"] is None


@pytest.mark.parametrize(
    "body", [{}, {"refresh_token": ""}, {"refresh_token": 1}, {"refresh_token": "x", "extra": 1}, [], None]
)
async def test_refresh_when_the_body_is_wrong(client: AsyncClient, body: object) -> None:
    assert (await client.post("/api/auth/refresh", json=body)).status_code == 422


async def test_refresh_when_it_is_too_frequent(
    client: AsyncClient, session: UserSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "limit_refresh", "3/5m")
    monkeypatch.setattr(get_settings(), "limit_factor", 1)
    token = refresh_token_of(session)
    for _ in range(3):
        token = (await refresh(client, token)).json()["refresh_token"]
    answer = await refresh(client, token)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) > 0


async def test_forgeries_when_they_are_frequent(
    client: AsyncClient, session: UserSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "limit_bad_token_ip", "3/1m")
    monkeypatch.setattr(get_settings(), "limit_factor", 1)
    answers = [await refresh(client, tampered(refresh_token_of(session))) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert (await refresh(client, refresh_token_of(session))).status_code == 200


async def test_documented_answers_when_there_is_a_limit(client: AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    answers = document["paths"]["/api/auth/refresh"]["post"]["responses"]
    assert {"401", "429"} <= set(answers)
