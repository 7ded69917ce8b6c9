"""The reset of a password: for every kind of account, once, and telling nobody who has one."""

from datetime import timedelta

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, text

from app.core import clock
from app.core.crypto import EMAIL_TOKEN_PREFIX, derive_token, key_ring
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.core.passwords import hash_password
from app.models.auth import OneTimeToken, Password, SignInThrottle, User, UserSession
from app.services.auth.throttle import throttle_key
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.support.accounts import (
    DEVICE_KEY,
    OTHER_PASSWORD,
    PASSWORD,
    WRONG,
    another,
    bearer,
    events,
    link_token,
    person,
    sign_in,
    sign_up,
)
from tests.support.events import handle_events
from tests.support.links import (
    Authenticator,
    forgot,
    give_factor,
    magic_link,
    mail_of,
    mailed,
    reset,
    reset_token,
    templates,
    token_of,
    verify_link,
)

EMAIL = "camille@maison.example"
NOBODY = "nobody@maison.example"
JOBS = text("SELECT count(*) FROM procrastinate_jobs")
SENT = {"status": "reset_sent"}


@pytest.fixture
async def user(db: SystemSession) -> User:
    return await make_user(db, email=EMAIL, full_name="Camille", password=PASSWORD)


def forged(use: str = "password_reset") -> str:
    return derive_token(key_ring(), EMAIL_TOKEN_PREFIX, use, uuid7())


async def test_reset_when_the_link_is_followed(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    sessions = [await make_session(db, user) for _ in range(2)]
    answer = await reset(client, await reset_token(client, database, EMAIL), OTHER_PASSWORD)
    assert (answer.status_code, answer.json()) == (200, {"status": "password_reset", "sessions_revoked": 2})
    assert answer.headers["cache-control"] == "no-store"
    assert (await sign_in(client, EMAIL)).status_code == 401
    assert (await sign_in(client, EMAIL, OTHER_PASSWORD)).status_code == 200
    for session in sessions:
        headers = {"Authorization": f"Bearer {access_token_of(session)}"}
        assert (await client.get("/api/auth/me", headers=headers)).json()["code"] == "session_revoked"
    assert await events(db, "user.password_reset") == [{"user_id": str(user.id), "sessions_revoked": 2}]
    reasons = {event["reason"] for event in await events(db, "session.revoked")}
    assert reasons == {"password_reset"}
    assert "password_changed" in await templates(client, database, EMAIL)


async def test_mail_when_a_reset_is_asked_for(client: AsyncClient, database: Database, user: User) -> None:
    await forgot(client, EMAIL.upper())
    (mail,) = await mailed(client, database, EMAIL)
    assert (mail["template"], mail["locale"]) == ("password_reset", "fr")
    assert mail["links"][0].startswith("http://app.luneo.test/reset-password#token=luneo_ot_")
    assert mail["code"] is None
    assert "appareil inconnu" in mail["text"]


async def test_reset_when_the_token_was_used(client: AsyncClient, database: Database, user: User) -> None:
    token = await reset_token(client, database, EMAIL)
    assert (await reset(client, token, OTHER_PASSWORD)).status_code == 200
    again = await reset(client, token, OTHER_PASSWORD)
    assert (again.status_code, again.json()["code"]) == (410, "token_used")


async def test_reset_when_a_newer_link_was_asked_for(
    client: AsyncClient, database: Database, user: User
) -> None:
    older = await reset_token(client, database, EMAIL)
    newer = await reset_token(client, database, EMAIL)
    assert (await reset(client, older, OTHER_PASSWORD)).json()["code"] == "token_used"
    assert (await reset(client, newer, OTHER_PASSWORD)).status_code == 200


async def test_reset_when_the_link_is_too_old(client: AsyncClient, database: Database, user: User) -> None:
    token = await reset_token(client, database, EMAIL)
    with clock.travel(timedelta(minutes=30, seconds=1)):
        answer = await reset(client, token, OTHER_PASSWORD)
    assert (answer.status_code, answer.json()["code"]) == (410, "token_expired")
    assert (await sign_in(client, EMAIL)).status_code == 200


@pytest.mark.parametrize(
    "token",
    ["x", "luneo_ot_", "luneo_ot_" + "A" * 64, forged(), forged("email_confirm")],
    ids=["short", "bare", "all A", "unknown", "of another purpose"],
)
async def test_reset_when_the_token_is_forged(client: AsyncClient, token: str) -> None:
    answer = await reset(client, token, OTHER_PASSWORD)
    assert (answer.status_code, answer.json()["code"]) == (400, "token_invalid")
    assert token not in answer.text


@pytest.mark.parametrize(
    ("password", "code"),
    [("xq7 zq1", "too_short"), ("x" * 129, "too_long"), ("password1", "common"), ("my camille x", "context")],
)
async def test_reset_when_the_password_is_weak(
    client: AsyncClient, database: Database, user: User, password: str, code: str
) -> None:
    token = await reset_token(client, database, EMAIL)
    answer = await reset(client, token, password)
    assert (answer.status_code, answer.json()["code"]) == (422, "password_rejected")
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/new_password"}
    assert code in {error["code"] for error in answer.json()["errors"]}
    assert password not in answer.text
    assert (await reset(client, token, OTHER_PASSWORD)).status_code == 200


async def test_reset_when_the_account_is_not_confirmed(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    await sign_up(client, EMAIL)
    confirmation = await link_token(db, EMAIL)
    answer = await reset(client, await reset_token(client, database, EMAIL), OTHER_PASSWORD)
    assert answer.status_code == 200
    assert (await sign_in(client, EMAIL, OTHER_PASSWORD)).status_code == 200
    assert len(await events(db, "user.email_confirmed")) == 1
    again = await client.post("/api/auth/confirm", json={"token": confirmation})
    assert again.json()["code"] == "token_used"


async def test_reset_when_the_account_has_no_password(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    await make_user(db, email=EMAIL)
    answer = await reset(client, await reset_token(client, database, EMAIL), PASSWORD)
    assert answer.status_code == 200
    assert (await sign_in(client, EMAIL)).status_code == 200


async def test_reset_when_other_links_are_open(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    link = await magic_link(client, database, EMAIL)
    assert (
        await reset(client, await reset_token(client, database, EMAIL), OTHER_PASSWORD)
    ).status_code == 200
    assert (await verify_link(client, **link.by_token())).json()["code"] == "token_used"
    assert (await verify_link(client, **link.by_code())).json()["code"] == "token_invalid"


async def test_reset_when_the_address_is_locked(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    await sign_in(client, EMAIL, key=DEVICE_KEY)
    for key in (None, DEVICE_KEY):
        for _ in range(10):
            await sign_in(client, EMAIL, WRONG, key=key)
        assert (await sign_in(client, EMAIL, key=key)).status_code == 429
    asked = await forgot(client, EMAIL)
    assert (await sign_in(client, EMAIL)).status_code == 429
    token = token_of(await mail_of(client, database, EMAIL, "password_reset"))
    assert asked.status_code == 202
    assert (await reset(client, token, OTHER_PASSWORD)).status_code == 200
    for key in (None, DEVICE_KEY):
        assert (await sign_in(client, EMAIL, OTHER_PASSWORD, key=key)).status_code == 200


async def test_reset_when_the_address_is_locked_for_good(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    db.add(SignInThrottle(key=throttle_key(EMAIL), failed_count=100, last_failed_at=clock.now()))
    await db.commit()
    assert (
        await reset(client, await reset_token(client, database, EMAIL), OTHER_PASSWORD)
    ).status_code == 200
    assert (await sign_in(client, EMAIL, OTHER_PASSWORD)).status_code == 200


async def test_reset_when_the_account_has_a_second_factor(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    app = await give_factor(db, user.id)
    token = await reset_token(client, database, EMAIL)
    bare = await reset(client, token, OTHER_PASSWORD)
    assert (bare.status_code, bare.json()["code"]) == (401, "mfa_required")
    assert bare.json()["methods"] == ["totp", "backup_code"]
    wrong = await reset(client, token, OTHER_PASSWORD, code=another(app.code()))
    assert (wrong.status_code, wrong.json()["code"]) == (401, "mfa_code_invalid")
    assert (await sign_in(client, EMAIL)).json()["status"] == "mfa_required"
    assert (await reset(client, token, OTHER_PASSWORD, code=app.code())).status_code == 200
    assert (await sign_in(client, EMAIL, OTHER_PASSWORD)).json()["status"] == "mfa_required"


async def test_reset_when_the_factor_is_turned_on_meanwhile(
    client: AsyncClient,
    db: SystemSession,
    database: Database,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the new password is hashed: the factor is asked for then, and the token is not used up."""
    made: list[Authenticator] = []

    async def hash_slowly(password: str) -> str:
        if not made:
            made.append(await give_factor(db, user.id))
        return await hash_password(password)

    monkeypatch.setattr("app.services.auth.resetting.hash_password", hash_slowly)
    token = await reset_token(client, database, EMAIL)
    bare = await reset(client, token, OTHER_PASSWORD)
    assert (bare.status_code, bare.json()["code"]) == (401, "mfa_required")
    assert (await reset(client, token, OTHER_PASSWORD, code=made[0].code())).status_code == 200


async def test_reset_when_a_backup_code_is_sent(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    await give_factor(db, user.id, "K7QF-9XWT-3HJM")
    token = await reset_token(client, database, EMAIL)
    assert (await reset(client, token, OTHER_PASSWORD, backup_code="K7QF")).status_code == 422
    both = await reset(client, token, OTHER_PASSWORD, code="123456", backup_code="K7QF-9XWT-3HJM")
    assert both.status_code == 422
    wrong = await reset(client, token, OTHER_PASSWORD, backup_code="K7QF-9XWT-3HJN")
    assert wrong.json()["code"] == "mfa_code_invalid"
    assert (await reset(client, token, OTHER_PASSWORD, backup_code="k7qf9xwt3hjm")).status_code == 200
    token = await reset_token(client, database, EMAIL)
    used = await reset(client, token, PASSWORD, backup_code="K7QF-9XWT-3HJM")
    assert used.json()["code"] == "mfa_code_invalid"


async def test_reset_when_five_codes_are_wrong(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    app = await give_factor(db, user.id)
    token = await reset_token(client, database, EMAIL)
    for _ in range(5):
        wrong = await reset(client, token, OTHER_PASSWORD, code=another(app.code()))
        assert wrong.json()["code"] == "mfa_code_invalid"
    dead = await reset(client, token, OTHER_PASSWORD, code=app.code())
    assert (dead.status_code, dead.json()["code"]) == (410, "token_used")


@pytest.mark.parametrize("code", ["12345", "1234567", "12 456", "１２３４５６", 123456, "abcdef"])
async def test_reset_when_the_code_has_another_form(
    client: AsyncClient, db: SystemSession, database: Database, user: User, code: object
) -> None:
    await give_factor(db, user.id)
    token = await reset_token(client, database, EMAIL)
    assert (await reset(client, token, OTHER_PASSWORD, code=code)).status_code == 422
    assert await db.scalar(select(func.sum(OneTimeToken.attempt_count))) == 0


@pytest.mark.parametrize("status", ["suspended", "pending_erasure"])
async def test_reset_when_the_account_may_not_be_entered(
    client: AsyncClient, db: SystemSession, database: Database, user: User, status: str
) -> None:
    token = await reset_token(client, database, EMAIL)
    user.status = status
    await db.commit()
    assert (await reset(client, token, OTHER_PASSWORD)).json()["code"] == "token_invalid"
    await forgot(client, EMAIL)
    assert await templates(client, database, EMAIL) == ["password_reset"]


async def test_answer_when_the_address_is_known_or_not(
    client: AsyncClient, db: SystemSession, statements, user: User
) -> None:
    await make_user(db, email="open@maison.example", confirmed=False)
    seen = []
    for email in [EMAIL, NOBODY, "open@maison.example", *[EMAIL] * 4]:
        with statements() as made:
            answer = await forgot(client, email)
        seen.append((answer.status_code, answer.text, tuple(made), await db.scalar(JOBS)))
    assert len(set(seen)) == 1
    assert (seen[0][0], len(seen[0][2])) == (202, 1)


async def test_event_when_it_is_kept_tells_nothing(
    client: AsyncClient, db: SystemSession, user: User
) -> None:
    await forgot(client, EMAIL)
    await forgot(client, NOBODY)
    assert await events(db, "auth.password_reset_asked") == [{}, {}]


async def test_limit_when_the_address_had_its_share(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    tokens = [await reset_token(client, database, EMAIL) for _ in range(3)]
    assert (await forgot(client, EMAIL)).json() == SENT
    assert await templates(client, database, EMAIL) == ["password_reset"] * 3
    assert (await reset(client, tokens[-1], OTHER_PASSWORD)).status_code == 200


async def test_token_when_somebody_only_looks(client: AsyncClient, database: Database, user: User) -> None:
    token = await reset_token(client, database, EMAIL)
    for path in ("/api/auth/password/reset", "/api/auth/magic-link/verify"):
        for method in ("GET", "HEAD"):
            answer = await client.request(method, path, params={"token": token})
            assert answer.status_code == 405
    assert (await reset(client, token, OTHER_PASSWORD)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "x"},
        {"email": EMAIL, "redirect_to": "/"},
        {"email": EMAIL + "\n"},
        {"email": ["a@b.example"]},
    ],
)
async def test_forgot_when_the_body_is_wrong(client: AsyncClient, db: SystemSession, body: object) -> None:
    answer = await client.post("/api/auth/password/forgot", json=body)
    assert answer.status_code == 422
    assert await events(db, "auth.password_reset_asked") == []


async def test_repeat_when_the_key_is_the_same(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    token = await reset_token(client, database, EMAIL)
    for replayed in (None, "true"):
        answer = await client.post(
            "/api/auth/password/reset",
            json={"token": token, "new_password": OTHER_PASSWORD},
            headers={"Idempotency-Key": "one"},
        )
        assert (answer.status_code, answer.headers.get("idempotency-replayed")) == (200, replayed)
    assert len(await events(db, "user.password_reset")) == 1


async def test_account_when_it_is_gone_meanwhile(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    await forgot(client, EMAIL)
    user.status = "suspended"
    await db.commit()
    assert await mailed(client, database, EMAIL) == []
    assert await db.scalar(select(func.count()).select_from(OneTimeToken)) == 0
    assert await person(db, EMAIL) is not None
    assert await db.scalar(select(func.count()).select_from(UserSession)) == 0
    assert await db.scalar(select(func.count()).select_from(Password)) == 1


async def test_security_log_when_a_password_was_reset(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    token = await reset_token(client, database, EMAIL)
    assert (await reset(client, token, OTHER_PASSWORD)).status_code == 200
    opened = (await sign_in(client, EMAIL, OTHER_PASSWORD)).json()
    await handle_events(database)
    log = (await client.get("/api/settings/security-log", headers=bearer(opened))).json()["items"]
    found = {entry["action"]: entry["ip_address"] for entry in log}
    assert found["auth.password_reset_requested"] == "127.0.0.1"
    assert found["user.password_reset"] == "127.0.0.1"
