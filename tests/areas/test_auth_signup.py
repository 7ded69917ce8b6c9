"""Sign-up: one answer for every address, and an account only where there was none."""

import json
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select

from app.core.config import get_settings
from app.core.database import SystemSession
from app.models.auth import OneTimeToken, Password, User
from app.models.settings import Profile
from app.models.team import Organization, TeamMember
from tests.factories.accounts import make_user
from tests.support.accounts import (
    OTHER_PASSWORD,
    PASSWORD,
    counted_hashes,
    events,
    link_token,
    open_token,
    person,
    pkce,
    privates,
    sign_in,
    sign_up,
)

EMAIL = "Camille@Maison.example"
SENT = {"status": "confirmation_sent"}


async def test_signup_when_the_address_is_new(client: AsyncClient, db: SystemSession) -> None:
    answer = await sign_up(client, EMAIL, full_name="Camille Martin", company="Maison Martin", locale="en")
    assert answer.status_code == 202
    assert answer.json() == SENT
    assert answer.headers["cache-control"] == "no-store"
    user = await person(db, EMAIL)
    assert user is not None
    assert (user.email, user.email_canonical) == ("Camille@Maison.example", "camille@maison.example")
    assert (user.email_confirmed_at, user.status) == (None, "active")
    profile = await db.get_one(Profile, user.id)
    assert (profile.full_name, profile.company, profile.locale) == ("Camille Martin", "Maison Martin", "en")
    member = (await db.execute(select(TeamMember).where(TeamMember.user_id == user.id))).scalar_one()
    assert (member.role, member.status, member.source) == ("owner", "active", "signup")
    organization = await db.get_one(Organization, member.organization_id)
    assert (organization.kind, organization.name) == ("personal", "Maison Martin")
    assert organization.slug.startswith("maison-martin-")
    assert organization.id != user.id
    assert await events(db, "auth.signed_up") == [{"user_id": str(user.id), "method": "password"}]
    assert await events(db, "auth.confirmation_requested") == [{"user_id": str(user.id)}]
    token = await open_token(db, user)
    assert await privates(db, "auth.confirmation_requested") == [{"token_id": str(token.id)}]


async def test_signup_when_only_address_and_password_are_given(
    client: AsyncClient, db: SystemSession
) -> None:
    assert (await sign_up(client, EMAIL)).status_code == 202
    user = await person(db, EMAIL)
    assert user is not None
    profile = await db.get_one(Profile, user.id)
    assert (profile.full_name, profile.locale) == (None, "fr")
    organization = (
        await db.execute(select(Organization).where(Organization.created_by == user.id))
    ).scalar_one()
    assert organization.name == "Espace personnel"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("  Zoé  ", "Zoé"),
        ("Zoe\u0301", "Zoé"),
        ("", None),
        ("   ", None),
        ("\u00a0\u3000", None),
        ("<script>", "<script>"),
        ("x" * 120, "x" * 120),
    ],
)
async def test_names_when_they_are_not_tidy(
    client: AsyncClient, db: SystemSession, sent: str, kept: str | None
) -> None:
    assert (await sign_up(client, EMAIL, full_name=sent, company=sent)).status_code == 202
    profile = (await db.execute(select(Profile))).scalar_one()
    assert (profile.full_name, profile.company) == (kept, kept)
    organization = (await db.execute(select(Organization))).scalar_one()
    assert organization.name == (kept or "Espace personnel")


async def test_signup_when_the_account_is_confirmed(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL, full_name="Camille", password=PASSWORD)
    answer = await sign_up(client, EMAIL.upper(), OTHER_PASSWORD, full_name="Somebody Else")
    assert (answer.status_code, answer.json()) == (202, SENT)
    assert await events(db, "auth.signup_repeated") == [{"user_id": str(user.id)}]
    assert await events(db, "auth.confirmation_requested") == []
    assert (await db.get_one(Profile, user.id, populate_existing=True)).full_name == "Camille"
    assert (await sign_in(client, EMAIL)).status_code == 200
    assert (await sign_in(client, EMAIL, OTHER_PASSWORD)).status_code == 401


async def test_notice_when_sign_ups_repeat_within_a_quarter_of_an_hour(
    client: AsyncClient, db: SystemSession
) -> None:
    await make_user(db, email=EMAIL)
    await sign_up(client, EMAIL)
    await sign_up(client, EMAIL)
    repeated = await privates(db, "auth.signup_repeated")
    assert [private["is_mailed"] for private in repeated] == [True, False]


async def test_signup_when_the_account_is_not_confirmed(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL, full_name="First", locale="en")
    older = await link_token(db, EMAIL)
    answer = await sign_up(client, EMAIL, OTHER_PASSWORD, full_name="Second", locale="fr")
    assert (answer.status_code, answer.json()) == (202, SENT)
    assert await db.scalar(select(func.count()).select_from(User)) == 1
    assert (await client.post("/api/auth/confirm", json={"token": older})).json()["code"] == "token_used"
    newer = await link_token(db, EMAIL)
    assert (await client.post("/api/auth/confirm", json={"token": newer})).status_code == 200
    assert (await sign_in(client, EMAIL, PASSWORD)).status_code == 401
    opened = (await sign_in(client, EMAIL, OTHER_PASSWORD)).json()
    assert opened["user"]["full_name"] == "Second"


async def test_signup_when_an_unconfirmed_account_is_suspended(
    client: AsyncClient, db: SystemSession
) -> None:
    user = await make_user(db, email=EMAIL, confirmed=False, password=PASSWORD)
    user.status = "suspended"
    await db.commit()
    assert (await sign_up(client, EMAIL, OTHER_PASSWORD)).status_code == 202
    assert len(await events(db, "auth.signup_repeated")) == 1
    assert (await sign_in(client, EMAIL)).json()["code"] == "account_suspended"


async def test_signup_when_the_address_had_its_share_of_mails(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL)
    answers = [await sign_up(client, EMAIL, OTHER_PASSWORD) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202] * 4
    assert len(await events(db, "auth.confirmation_requested")) == 1 + 3
    changed = await db.scalar(select(func.count()).select_from(OneTimeToken))
    assert changed == 4


async def test_limit_headers_when_the_address_is_known_or_not(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL)
    known = await sign_up(client, EMAIL)
    unknown = await sign_up(client, "nobody@maison.example")
    assert known.headers["ratelimit-policy"] == unknown.headers["ratelimit-policy"]


async def test_work_when_the_address_is_known_or_not(
    client: AsyncClient, db: SystemSession, monkeypatch: pytest.MonkeyPatch, statements
) -> None:
    await make_user(db, email=EMAIL)
    await make_user(db, email="open@maison.example", confirmed=False)
    work = []
    for email in (EMAIL, "open@maison.example", "nobody@maison.example"):
        with counted_hashes(monkeypatch) as hashes, statements() as seen:
            assert (await sign_up(client, email)).json() == SENT
        assert hashes == ["hash"]
        work.append(seen)
    assert set(work[0]) == set(work[1]) == set(work[2])
    assert max(map(len, work)) - min(map(len, work)) <= 2


async def test_work_when_the_address_had_its_share_of_mails(
    client: AsyncClient, db: SystemSession, statements
) -> None:
    await make_user(db, email=EMAIL)
    await make_user(db, email="open@maison.example", confirmed=False)
    for email in (EMAIL, "open@maison.example"):
        work = []
        for _ in range(5):
            with statements() as seen:
                await sign_up(client, email)
            work.append(seen)
        assert set(work[0]) == set(work[4])
        assert abs(len(work[0]) - len(work[4])) <= 2


async def test_taken_account_when_its_sign_up_was_rehearsed(client: AsyncClient, db: SystemSession) -> None:
    await make_user(db, email=EMAIL)
    await sign_up(client, EMAIL)
    counts = [
        await db.scalar(select(func.count()).select_from(model))
        for model in (User, Profile, Organization, TeamMember, Password, OneTimeToken)
    ]
    assert counts == [1, 1, 1, 1, 0, 0]
    assert await events(db, "auth.confirmation_requested") == []


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("shorter", "too_short"),
        ("x" * 129, "too_long"),
        ("password1", "common"),
        ("my luneo account", "context"),
        ("camille rides", "context"),
        ("Jean Valjean 24601", "context"),
    ],
)
async def test_signup_when_the_password_is_weak(client: AsyncClient, password: str, code: str) -> None:
    answer = await sign_up(client, EMAIL, password, full_name="Jean Valjean")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "password_rejected")
    assert code in [item["code"] for item in problem["errors"]]
    assert {item["pointer"] for item in problem["errors"]} == {"/password"}
    assert password not in answer.text


async def test_hash_when_the_password_is_rejected(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted_hashes(monkeypatch) as seen:
        await sign_up(client, EMAIL, "x" * 1024)
    assert seen == []


async def test_signup_when_sign_ups_are_closed(
    client: AsyncClient, db: SystemSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "signups", "closed")
    answer = await sign_up(client, EMAIL)
    assert (answer.status_code, answer.json()["code"]) == (403, "signup_closed")
    assert await person(db, EMAIL) is None
    assert (await client.get("/api/auth/providers")).json()["signup"] is False


@pytest.mark.parametrize(
    "more",
    [
        {"role": "admin"},
        {"organization_id": "0198c0de-0000-7000-8000-000000000001"},
        {"status": "active"},
        {"invitation_token": ""},
        {"consents": [{"purpose": "selling", "policy_version": "2026-01-15", "is_granted": True}]},
        {"consents": [{"purpose": "terms", "policy_version": "2026-01-15", "is_granted": "yes"}]},
        {"consents": [{"purpose": "terms", "policy_version": "2020-01-01", "is_granted": True}]},
        {"consents": [{"purpose": "terms", "policy_version": "2026-01-15", "is_granted": True}] * 2},
        {"locale": "de"},
        {"full_name": "x" * 121},
        {"full_name": "two\nlines"},
        {"full_name": "tab\tbed"},
        {"full_name": " \n"},
        {"full_name": "\u202eturned"},
        {"full_name": "bell\x07"},
        {"full_name": "two\u2028lines"},
        {"full_name": "\u0958" * 120},
        {"company": "\x1b[31mred"},
        {"company": 7},
        {"code_challenge": "short"},
        {"code_challenge": "é" * 43},
    ],
)
async def test_signup_when_a_field_is_not_its_own(client: AsyncClient, more: dict[str, Any]) -> None:
    answer = await sign_up(client, EMAIL, **more)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(f"/{next(iter(more))}")


@pytest.mark.parametrize(
    "email",
    ["", "nobody", " a@b.example", "a@b.example\n", "a@b.example\r", "a\x00@b.example", "a@b",
     f"{'a' * 65}@b.io", f"a@{'b' * 250}.io", 7, None, ["a@b.io"], "\ud800@b.io"],
)  # fmt: skip
async def test_signup_when_the_address_is_none(client: AsyncClient, email: object) -> None:
    body = json.dumps({"email": email, "password": PASSWORD})
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/api/auth/signup", content=body, headers=headers)
    assert answer.status_code == 422


async def test_address_when_its_domain_is_international(client: AsyncClient, db: SystemSession) -> None:
    assert (await sign_up(client, "zoe@Élysée.example")).status_code == 202
    assert await person(db, "zoe@xn--lyse-9oad.example") is not None


async def test_hash_when_it_is_stored(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL)
    stored = (await db.execute(select(Password.hash))).scalar_one()
    assert stored.startswith("$argon2id$")
    assert PASSWORD not in stored


async def test_challenge_when_the_browser_sent_one(client: AsyncClient, db: SystemSession) -> None:
    _, challenge = pkce()
    await sign_up(client, EMAIL, code_challenge=challenge)
    user = await person(db, EMAIL)
    assert user is not None
    assert (await open_token(db, user)).code_challenge == challenge
