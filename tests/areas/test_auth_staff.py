"""What the platform's staff does to accounts, over HTTP."""

import json
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.core.ids import uuid7
from app.models.auth import User
from app.services.auth.staff.events import UserReinstated
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.support.accounts import PASSWORD, events, person, privates, sign_in
from tests.support.links import mail_of
from tests.support.oauth import come_back, exchange, sign_in_with, start
from tests.support.personas import Persona

EMAIL = "camille@maison.example"
REASON = {"reason": "Fraud, case 4711"}


async def headers_of(db: SystemSession, user: User, **session: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token_of(await make_session(db, user, **session))}"}


@pytest.fixture
async def agent(db: SystemSession, monkeypatch: pytest.MonkeyPatch) -> User:
    """Somebody of the platform's staff."""
    user = await make_user(db, email="agent@luneo.test")
    monkeypatch.setattr(get_settings(), "platform_staff_ids", [str(user.id)])
    return user


@pytest.fixture
async def staff(db: SystemSession, agent: User) -> dict[str, str]:
    return await headers_of(db, agent, aal=2)


async def test_suspension_when_the_person_has_sessions(
    client: AsyncClient, db: SystemSession, database: Database, staff: dict[str, str]
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    devices = [await headers_of(db, user) for _ in range(3)]
    answer = await client.post(f"/api/auth/users/{user.id}/suspend", json=REASON, headers=staff)
    assert (answer.status_code, answer.content) == (204, b"")
    for device in devices:
        refused = await client.get("/api/auth/me", headers=device)
        assert (refused.status_code, refused.json()["code"]) == (401, "session_revoked")
    assert (await sign_in(client, EMAIL)).json()["code"] == "account_suspended"
    assert await events(db, "user.suspended") == [{"user_id": str(user.id), **REASON}]
    assert len(await events(db, "session.revoked")) == 3
    mail = await mail_of(client, database, EMAIL, "account_suspended")
    assert "Fraud, case 4711" in mail["text"]


async def test_reinstatement_when_the_account_is_suspended(
    client: AsyncClient, db: SystemSession, agent: User, staff: dict[str, str]
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    device = await headers_of(db, user)
    await client.post(f"/api/auth/users/{user.id}/suspend", json=REASON, headers=staff)
    answer = await client.post(f"/api/auth/users/{user.id}/reinstate", json=REASON, headers=staff)
    assert answer.status_code == 204
    assert (await sign_in(client, EMAIL)).status_code == 200
    assert (await client.get("/api/auth/me", headers=device)).status_code == 401
    (private,) = await privates(db, UserReinstated.type)
    assert private["reason"] == REASON["reason"]
    told = select(EventOutbox.actor_id, EventOutbox.body).where(EventOutbox.type == UserReinstated.type)
    (actor_id, body) = (await db.execute(told)).one()
    assert actor_id == agent.id
    assert json.loads(body)["actor"] == {"type": "staff", "id": None}


async def test_oauth_when_the_account_is_suspended_on_the_way(
    client: AsyncClient, db: SystemSession, staff: dict[str, str]
) -> None:
    await sign_in_with(client)
    user = await person(db, EMAIL)
    assert user is not None
    trip = await start(client)
    found = await come_back(client, trip)
    await client.post(f"/api/auth/users/{user.id}/suspend", json=REASON, headers=staff)
    answer = await exchange(client, found["auth_code"], trip.verifier)
    assert (answer.status_code, answer.json()["code"]) == (403, "account_suspended")


@pytest.mark.parametrize("act", ["suspend", "reinstate"])
async def test_staff_routes_when_the_caller_is_not_staff(
    client: AsyncClient, db: SystemSession, alice: Persona, agent: User, act: str
) -> None:
    victim = await make_user(db)
    path = f"/api/auth/users/{victim.id}/{act}"
    nowhere = f"/api/auth/users/{uuid7()}/{act}"
    callers = [alice.headers, await headers_of(db, await make_user(db), aal=2), await headers_of(db, agent)]
    for caller in callers:
        for address in (path, nowhere):
            answer = await client.post(address, json=REASON, headers=caller)
            assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
            assert answer.json()["permission"] == "platform:manage"
    stale = await headers_of(db, agent, aal=2, step_up=False)
    answer = await client.post(path, json=REASON, headers=stale)
    assert (answer.status_code, answer.json()["code"]) == (401, "step_up_required")
    await db.refresh(victim)
    assert victim.status == "active"


async def test_staff_routes_when_the_account_is_in_another_state(
    client: AsyncClient, db: SystemSession, staff: dict[str, str]
) -> None:
    user = await make_user(db)

    async def code(act: str) -> str:
        answer = await client.post(f"/api/auth/users/{user.id}/{act}", json=REASON, headers=staff)
        return str(answer.json()["code"]) if answer.content else str(answer.status_code)

    assert await code("reinstate") == "user_not_suspended"
    assert await code("suspend") == "204"
    assert await code("suspend") == "user_not_active"
    user.status = "erased"
    await db.commit()
    assert await code("suspend") == "not_found"
    assert await code("reinstate") == "not_found"


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": 1}, {"reason": "x" * 501}])
async def test_suspension_when_there_is_no_reason(
    client: AsyncClient, db: SystemSession, staff: dict[str, str], body: dict[str, Any]
) -> None:
    user = await make_user(db)
    answer = await client.post(f"/api/auth/users/{user.id}/suspend", json=body, headers=staff)
    assert answer.status_code == 422
