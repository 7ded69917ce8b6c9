"""Passwords that are known from leaks, wherever a new one is given."""

import hashlib
from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient, Response

from app.clients import breaches
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.models.auth import User
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.support.accounts import OTHER_PASSWORD, PASSWORD, sign_in, sign_up
from tests.support.links import reset, reset_token
from tests.support.receivers import Receiver, receiving, reply

EMAIL = "camille@maison.example"
LEAKED = "pale river ﬁshing boat"
"""With a ligature: the list is asked for the form that is hashed."""

DIGEST = hashlib.sha1(b"pale river fishing boat", usedforsecurity=False).hexdigest().upper()


@pytest.fixture
async def user(db: SystemSession) -> User:
    return await make_user(db, email=EMAIL, password=PASSWORD)


@pytest.fixture
async def leaks(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    """A list that knows one password, and is asked."""
    known = reply(200, f"{DIGEST[5:]}:9".encode())
    async with receiving({f"/range/{DIGEST[:5]}": known}) as receiver:
        monkeypatch.setattr(breaches, "ADDRESS", receiver.url("/range/", host="127.0.0.1"))
        monkeypatch.setattr(get_settings(), "password_breach_check", "on")
        yield receiver


def is_refused(answer: Response, pointer: str) -> bool:
    faults = [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]
    return (answer.status_code, answer.json()["code"], faults) == (
        422,
        "password_rejected",
        [(pointer, "breached")],
    )


async def test_password_when_it_was_leaked(
    client: AsyncClient, db: SystemSession, database: Database, user: User, leaks: Receiver
) -> None:
    assert is_refused(await sign_up(client, "new@maison.example", LEAKED), "/password")
    token = await reset_token(client, database, EMAIL)
    assert is_refused(await reset(client, token, LEAKED), "/new_password")
    headers = {"Authorization": f"Bearer {access_token_of(await make_session(db, user))}"}
    body = {"current_password": PASSWORD, "new_password": LEAKED}
    changed = await client.post("/api/settings/password", json=body, headers=headers)
    assert is_refused(changed, "/new_password")
    assert len(leaks.requests) == 3
    assert (await sign_in(client, EMAIL)).status_code == 200


async def test_list_when_it_need_not_be_asked(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch, leaks: Receiver
) -> None:
    """Not for a password that is refused anyway, nor at a sign-in, nor without the setting."""
    assert (await sign_up(client, EMAIL, "short")).status_code == 422
    assert (await sign_in(client, EMAIL, LEAKED)).status_code == 401
    monkeypatch.setattr(get_settings(), "password_breach_check", "off")
    assert (await sign_up(client, EMAIL, LEAKED)).status_code == 202
    assert leaks.requests == []


async def test_password_when_the_list_fails(client: AsyncClient, leaks: Receiver) -> None:
    await leaks.end()
    assert (await sign_up(client, EMAIL, OTHER_PASSWORD)).status_code == 202
