"""Mailed links used at the same moment: one request wins, nothing is doubled, and nobody gets stuck."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from app.core.database import Database, SystemSession
from app.models.auth import OneTimeToken, User, UserSession
from app.models.team import Organization
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.support.accounts import OTHER_PASSWORD, PASSWORD, another, bearer, sign_in
from tests.support.links import (
    give_factor,
    magic_link,
    mail_of,
    reset,
    reset_token,
    token_of,
    verify_link,
)

pytestmark = pytest.mark.commits

EMAIL = "camille@maison.example"
NEW = "new@maison.example"


async def together(requests: Iterable[Awaitable[Response]]) -> list[Response]:
    return list(await asyncio.gather(*requests))


def codes(answers: list[Response]) -> Counter[str]:
    return Counter(str(answer.json().get("code", answer.status_code)) for answer in answers)


async def count(db: SystemSession, model: type) -> int:
    await db.commit()
    return int(await db.scalar(select(func.count()).select_from(model)) or 0)


async def signed_in(db: SystemSession, user: User) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token_of(await make_session(db, user))}"}


async def change_token(client: AsyncClient, database: Database, headers: dict[str, str], old: str) -> str:
    """The token of a change to NEW: both people's mails go there, so it is asked for one by one."""
    answer = await client.post("/api/settings/email", json={"new_email": NEW}, headers=headers)
    assert answer.status_code == 202, old
    return token_of(await mail_of(client, database, NEW, "email_change"))


def confirm(client: AsyncClient, token: str) -> Awaitable[Response]:
    return client.post("/api/settings/email/confirm", json={"token": token})


def undo(client: AsyncClient, token: str) -> Awaitable[Response]:
    return client.post("/api/settings/email/undo", json={"token": token})


def change_password(client: AsyncClient, headers: dict[str, str], new: str) -> Awaitable[Response]:
    body = {"current_password": PASSWORD, "new_password": new}
    return client.post("/api/settings/password", json=body, headers=headers)


async def test_reset_when_twenty_tabs_do_it(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    await make_user(db, email=EMAIL, password=PASSWORD)
    token = await reset_token(client, database, EMAIL)
    passwords = [f"{OTHER_PASSWORD} {number}" for number in range(20)]
    answers = await together(reset(client, token, password) for password in passwords)
    assert codes(answers) == {"200": 1, "token_used": 19}
    winner = [answer.status_code for answer in answers].index(200)
    assert (await sign_in(client, EMAIL, passwords[winner])).status_code == 200


async def test_reset_when_twenty_tabs_send_one_code(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    app = await give_factor(db, user.id)
    token, code = await reset_token(client, database, EMAIL), app.code()
    answers = await together(reset(client, token, OTHER_PASSWORD, code=code) for _ in range(20))
    found = codes(answers)
    assert found["200"] == 1
    assert found["mfa_code_invalid"] + found["token_used"] == 19
    tried = select(OneTimeToken.attempt_count).where(OneTimeToken.purpose == "password_reset")
    await db.commit()
    assert 1 <= int(await db.scalar(tried) or 0) <= 5


@pytest.mark.parametrize("form", ["by_token", "by_code"])
async def test_magic_link_when_twenty_tabs_use_it(
    client: AsyncClient, db: SystemSession, database: Database, form: str
) -> None:
    await make_user(db, email=EMAIL)
    link = await magic_link(client, database, EMAIL)
    answers = await together(verify_link(client, **getattr(link, form)()) for _ in range(20))
    assert codes(answers) == {"200": 1, "token_used" if form == "by_token" else "token_invalid": 19}
    assert await count(db, UserSession) == 1


async def test_magic_link_when_twenty_tabs_make_the_account(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    link = await magic_link(client, database, EMAIL, create_user=True)
    answers = await together(verify_link(client, **link.by_token()) for _ in range(20))
    assert codes(answers) == {"200": 1, "token_used": 19}
    for model in (User, Organization, UserSession):
        assert await count(db, model) == 1


async def test_code_when_it_is_guessed_in_parallel(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    await make_user(db, email=EMAIL)
    link = await magic_link(client, database, EMAIL)
    wrong = {**link.by_code(), "code": another(link.code)}
    answers = await together(verify_link(client, **wrong) for _ in range(12))
    assert codes(answers) == {"token_invalid": 12}
    await db.commit()
    token = (await db.execute(select(OneTimeToken))).scalar_one()
    assert (token.attempt_count, token.voided_at is not None) == (5, True)
    assert (await verify_link(client, **link.by_code())).status_code == 400


async def test_magic_link_when_it_is_used_and_stolen(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    for number in range(3):
        email = f"person-{number}@maison.example"
        await make_user(db, email=email)
        link = await magic_link(client, database, email)
        stolen = {"token": link.token, "code_verifier": "x" * 43}
        used, refused = await together(
            [verify_link(client, **link.by_token()), verify_link(client, **stolen)]
        )
        assert refused.json()["code"] in ("verifier_invalid", "token_used")
        assert used.status_code in (200, 410)
        assert await count(db, UserSession) <= number + 1


async def test_address_when_two_people_want_it(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    first, second = [await make_user(db, email=f"{name}@maison.example") for name in ("first", "second")]
    tokens = [
        await change_token(client, database, await signed_in(db, user), user.email)
        for user in (first, second)
    ]
    answers = await together(confirm(client, token) for token in tokens)
    assert codes(answers) == {"200": 1, "email_taken": 1}
    await db.commit()
    emails = set((await db.execute(select(User.email))).scalars())
    loser = "second" if answers[0].status_code == 200 else "first"
    assert emails == {NEW, f"{loser}@maison.example"}


async def test_address_when_twenty_tabs_confirm_and_undo_it(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    user = await make_user(db, email=EMAIL)
    token = await change_token(client, database, await signed_in(db, user), EMAIL)
    assert codes(await together(confirm(client, token) for _ in range(20))) == {"200": 1, "token_used": 19}
    undoing = token_of(await mail_of(client, database, EMAIL, "email_changed"))
    assert codes(await together(undo(client, undoing) for _ in range(20))) == {"200": 1, "token_used": 19}
    await db.commit()
    assert await db.scalar(select(User.email)) == EMAIL


async def test_password_when_ten_devices_change_it(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    devices = [await signed_in(db, user) for _ in range(10)]
    answers = await together(
        change_password(client, headers, f"{OTHER_PASSWORD} {number}")
        for number, headers in enumerate(devices)
    )
    found = codes(answers)
    assert found["200"] == 1
    refused = {"password_changed_meanwhile", "session_revoked", "current_password_invalid"}
    assert set(found) - {"200"} <= refused
    (winner,) = [number for number, answer in enumerate(answers) if answer.status_code == 200]
    opened: dict[str, Any] = answers[winner].json()["session"]
    assert (await client.get("/api/auth/me", headers=bearer(opened))).status_code == 200
    assert (await sign_in(client, EMAIL, f"{OTHER_PASSWORD} {winner}")).status_code == 200
    live = select(func.count()).where(UserSession.revoked_at.is_(None))
    await db.commit()
    assert await db.scalar(live) == 2


async def test_password_when_it_is_reset_and_changed(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    for number in range(3):
        email = f"person-{number}@maison.example"
        user = await make_user(db, email=email, password=PASSWORD)
        token = await reset_token(client, database, email)
        headers = await signed_in(db, user)
        first, second = await together(
            [reset(client, token, "reset " + PASSWORD), change_password(client, headers, OTHER_PASSWORD)]
        )
        counts = "reset " + PASSWORD if first.status_code == 200 else OTHER_PASSWORD
        assert {first.status_code, second.status_code} <= {200, 401, 403, 409, 410}
        assert 200 in (first.status_code, second.status_code)
        assert (await sign_in(client, email, counts)).status_code == 200


async def test_account_when_everything_happens_at_once(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    """Whatever order the rows are locked in, nobody waits for each other: no answer is a 5xx."""
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    headers = [await signed_in(db, user) for _ in range(4)]
    token = await reset_token(client, database, EMAIL)
    link = await magic_link(client, database, EMAIL)
    change = await change_token(client, database, headers[0], EMAIL)
    answers = await together(
        [
            reset(client, token, "reset " + PASSWORD),
            verify_link(client, **link.by_token()),
            confirm(client, change),
            change_password(client, headers[1], OTHER_PASSWORD),
            client.post("/api/settings/email", json={"new_email": "x@maison.example"}, headers=headers[2]),
            client.delete("/api/settings/email", headers=headers[3]),
            sign_in(client, EMAIL),
        ]
    )
    assert max(answer.status_code for answer in answers) < 500
