"""What mailed links leave behind, and what nobody gets round: no token at rest, no limit escaped."""

import re

import pytest
from httpx import AsyncClient
from sqlalchemy import text

from app.core.config import get_settings
from app.core.database import Database, SystemSession
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.support.accounts import PASSWORD, bearer, pkce, sign_up
from tests.support.links import (
    ask_link,
    forgot,
    magic_link,
    mail_of,
    mailed,
    reset,
    reset_token,
    token_of,
    verify_link,
)

EMAIL = "camille@maison.example"
NEW = "camille.martin@maison.example"
TABLES = text(
    "SELECT quote_ident(table_name) FROM information_schema.tables"
    " WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'mail_outbox'"
)
"""Every table but the outbox of the sandbox, which is a mailbox and does not exist in production."""


async def dump(db: SystemSession) -> str:
    """Every row of every table as text."""
    parts: list[str] = []
    for table in (await db.execute(TABLES)).scalars().all():
        rows = await db.execute(text(f"SELECT row_to_json(t)::text FROM {table} AS t"))  # noqa: S608
        parts += rows.scalars().all()
    return "\n".join(parts)


async def test_rows_when_links_were_mailed_hold_no_token_or_code(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    headers = {"Authorization": f"Bearer {access_token_of(await make_session(db, user))}"}
    await sign_up(client, "open@maison.example")
    asked = await client.post("/api/settings/email", json={"new_email": NEW}, headers=headers)
    assert asked.status_code == 202
    await magic_link(client, database, "new@maison.example", create_user=True)
    link = await magic_link(client, database, EMAIL)
    tokens = [link.token, await reset_token(client, database, EMAIL)]
    tokens.append(token_of(await mail_of(client, database, NEW, "email_change")))
    before = await dump(db)
    opened = (await verify_link(client, **link.by_token())).json()
    confirmed = await client.post("/api/settings/email/confirm", json={"token": tokens[-1]})
    assert confirmed.status_code == 200
    tokens.append(token_of(await mail_of(client, database, EMAIL, "email_changed")))
    tokens += [opened["access_token"], opened["refresh_token"], bearer(opened)["Authorization"]]
    mails = [*await mailed(client, database, EMAIL), *await mailed(client, database, "open@maison.example")]
    code_words = {mail["code"] for mail in mails if mail["code"]}
    assert len(code_words) == 2
    rows = before + await dump(db)
    assert len(rows) > 10_000
    assert EMAIL in rows
    assert "luneo_ot_" not in rows
    for token in tokens:
        bare = token.rpartition("luneo_ot_")[2]
        assert bare not in rows
        assert bare.encode().hex() not in rows
    for code in code_words:
        # Digits inside of ids, hashes and fractions of a second are no codes.
        assert not re.search(rf"(?<![0-9a-f.]){code}(?![0-9a-f])", rows)


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits by address as in production."""
    monkeypatch.setattr(get_settings(), "limit_factor", 1)


def from_address(number: int) -> dict[str, str]:
    return {"X-Forwarded-For": f"203.0.113.{number}"}


async def test_mail_limit_when_the_forwarded_address_rotates(
    client: AsyncClient, database: Database, strict: None
) -> None:
    _, challenge = pkce()
    for number in range(20):
        email = f"{number}@maison.example"
        if number % 2:
            assert (await forgot(client, email, **from_address(number))).status_code == 202
        else:
            body = {"email": email, "code_challenge": challenge, "code_challenge_method": "S256"}
            answer = await client.post("/api/auth/magic-link", json=body, headers=from_address(number))
            assert answer.status_code == 202
    answer = await forgot(client, EMAIL, **from_address(99))
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) > 0
    assert (await ask_link(client, EMAIL, challenge)).status_code == 429


async def test_sign_in_limit_when_the_forwarded_address_rotates(client: AsyncClient, strict: None) -> None:
    verifier, _ = pkce()
    for number in range(50):
        if number % 2:
            answer = await client.post(
                "/api/auth/magic-link/verify",
                json={"token": "x", "code_verifier": verifier},
                headers=from_address(number),
            )
        else:
            answer = await client.post(
                "/api/auth/password/reset",
                json={"token": "x", "new_password": PASSWORD},
                headers=from_address(number),
            )
        assert answer.status_code == 400
    assert (await reset(client, "x", PASSWORD)).status_code == 429
    for path in ("confirm", "undo"):
        limited = await client.post(
            f"/api/settings/email/{path}", json={"token": "x"}, headers=from_address(99)
        )
        assert limited.status_code == 429


async def test_mail_limit_when_a_trusted_proxy_names_the_address(
    client: AsyncClient, strict: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "trusted_proxies", ["127.0.0.1"])
    for number in range(21):
        answer = await forgot(client, f"{number}@maison.example", **from_address(number))
        assert answer.status_code == 202
