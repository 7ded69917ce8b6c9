"""The sign-in by mail: from the browser that asked, once, by link or by code."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, text

from app.core import clock
from app.core.config import get_settings
from app.core.crypto import EMAIL_TOKEN_PREFIX, derive_token, key_ring
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.models.auth import OneTimeToken, SignInThrottle, User, UserSession
from app.models.team import TeamMember
from app.services.auth.throttle import throttle_key
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.support.accounts import (
    DEVICE_KEY,
    PASSWORD,
    another,
    bearer,
    device,
    events,
    link_token,
    person,
    pkce,
    privates,
    sign_in,
    sign_up,
)
from tests.support.links import (
    ask_link,
    give_factor,
    magic_link,
    mail_of,
    mailed,
    templates,
    verify_link,
)

EMAIL = "camille@maison.example"
NOBODY = "nobody@maison.example"
JOBS = text("SELECT count(*) FROM procrastinate_jobs")
VERIFIER, CHALLENGE = pkce()


@pytest.fixture
async def user(db: SystemSession) -> User:
    return await make_user(db, email=EMAIL, full_name="Camille", password=PASSWORD)


async def count(db: SystemSession, model: type) -> int:
    return int(await db.scalar(select(func.count()).select_from(model)) or 0)


@pytest.mark.parametrize("form", ["by_token", "by_code"])
async def test_sign_in_when_the_browser_is_the_same(
    client: AsyncClient, db: SystemSession, database: Database, user: User, form: str
) -> None:
    link = await magic_link(client, database, EMAIL)
    answer = await client.post("/api/auth/magic-link/verify", json=getattr(link, form)(), headers=device())
    session = answer.json()
    assert (answer.status_code, session["status"]) == (200, "ok")
    assert answer.headers["cache-control"] == "no-store"
    me = (await client.get("/api/auth/me", headers=bearer(session))).json()
    assert (me["session"]["auth_method"], me["session"]["aal"], me["user"]["email"]) == (
        "magic_link",
        1,
        EMAIL,
    )
    for again in (link.by_token(), link.by_code()):
        repeated = await verify_link(client, **again)
        wanted = (410, "token_used") if "token" in again else (400, "token_invalid")
        assert (repeated.status_code, repeated.json()["code"]) == wanted
    assert await count(db, UserSession) == 1
    assert [event["method"] for event in await events(db, "auth.signed_in")] == ["magic_link"]
    assert (await sign_in(client, EMAIL)).status_code == 200


async def test_mail_when_a_link_is_asked_for(client: AsyncClient, database: Database, user: User) -> None:
    link = await magic_link(client, database, EMAIL.upper(), redirect_to="/orders?status=paid")
    address = urlsplit(link.mail["links"][0])
    assert (address.scheme, address.netloc, address.path) == ("http", "app.luneo.test", "/magic-link")
    assert parse_qs(address.query) == {"redirect_to": ["http://app.luneo.test/orders?status=paid"]}
    assert address.fragment == f"token={link.token}"
    assert len(link.code) == 6
    assert link.code in link.mail["html"]


@pytest.mark.parametrize("remember", [True, False])
async def test_session_when_it_is_to_be_remembered(
    client: AsyncClient, db: SystemSession, database: Database, user: User, remember: bool
) -> None:
    link = await magic_link(client, database, EMAIL, remember=remember)
    assert (await verify_link(client, **link.by_token())).status_code == 200
    session = (await db.execute(select(UserSession))).scalar_one()
    assert session.is_remembered is remember


@pytest.mark.parametrize("form", ["by_token", "by_code"])
async def test_link_when_the_verifier_is_wrong(
    client: AsyncClient, db: SystemSession, database: Database, user: User, form: str
) -> None:
    link = await magic_link(client, database, EMAIL)
    stolen = await verify_link(client, **{**getattr(link, form)(), "code_verifier": VERIFIER})
    wanted = (401, "verifier_invalid") if form == "by_token" else (400, "token_invalid")
    assert (stolen.status_code, stolen.json()["code"]) == wanted
    late = await verify_link(client, **link.by_token())
    assert (late.status_code, late.json()["code"]) == (410, "token_used")
    assert (await verify_link(client, **link.by_code())).json()["code"] == "token_invalid"
    assert await count(db, UserSession) == 0


async def test_link_when_a_dead_one_meets_a_wrong_verifier(
    client: AsyncClient, database: Database, user: User
) -> None:
    link = await magic_link(client, database, EMAIL)
    await verify_link(client, **link.by_token())
    answer = await verify_link(client, token=link.token, code_verifier=VERIFIER)
    assert (answer.status_code, answer.json()["code"]) == (410, "token_used")


async def test_link_when_it_is_too_old(client: AsyncClient, database: Database, user: User) -> None:
    link = await magic_link(client, database, EMAIL)
    with clock.travel(timedelta(minutes=10, seconds=1)):
        late = await verify_link(client, **link.by_token())
        assert (late.status_code, late.json()["code"]) == (410, "token_expired")
        assert (await verify_link(client, **link.by_code())).json()["code"] == "token_invalid"


async def test_link_when_a_newer_one_was_asked_for(
    client: AsyncClient, database: Database, user: User
) -> None:
    older = await magic_link(client, database, EMAIL)
    newer = await magic_link(client, database, EMAIL)
    assert (await verify_link(client, **older.by_token())).json()["code"] == "token_used"
    assert (await verify_link(client, **newer.by_token())).status_code == 200


@pytest.mark.parametrize("use", ["magic_link", "password_reset"])
async def test_link_when_it_is_forged(client: AsyncClient, use: str) -> None:
    for token in (derive_token(key_ring(), EMAIL_TOKEN_PREFIX, use, uuid7()), "luneo_ot_" + "A" * 64, "x"):
        answer = await verify_link(client, token=token, code_verifier=VERIFIER)
        assert (answer.status_code, answer.json()["code"]) == (400, "token_invalid")


async def test_code_when_it_is_guessed(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    link = await magic_link(client, database, EMAIL)
    wrong = {**link.by_code(), "code": another(link.code)}
    answers = [await verify_link(client, **wrong) for _ in range(5)]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(400, "token_invalid")}
    assert (await verify_link(client, **link.by_code())).status_code == 400
    assert (await verify_link(client, **link.by_token())).json()["code"] == "token_used"


async def test_code_when_the_fifth_try_is_right(client: AsyncClient, database: Database, user: User) -> None:
    link = await magic_link(client, database, EMAIL)
    for _ in range(4):
        await verify_link(client, **{**link.by_code(), "code": another(link.code)})
    assert (await verify_link(client, **link.by_code())).status_code == 200


async def test_code_when_the_request_is_somebody_elses(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    link = await magic_link(client, database, EMAIL)
    nobodys = (await ask_link(client, NOBODY, CHALLENGE)).json()["request_id"]
    for request_id in (nobodys, str(uuid7())):
        answer = await verify_link(client, **{**link.by_code(), "request_id": request_id})
        assert (answer.status_code, answer.json()["code"]) == (400, "token_invalid")


async def test_second_factor_when_the_account_has_one(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    app = await give_factor(db, user.id)
    db.add(SignInThrottle(key=throttle_key(EMAIL), failed_count=100, last_failed_at=clock.now()))
    await db.commit()
    link = await magic_link(client, database, EMAIL)
    first = await verify_link(client, **link.by_token())
    assert (first.status_code, first.json()["status"]) == (200, "mfa_required")
    assert await count(db, UserSession) == 0
    assert await count(db, SignInThrottle) == 1
    second = await client.post(
        "/api/auth/mfa/verify", json={"mfa_token": first.json()["mfa_token"], "code": app.code()}
    )
    assert second.status_code == 200
    me = (await client.get("/api/auth/me", headers=bearer(second.json()))).json()
    assert (me["session"]["auth_method"], me["session"]["aal"]) == ("magic_link", 2)
    assert await db.scalar(select(func.count()).where(SignInThrottle.key == throttle_key(EMAIL))) == 0
    assert (await verify_link(client, **link.by_token())).status_code == 410


async def test_lock_when_a_link_is_used(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    db.add(SignInThrottle(key=throttle_key(EMAIL), failed_count=100, last_failed_at=clock.now()))
    await db.commit()
    assert (await sign_in(client, EMAIL)).status_code == 429
    link = await magic_link(client, database, EMAIL)
    assert (await verify_link(client, **link.by_token())).status_code == 200
    assert (await sign_in(client, EMAIL)).status_code == 200


async def test_account_when_it_was_never_confirmed(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    """Whoever came first with somebody else's address keeps no way in."""
    await sign_up(client, EMAIL)
    confirmation = await link_token(db, EMAIL)
    stranger = await person(db, EMAIL)
    assert stranger is not None
    home = (await db.execute(select(TeamMember.organization_id))).scalar_one()
    early = await make_session(db, stranger, organization_id=home)
    link = await magic_link(client, database, EMAIL)
    assert (await verify_link(client, **link.by_token())).status_code == 200
    user = await person(db, EMAIL)
    assert user is not None
    assert user.email_confirmed_at is not None
    assert (await sign_in(client, EMAIL)).json()["code"] == "invalid_credentials"
    assert (await client.post("/api/auth/confirm", json={"token": confirmation})).status_code == 410
    headers = {"Authorization": f"Bearer {access_token_of(early)}"}
    assert (await client.get("/api/auth/me", headers=headers)).status_code == 401
    assert "welcome" in await templates(client, database, EMAIL)


async def test_account_when_nobody_has_the_address(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    link = await magic_link(client, database, NOBODY, create_user=True)
    assert await person(db, NOBODY) is None
    answer = await verify_link(client, **link.by_token())
    session = answer.json()
    assert (answer.status_code, session["user"]["email"]) == (200, NOBODY)
    assert (session["organization"]["role"], session["organization"]["name"]) == ("owner", "Espace personnel")
    user = await person(db, NOBODY)
    assert user is not None
    assert user.email_confirmed_at is not None
    assert await events(db, "auth.signed_up") == [{"user_id": str(user.id), "method": "magic_link"}]
    assert await count(db, TeamMember) == 1
    assert (await verify_link(client, **link.by_token())).json()["code"] == "token_used"
    assert await templates(client, database, NOBODY) == ["magic_link", "welcome"]


async def test_account_when_somebody_signs_up_meanwhile(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    link = await magic_link(client, database, NOBODY, create_user=True)
    await sign_up(client, NOBODY)
    answer = await verify_link(client, **link.by_code())
    assert answer.json()["user"]["email"] == NOBODY
    assert await count(db, User) == 1
    assert (await sign_in(client, NOBODY)).status_code == 401


@pytest.mark.parametrize("signups", ["closed", "invited"])
async def test_account_when_sign_ups_are_not_open(
    client: AsyncClient, db: SystemSession, database: Database, monkeypatch, signups: str
) -> None:
    link = await magic_link(client, database, NOBODY, create_user=True)
    monkeypatch.setattr(get_settings(), "signups", signups)
    answer = await verify_link(client, **link.by_token())
    assert (answer.status_code, answer.json()["code"]) == (403, "signup_closed")
    await ask_link(client, "other@maison.example", CHALLENGE, create_user=True)
    assert await mailed(client, database, "other@maison.example") == []
    assert await count(db, User) == 0


async def test_account_when_it_was_not_asked_for(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    assert (await ask_link(client, NOBODY, CHALLENGE)).status_code == 202
    assert await mailed(client, database, NOBODY) == []
    assert await count(db, OneTimeToken) == 0


async def test_account_when_it_was_suspended_meanwhile(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    link = await magic_link(client, database, EMAIL)
    user.status = "suspended"
    await db.commit()
    answer = await verify_link(client, **link.by_token())
    assert (answer.status_code, answer.json()["code"]) == (403, "account_suspended")
    assert (await verify_link(client, **link.by_token())).json()["code"] == "token_used"
    assert [event["reason"] for event in await events(db, "auth.sign_in_failed")] == ["account_suspended"]
    await ask_link(client, EMAIL, CHALLENGE)
    assert len(await mailed(client, database, EMAIL)) == 1


async def test_answer_when_the_address_is_known_or_not(
    client: AsyncClient, db: SystemSession, statements, user: User
) -> None:
    await make_user(db, email="open@maison.example", confirmed=False)
    seen, ids = [], set()
    for email, more in [
        (EMAIL, {}),
        (NOBODY, {}),
        (NOBODY, {"create_user": True}),
        ("open@maison.example", {}),
        *[(EMAIL, {})] * 4,
    ]:
        with statements() as made:
            answer = await ask_link(client, email, CHALLENGE, **more)
        ids.add(answer.json().pop("request_id"))
        seen.append((answer.status_code, len(answer.text), tuple(made), await db.scalar(JOBS)))
    assert len(set(seen)) == 1
    assert (seen[0][0], len(seen[0][2]), len(ids)) == (202, 1, 8)
    assert await events(db, "auth.magic_link_asked") == [{}] * 8


async def test_limit_when_the_address_had_its_share(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    links = [await magic_link(client, database, EMAIL) for _ in range(3)]
    assert (await ask_link(client, EMAIL, CHALLENGE)).status_code == 202
    assert [private["is_allowed"] for private in await privates(db, "auth.magic_link_asked")] == [False]
    assert len(await mailed(client, database, EMAIL)) == 3
    assert (await verify_link(client, **links[-1].by_token())).status_code == 200


GOOD: dict[str, Any] = {"email": EMAIL, "code_challenge": CHALLENGE, "code_challenge_method": "S256"}


@pytest.mark.parametrize(
    "more",
    [
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"code_challenge": "short"},
        {"code_challenge": CHALLENGE + "="},
        {"code_challenge": None},
        {"create_user": "yes"},
        {"remember": 1},
        {"email": "camille"},
        {"unknown": 1},
        {"redirect_to": 5},
    ],
)
async def test_body_when_it_is_wrong(client: AsyncClient, db: SystemSession, more: dict[str, Any]) -> None:
    assert (await client.post("/api/auth/magic-link", json={**GOOD, **more})).status_code == 422
    assert await events(db, "auth.magic_link_asked") == []


@pytest.mark.parametrize("name", ["code_challenge", "code_challenge_method", "email"])
async def test_body_when_something_is_missing(client: AsyncClient, name: str) -> None:
    body = {key: value for key, value in GOOD.items() if key != name}
    assert (await client.post("/api/auth/magic-link", json=body)).status_code == 422


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/", "/a\\b", "javascript:x", ""])
async def test_redirect_when_it_leads_elsewhere(client: AsyncClient, target: str) -> None:
    answer = await ask_link(client, EMAIL, CHALLENGE, redirect_to=target)
    assert (answer.status_code, answer.json()["code"]) == (422, "redirect_not_allowed")
    assert answer.json()["errors"][0]["pointer"] == "/redirect_to"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"token": "x"},
        {"token": "x", "code": "123456", "code_verifier": VERIFIER},
        {"request_id": str(uuid7()), "code_verifier": VERIFIER},
        {"code": "123456", "code_verifier": VERIFIER},
        {"request_id": str(uuid7()), "code": "12345", "code_verifier": VERIFIER},
        {"request_id": str(uuid7()), "code": 123456, "code_verifier": VERIFIER},
        {"request_id": "x", "code": "123456", "code_verifier": VERIFIER},
        {"token": "x", "code_verifier": "short"},
    ],
)
async def test_verification_when_the_body_is_wrong(client: AsyncClient, body: dict[str, Any]) -> None:
    assert (await verify_link(client, **body)).status_code == 422


async def test_replay_when_the_key_is_the_same(
    client: AsyncClient, db: SystemSession, database: Database, user: User
) -> None:
    link = await magic_link(client, database, EMAIL)
    headers = {"Idempotency-Key": "one", **device(DEVICE_KEY)}
    first, again = [
        await client.post("/api/auth/magic-link/verify", json=link.by_token(), headers=headers)
        for _ in range(2)
    ]
    assert first.json()["access_token"].startswith("eyJ")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert (again.json()["access_token"], again.json()["refresh_token"]) == (None, None)


async def test_mail_when_the_link_was_used_before_it_was_written(
    client: AsyncClient, database: Database, user: User
) -> None:
    await ask_link(client, EMAIL, CHALLENGE)
    await ask_link(client, EMAIL, CHALLENGE)
    assert len(await mailed(client, database, EMAIL)) == 1
    assert (await mail_of(client, database, EMAIL, "magic_link"))["locale"] == "fr"


async def test_sandbox_when_a_link_was_mailed(client: AsyncClient, database: Database, user: User) -> None:
    link = await magic_link(client, database, EMAIL, redirect_to="/orders")
    page = await client.get("/sandbox/mail", params={"to": EMAIL})
    assert page.status_code == 200
    assert link.token in page.text
    assert link.code in page.text
