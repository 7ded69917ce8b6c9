"""Step-up by every proof: which one counts for whom, what it raises, what its failures cost."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, update

from app.core import clock
from app.core.crypto import derive_code, key_ring
from app.core.database import Database, SystemSession
from app.models.auth import MfaFactor, OneTimeToken, SignInThrottle, User, UserSession
from app.models.notifications import Email
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.factories.second_factor import make_backup_codes, make_factor
from tests.support.accounts import OTHER_PASSWORD, PASSWORD, another, events, privates, sign_in
from tests.support.events import handle_events
from tests.support.personas import Persona

Answer = tuple[int, dict[str, Any]]


def headers_of(session: UserSession) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token_of(session)}"}


async def step_up(client: AsyncClient, session: UserSession, **proof: Any) -> Answer:
    answer = await client.post("/api/auth/step-up", json=proof, headers=headers_of(session))
    return answer.status_code, answer.json()


async def ask_mail(client: AsyncClient, session: UserSession) -> Answer:
    answer = await client.post("/api/auth/step-up/email", headers=headers_of(session))
    return answer.status_code, answer.json()


async def row_of(db: SystemSession, session: UserSession) -> UserSession:
    return await db.get_one(UserSession, session.id, populate_existing=True)


async def mailed(db: SystemSession) -> str:
    """The code of the newest mail."""
    newest = select(OneTimeToken.id).where(OneTimeToken.purpose == "step_up").order_by(OneTimeToken.id.desc())
    return derive_code(key_ring(), "step_up", (await db.execute(newest.limit(1))).scalar_one())


async def test_session_when_a_code_is_given(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, password=PASSWORD)
    app_codes = await make_factor(db, user)
    session = await make_session(db, user, step_up=False)
    status, body = await step_up(client, session, code=app_codes.code())
    assert status == 200
    assert (body["valid_for"], body["aal"]) == (900, 2)
    row = await row_of(db, session)
    assert row.step_up_at is not None
    assert (row.aal, row.amr) == (2, ["pwd", "otp", "mfa"])
    stepped = {"user_id": str(user.id), "session_id": str(session.id), "method": "totp"}
    assert await events(db, "auth.stepped_up") == [stepped]
    me = (await client.get("/api/auth/me", headers=headers_of(session))).json()
    assert me["session"]["aal"] == 2


async def test_session_when_a_backup_code_is_given(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, password=PASSWORD)
    await make_factor(db, user)
    codes = await make_backup_codes(db, user)
    session = await make_session(db, user, step_up=False)
    assert (await step_up(client, session, backup_code=codes[3]))[0] == 200
    row = await row_of(db, session)
    assert (row.aal, row.step_up_at is not None) == (2, True)
    assert await events(db, "auth.backup_code_used") == [{"user_id": str(user.id), "remaining": 9}]
    status, body = await step_up(client, session, backup_code=codes[3])
    assert (status, body["code"]) == (401, "mfa_code_invalid")


async def test_other_proofs_when_there_is_a_second_factor(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, password=PASSWORD)
    session = await make_session(db, user, aal=2, step_up=False)
    await make_factor(db, user)
    for proof in ({"password": PASSWORD}, {"email_code": "123456"}, {"password": OTHER_PASSWORD}):
        status, body = await step_up(client, session, **proof)
        assert (status, body["code"]) == (409, "second_factor_required")
    status, body = await ask_mail(client, session)
    assert (status, body["code"]) == (409, "second_factor_required")
    assert (await row_of(db, session)).step_up_at is None
    assert await db.scalar(select(func.count()).select_from(SignInThrottle)) == 0


async def test_password_when_the_factor_is_only_pending(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, password=PASSWORD)
    await make_factor(db, user, status="pending")
    session = await make_session(db, user, step_up=False)
    status, body = await step_up(client, session, password=PASSWORD)
    assert (status, body["aal"]) == (200, 1)


async def test_code_when_there_is_no_factor(client: AsyncClient, db: SystemSession) -> None:
    session = await make_session(db, await make_user(db, password=PASSWORD), step_up=False)
    status, body = await step_up(client, session, code="123456")
    assert (status, body["code"]) == (401, "mfa_code_invalid")
    assert (await row_of(db, session)).aal == 1


async def test_code_when_it_is_wrong(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, password=PASSWORD)
    app_codes = await make_factor(db, user)
    session = await make_session(db, user, step_up=False)
    status, body = await step_up(client, session, code=app_codes.wrong_code())
    assert (status, body["code"]) == (401, "mfa_code_invalid")
    row = await row_of(db, session)
    assert (row.aal, row.step_up_at) == (1, None)
    failed = {"user_id": str(user.id), "reason": "step_up_failed"}
    assert await events(db, "auth.sign_in_failed") == [failed]
    assert await events(db, "auth.mfa_failed") == [{"user_id": str(user.id), "challenge_id": None}]


async def test_sign_in_when_step_ups_failed_ten_times(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email="camille@maison.example", password=PASSWORD)
    app_codes = await make_factor(db, user)
    session = await make_session(db, user)
    for _ in range(10):
        assert (await step_up(client, session, code=app_codes.wrong_code()))[0] == 401
    answer = await sign_in(client, "camille@maison.example")
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
    with clock.travel(timedelta(minutes=16)):
        assert (await sign_in(client, "camille@maison.example")).status_code == 200


@pytest.mark.parametrize(
    "proof",
    [
        {"code": 123456},
        {"code": "１２３４５６"},
        {"code": " 12345"},
        {"email_code": "12345"},
        {"backup_code": "K7QF"},
        {"password": None},
        {"code": "123456", "email_code": "123456"},
    ],
)
async def test_body_when_it_is_malformed(
    client: AsyncClient, db: SystemSession, alice: Persona, proof: dict[str, Any]
) -> None:
    await make_factor(db, alice.user_id)
    for _ in range(12):
        answer = await client.post("/api/auth/step-up", json=proof, headers=alice.headers)
        assert answer.status_code == 422
    assert await db.scalar(select(func.count()).select_from(SignInThrottle)) == 0


async def test_code_when_sign_in_used_it(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email="camille@maison.example", password=PASSWORD)
    app_codes = await make_factor(db, user)
    session = await make_session(db, user, step_up=False)
    token = (await sign_in(client, "camille@maison.example")).json()["mfa_token"]
    code, older = app_codes.code(), app_codes.code(-1)
    verified = await client.post("/api/auth/mfa/verify", json={"mfa_token": token, "code": code})
    assert verified.status_code == 200
    for stale in (code, older):
        status, body = await step_up(client, session, code=stale)
        assert (status, body["code"]) == (401, "mfa_code_invalid")
    assert (await step_up(client, session, code=app_codes.code(1)))[0] == 200


async def test_mailed_code_when_there_is_no_password(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    user = await make_user(db)
    session = await make_session(db, user, step_up=False)
    assert await ask_mail(client, session) == (202, {"status": "code_sent"})
    assert await events(db, "auth.step_up_requested") == [{"user_id": str(user.id)}]
    (private,) = await privates(db, "auth.step_up_requested")
    assert set(private) == {"token_id", "device", "place", "time"}
    await handle_events(database)
    assert (await db.execute(select(Email.template_key))).scalars().all() == ["step_up_code"]
    code = await mailed(db)
    status, body = await step_up(client, session, email_code=another(code))
    assert (status, body["code"]) == (401, "invalid_credentials")
    status, body = await step_up(client, session, email_code=code)
    assert (status, body["aal"]) == (200, 1)
    assert (await row_of(db, session)).step_up_at is not None
    assert (await events(db, "auth.stepped_up"))[0]["method"] == "email_code"
    status, body = await step_up(client, session, email_code=code)
    assert (status, body["code"]) == (401, "invalid_credentials")


async def test_mailed_code_when_another_was_asked_for(client: AsyncClient, db: SystemSession) -> None:
    session = await make_session(db, await make_user(db), step_up=False)
    await ask_mail(client, session)
    old = await mailed(db)
    await ask_mail(client, session)
    assert (await step_up(client, session, email_code=old))[0] == 401
    assert (await step_up(client, session, email_code=await mailed(db)))[0] == 200


async def test_mailed_code_when_five_were_wrong(client: AsyncClient, db: SystemSession) -> None:
    session = await make_session(db, await make_user(db), step_up=False)
    await ask_mail(client, session)
    code = await mailed(db)
    for _ in range(5):
        assert (await step_up(client, session, email_code=another(code)))[0] == 401
    assert (await step_up(client, session, email_code=code))[0] == 401


async def test_mailed_code_when_it_has_expired(client: AsyncClient, db: SystemSession) -> None:
    session = await make_session(db, await make_user(db), step_up=False)
    await ask_mail(client, session)
    code = await mailed(db)
    with clock.travel(timedelta(minutes=11)):
        assert (await step_up(client, session, email_code=code))[0] == 401


async def test_mailed_code_when_it_is_somebody_elses(client: AsyncClient, db: SystemSession) -> None:
    mine = await make_session(db, await make_user(db), step_up=False)
    theirs = await make_session(db, await make_user(db), step_up=False)
    await ask_mail(client, theirs)
    code = await mailed(db)
    await ask_mail(client, mine)
    if code != await mailed(db):
        assert (await step_up(client, mine, email_code=code))[0] == 401


async def test_mail_when_there_is_a_password(client: AsyncClient, db: SystemSession) -> None:
    session = await make_session(db, await make_user(db, password=PASSWORD), step_up=False)
    status, body = await ask_mail(client, session)
    assert (status, body["code"]) == (409, "password_required")
    status, body = await step_up(client, session, email_code="123456")
    assert (status, body["code"]) == (409, "password_required")
    await db.execute(update(UserSession).where(UserSession.id == session.id).values(auth_method="sso"))
    await db.commit()
    assert (await ask_mail(client, session))[0] == 202
    assert (await step_up(client, session, email_code=await mailed(db)))[0] == 200


async def test_mail_when_it_is_asked_for_too_often(client: AsyncClient, db: SystemSession) -> None:
    session = await make_session(db, await make_user(db))
    for _ in range(5):
        assert (await ask_mail(client, session))[0] == 202
    assert len(await events(db, "auth.step_up_requested")) == 3


async def test_session_when_it_was_ended_meanwhile(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db)
    app_codes = await make_factor(db, user)
    session = await make_session(db, user)
    await db.execute(update(UserSession).values(revoked_at=clock.now()))
    await db.commit()
    status, body = await step_up(client, session, code=app_codes.code())
    assert (status, body["code"]) == (401, "session_revoked")
    assert await db.scalar(select(MfaFactor.last_used_step)) == -1


async def test_step_up_when_nobody_is_signed_in(client: AsyncClient) -> None:
    assert (await client.post("/api/auth/step-up", json={"code": "123456"})).status_code == 401
    assert (await client.post("/api/auth/step-up/email")).status_code == 401


async def test_users_when_another_steps_up(client: AsyncClient, db: SystemSession) -> None:
    mine, theirs = await make_user(db), await make_user(db)
    await make_factor(db, mine)
    their_app = await make_factor(db, theirs)
    session = await make_session(db, mine, step_up=False)
    assert (await step_up(client, session, code=their_app.code()))[0] == 401
    assert isinstance(await db.get(User, mine.id), User)
    assert (await row_of(db, session)).step_up_at is None
