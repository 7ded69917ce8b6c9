"""The second factor of a sign-in: the challenge, its tries, its end, and the session behind it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select, update

from app.core import clock
from app.core.crypto import EMAIL_TOKEN_PREFIX, MFA_TOKEN_PREFIX, derive_token, key_ring
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.auth import MfaBackupCode, MfaChallenge, MfaFactor, SignInThrottle, User, UserSession
from app.models.team import Organization
from app.repositories.auth import PeopleRepository
from app.services.auth.throttle import throttle_key
from tests.factories.accounts import make_user
from tests.factories.second_factor import Authenticator, make_backup_codes, make_factor
from tests.support.accounts import (
    DEVICE_KEY,
    OTHER_PASSWORD,
    PASSWORD,
    bearer,
    device,
    events,
    link_token,
    pkce,
    refresh,
    sign_in,
    sign_up,
)

EMAIL = "camille@maison.example"


@pytest.fixture
async def user(db: SystemSession) -> User:
    return await make_user(db, email=EMAIL, password=PASSWORD)


@pytest.fixture
async def app_codes(db: SystemSession, user: User) -> Authenticator:
    return await make_factor(db, user)


async def challenged(client: AsyncClient, **more: Any) -> str:
    """The token of a sign-in whose password was right."""
    answer = await sign_in(client, EMAIL, **more)
    assert answer.status_code == 200
    body = answer.json()
    assert body == {
        "status": "mfa_required",
        "mfa_token": body["mfa_token"],
        "methods": ["totp", "backup_code"],
        "expires_in": 300,
    }
    return str(body["mfa_token"])


async def verify(client: AsyncClient, token: str, **proof: Any) -> Response:
    return await client.post("/api/auth/mfa/verify", json={"mfa_token": token, **proof})


def refused(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def sessions_of(db: SystemSession, user: User) -> Sequence[UserSession]:
    statement = select(UserSession).where(UserSession.user_id == user.id)
    return (await db.execute(statement.execution_options(populate_existing=True))).scalars().all()


async def test_sign_in_when_the_second_factor_is_right(
    client: AsyncClient, db: SystemSession, user: User, app_codes: Authenticator
) -> None:
    token = await challenged(client)
    assert await sessions_of(db, user) == []
    assert await events(db, "auth.signed_in") == []
    answer = await verify(client, token, code=app_codes.code())
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["status"] == "ok"
    assert "backup_codes_remaining" not in body
    (session,) = await sessions_of(db, user)
    assert (session.aal, session.amr, session.auth_method) == (2, ["pwd", "otp", "mfa"], "password")
    assert session.step_up_at is not None
    me = (await client.get("/api/auth/me", headers=bearer(body))).json()
    assert (me["session"]["aal"], me["user"]["mfa_enabled"]) == (2, True)
    (listed,) = (await client.get("/api/settings/sessions", headers=bearer(body))).json()["items"]
    assert (listed["aal"], listed["is_current"]) == (2, True)
    (signed_in,) = await events(db, "auth.signed_in")
    assert (signed_in["aal"], signed_in["method"]) == (2, "password")


async def test_sign_in_when_there_is_only_a_pending_factor(
    client: AsyncClient, db: SystemSession, user: User
) -> None:
    await make_factor(db, user, status="pending")
    answer = await sign_in(client, EMAIL)
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


async def test_sign_in_when_the_password_is_wrong(
    client: AsyncClient, db: SystemSession, app_codes: Authenticator
) -> None:
    assert refused(await sign_in(client, EMAIL, OTHER_PASSWORD)) == (401, "invalid_credentials")
    assert await db.scalar(select(func.count(MfaChallenge.id))) == 0


async def test_confirmation_when_the_account_has_a_second_factor(
    client: AsyncClient, db: SystemSession
) -> None:
    verifier, challenge = pkce()
    await sign_up(client, EMAIL, code_challenge=challenge)
    owner = (await db.execute(select(User).where(User.email == EMAIL))).scalar_one()
    app_codes = await make_factor(db, owner)
    answer = await client.post(
        "/api/auth/confirm", json={"token": await link_token(db, EMAIL), "code_verifier": verifier}
    )
    assert answer.status_code == 200
    session = answer.json()["session"]
    assert session["status"] == "mfa_required"
    opened = await verify(client, session["mfa_token"], code=app_codes.code())
    assert opened.status_code == 200
    (row,) = await sessions_of(db, owner)
    assert (row.auth_method, row.aal, row.amr) == ("magic_link", 2, ["otp", "mfa"])


async def test_session_when_the_first_factor_named_device_and_memory(
    client: AsyncClient, db: SystemSession, user: User, app_codes: Authenticator
) -> None:
    token = await challenged(client, key=DEVICE_KEY, remember=True)
    opened = (await verify(client, token, code=app_codes.code())).json()
    (session,) = await sessions_of(db, user)
    assert session.is_remembered
    assert session.expires_at > clock.now() + timedelta(days=29)
    first = await refresh(client, opened["refresh_token"], key=DEVICE_KEY)
    assert first.status_code == 200
    again = await refresh(client, opened["refresh_token"], key=DEVICE_KEY)
    assert again.json()["refresh_token"] == first.json()["refresh_token"]


async def test_code_when_it_was_used(client: AsyncClient, app_codes: Authenticator) -> None:
    code, older = app_codes.code(), app_codes.code(-1)
    assert (await verify(client, await challenged(client), code=code)).status_code == 200
    for stale in (code, older):
        answer = await verify(client, await challenged(client), code=stale)
        assert refused(answer) == (401, "mfa_code_invalid")
    assert (await verify(client, await challenged(client), code=app_codes.code(1))).status_code == 200


@pytest.mark.parametrize(("steps", "is_right"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
async def test_code_when_the_clocks_differ(
    client: AsyncClient, app_codes: Authenticator, steps: int, *, is_right: bool
) -> None:
    token = await challenged(client)
    code = app_codes.code(steps)
    # A step may end between the two lines above and the request, which moves the window by one.
    answer = await verify(client, token, code=code)
    assert (answer.status_code == 200) is is_right or app_codes.code(steps) != code


async def test_challenge_when_it_was_used(client: AsyncClient, app_codes: Authenticator) -> None:
    token = await challenged(client)
    assert (await verify(client, token, code=app_codes.code())).status_code == 200
    assert refused(await verify(client, token, code=app_codes.code(1))) == (401, "mfa_token_invalid")


async def test_challenge_when_it_has_expired(client: AsyncClient, app_codes: Authenticator) -> None:
    token = await challenged(client)
    with clock.travel(timedelta(seconds=301)):
        answer = await verify(client, token, code=app_codes.code())
    assert refused(answer) == (401, "mfa_token_invalid")


async def test_challenge_when_five_codes_were_wrong(
    client: AsyncClient, db: SystemSession, user: User, app_codes: Authenticator
) -> None:
    token = await challenged(client)
    for _ in range(5):
        answer = await verify(client, token, code=app_codes.wrong_code())
        assert refused(answer) == (401, "mfa_code_invalid")
    assert refused(await verify(client, token, code=app_codes.code())) == (401, "mfa_token_invalid")
    assert len(await events(db, "auth.mfa_failed")) == 5
    (failed, *_) = await events(db, "auth.mfa_failed")
    challenge_id = (await db.execute(select(MfaChallenge.id))).scalar_one()
    assert failed == {"user_id": str(user.id), "challenge_id": str(challenge_id)}
    assert (await verify(client, await challenged(client), code=app_codes.code())).status_code == 200


async def test_account_when_ten_codes_were_wrong(client: AsyncClient, app_codes: Authenticator) -> None:
    for _ in range(2):
        token = await challenged(client)
        for _ in range(5):
            await verify(client, token, code=app_codes.wrong_code())
    token = await challenged(client)
    answer = await verify(client, token, code=app_codes.code())
    assert refused(answer) == (429, "too_many_attempts")
    assert 0 < int(answer.headers["retry-after"]) <= 901
    with clock.travel(timedelta(minutes=16)):
        answer = await verify(client, await challenged(client), code=app_codes.code())
        assert answer.status_code == 200


async def test_account_when_right_codes_are_many(client: AsyncClient, app_codes: Authenticator) -> None:
    for number in range(12):
        with clock.travel(timedelta(minutes=number)):
            answer = await verify(client, await challenged(client), code=app_codes.code())
            assert answer.status_code == 200


async def test_refusal_when_the_account_is_locked_costs_the_challenge_nothing(
    client: AsyncClient, db: SystemSession, app_codes: Authenticator
) -> None:
    for _ in range(2):
        token = await challenged(client)
        for _ in range(5):
            await verify(client, token, code=app_codes.wrong_code())
    token = await challenged(client)
    for _ in range(7):
        assert (await verify(client, token, code=app_codes.code())).status_code == 429
    newest = select(MfaChallenge.attempt_count).order_by(MfaChallenge.created_at.desc()).limit(1)
    assert await db.scalar(newest) == 0


async def test_throttle_when_only_the_password_was_right(
    client: AsyncClient, db: SystemSession, app_codes: Authenticator
) -> None:
    await sign_in(client, EMAIL, OTHER_PASSWORD)
    key = SignInThrottle.key == throttle_key(EMAIL)
    token = await challenged(client)
    assert await db.scalar(select(SignInThrottle.failed_count).where(key)) == 1
    assert (await verify(client, token, code=app_codes.code())).status_code == 200
    assert await db.scalar(select(func.count()).select_from(SignInThrottle).where(key)) == 0


async def test_backup_code_when_it_is_right(
    client: AsyncClient, db: SystemSession, user: User, app_codes: Authenticator
) -> None:
    codes = await make_backup_codes(db, user)
    answer = await verify(client, await challenged(client), backup_code=codes[0])
    assert answer.status_code == 200
    assert answer.json()["backup_codes_remaining"] == 9
    (session,) = await sessions_of(db, user)
    assert session.aal == 2
    assert await events(db, "auth.backup_code_used") == [{"user_id": str(user.id), "remaining": 9}]
    again = await verify(client, await challenged(client), backup_code=codes[0])
    assert refused(again) == (401, "mfa_code_invalid")
    typed = codes[1].replace("-", "").lower().replace("1", "l").replace("0", "o")
    assert (await verify(client, await challenged(client), backup_code=typed)).status_code == 200
    near = codes[2][:-1] + ("0" if codes[2][-1] != "0" else "1")
    assert refused(await verify(client, await challenged(client), backup_code=near)) == (
        401,
        "mfa_code_invalid",
    )


async def test_backup_code_when_it_is_somebody_elses(
    client: AsyncClient, db: SystemSession, user: User, app_codes: Authenticator
) -> None:
    stranger = await make_user(db)
    codes = await make_backup_codes(db, stranger)
    answer = await verify(client, await challenged(client), backup_code=codes[0])
    assert refused(answer) == (401, "mfa_code_invalid")
    unused = select(func.count(MfaBackupCode.id)).where(MfaBackupCode.used_at.is_(None))
    assert await db.scalar(unused) == 10


@pytest.mark.parametrize(
    "proof",
    [
        {},
        {"code": 123456},
        {"code": "12345"},
        {"code": "1234567"},
        {"code": "12345a"},
        {"code": "１２３４５６"},
        {"code": "٠١٢٣٤٥"},
        {"code": " 12345"},
        {"code": "123456\n"},
        {"code": "12 456"},
        {"code": None},
        {"code": ["123456"]},
        {"code": "123456", "backup_code": "K7QF-9XWT-3HJM"},
        {"backup_code": "K7QF-9XWT"},
        {"backup_code": "K7QF 9XWT 3HJM"},
        {"backup_code": "K7QF-9XWT-3HJM\x00"},
        {"code": "123456", "email_code": "123456"},
    ],
)
async def test_body_when_it_is_malformed(
    client: AsyncClient, db: SystemSession, app_codes: Authenticator, proof: dict[str, Any]
) -> None:
    token = await challenged(client)
    assert (await verify(client, token, **proof)).status_code == 422
    assert await db.scalar(select(MfaChallenge.attempt_count)) == 0
    assert await db.scalar(select(func.count()).select_from(SignInThrottle)) == 0


@pytest.mark.parametrize("token", ["x", "luneo_mfa_", "luneo_mfa_é", "luneo_mfa_" + "A" * 64])
async def test_token_when_it_is_forged(
    client: AsyncClient, app_codes: Authenticator, statements: Any, token: str
) -> None:
    with statements() as seen:
        answer = await verify(client, token, code="123456")
    assert refused(answer) == (401, "mfa_token_invalid")
    assert seen == []


async def test_token_when_it_was_made_for_something_else(
    client: AsyncClient, db: SystemSession, app_codes: Authenticator
) -> None:
    await challenged(client)
    identifier = (await db.execute(select(MfaChallenge.id))).scalar_one()
    for prefix, use in ((MFA_TOKEN_PREFIX, "step_up"), (EMAIL_TOKEN_PREFIX, "mfa_challenge")):
        token = derive_token(key_ring(), prefix, use, identifier)
        assert refused(await verify(client, token, code=app_codes.code())) == (401, "mfa_token_invalid")
    unknown = derive_token(key_ring(), MFA_TOKEN_PREFIX, "mfa_challenge", uuid7())
    assert refused(await verify(client, unknown, code=app_codes.code())) == (401, "mfa_token_invalid")


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"status": "suspended"}, (403, "account_suspended")),
        ({"status": "pending_erasure"}, (403, "erasure_pending")),
    ],
)
async def test_account_when_it_was_shut_meanwhile(
    client: AsyncClient, db: SystemSession, user: User, app_codes: Authenticator,
    changes: dict[str, Any], refusal: tuple[int, str],
) -> None:  # fmt: skip
    token = await challenged(client)
    await db.execute(update(User).where(User.id == user.id).values(**changes))
    await db.commit()
    assert refused(await verify(client, token, code=app_codes.code())) == refusal
    assert await sessions_of(db, user) == []


async def test_account_when_its_password_was_changed_meanwhile(
    client: AsyncClient, db: SystemSession, user: User, app_codes: Authenticator
) -> None:
    token = await challenged(client)
    await PeopleRepository(db).set_password(user.id, "$argon2id$new", clock.now())
    await db.commit()
    assert refused(await verify(client, token, code=app_codes.code())) == (401, "invalid_credentials")
    assert await sessions_of(db, user) == []


async def test_account_when_its_factor_is_gone_meanwhile(
    client: AsyncClient, db: SystemSession, user: User, app_codes: Authenticator
) -> None:
    token = await challenged(client)
    await db.execute(update(MfaFactor).values(status="pending"))
    await db.commit()
    assert refused(await verify(client, token, code=app_codes.code())) == (401, "mfa_code_invalid")


async def test_organization_when_it_demands_a_second_factor(
    client: AsyncClient, db: SystemSession, user: User, app_codes: Authenticator
) -> None:
    organization_id = user.last_organization_id
    demands = update(Organization).where(Organization.id == organization_id).values(require_mfa=True)
    await db.execute(demands)
    await db.commit()
    opened = (await verify(client, await challenged(client), code=app_codes.code())).json()
    assert opened["organization"]["id"] == str(organization_id)
    assert (await client.get("/api/products", headers=bearer(opened))).status_code == 200


async def test_replay_when_a_verification_is_repeated(
    client: AsyncClient, db: SystemSession, app_codes: Authenticator
) -> None:
    headers = {"Idempotency-Key": "first"}
    body = {"email": EMAIL, "password": PASSWORD}
    token = (await client.post("/api/auth/login", json=body, headers=headers)).json()["mfa_token"]
    replayed = (await client.post("/api/auth/login", json=body, headers=headers)).json()
    assert replayed["mfa_token"] is None
    body = {"mfa_token": token, "code": app_codes.code()}
    first = await client.post("/api/auth/mfa/verify", json=body, headers=headers | device())
    assert first.status_code == 200
    second = await client.post("/api/auth/mfa/verify", json=body, headers=headers | device())
    assert second.headers["idempotency-replayed"] == "true"
    answer = second.json()
    assert (answer["access_token"], answer["refresh_token"]) == (None, None)
    assert answer["session_id"] == first.json()["session_id"]
    assert await db.scalar(select(func.count(UserSession.id))) == 1
