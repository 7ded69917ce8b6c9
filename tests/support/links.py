"""What tests of mailed links share: asking for one, reading the mail, using it."""

from typing import Any
from uuid import UUID

from httpx import AsyncClient, Response
from pyotp import TOTP

from app.core import clock
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.models.auth import MfaBackupCode, MfaFactor
from app.services.auth.second_factor.backup_codes import hashed
from app.services.auth.second_factor.totp import base32, new_secret, seal_secret, step_of
from tests.support.accounts import pkce
from tests.support.events import handle_events


async def mailed(client: AsyncClient, database: Database, to: str) -> list[dict[str, Any]]:
    """The mails that an address has got by now, the newest first."""
    await handle_events(database)
    answer = await client.get("/sandbox/mail.json", params={"to": to, "limit": 100})
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def templates(client: AsyncClient, database: Database, to: str) -> list[str]:
    """The names of the mails that an address has got, in alphabetical order."""
    return sorted(mail["template"] for mail in await mailed(client, database, to))


async def mail_of(client: AsyncClient, database: Database, to: str, template: str) -> dict[str, Any]:
    """The newest mail of one kind that an address has got."""
    found = [mail for mail in await mailed(client, database, to) if mail["template"] == template]
    assert found, f"no mail {template} to {to}"
    return found[0]


def token_of(mail: dict[str, Any]) -> str:
    """The token in the fragment of the first link that carries one."""
    (token,) = {link.partition("#token=")[2] for link in mail["links"] if "#token=" in link}
    return str(token)


async def forgot(client: AsyncClient, email: str, **headers: str) -> Response:
    return await client.post("/api/auth/password/forgot", json={"email": email}, headers=headers)


async def reset(client: AsyncClient, token: str, new_password: str, **more: Any) -> Response:
    body = {"token": token, "new_password": new_password, **more}
    return await client.post("/api/auth/password/reset", json=body)


async def reset_token(client: AsyncClient, database: Database, email: str) -> str:
    """The token of a reset that was asked for just now."""
    assert (await forgot(client, email)).status_code == 202
    return token_of(await mail_of(client, database, email, "password_reset"))


async def ask_link(client: AsyncClient, email: str, challenge: str, **more: Any) -> Response:
    body = {"email": email, "code_challenge": challenge, "code_challenge_method": "S256", **more}
    return await client.post("/api/auth/magic-link", json=body)


async def verify_link(client: AsyncClient, **body: Any) -> Response:
    return await client.post("/api/auth/magic-link/verify", json=body)


class Link:
    """A magic link that somebody asked for: what the browser kept, and what the mail said."""

    def __init__(self, request_id: str, verifier: str, mail: dict[str, Any]) -> None:
        self.request_id = request_id
        self.verifier = verifier
        self.mail = mail
        self.token = token_of(mail)
        self.code: str = mail["code"]

    def by_token(self) -> dict[str, str]:
        return {"token": self.token, "code_verifier": self.verifier}

    def by_code(self) -> dict[str, str]:
        return {"request_id": self.request_id, "code": self.code, "code_verifier": self.verifier}


async def magic_link(client: AsyncClient, database: Database, email: str, **more: Any) -> Link:
    """Ask for a link and read its mail."""
    verifier, challenge = pkce()
    answer = await ask_link(client, email, challenge, **more)
    assert answer.status_code == 202, answer.text
    mail = await mail_of(client, database, email.lower(), "magic_link")
    return Link(answer.json()["request_id"], verifier, mail)


class Authenticator:
    """An authenticator app with the secret of one person."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret

    def code(self) -> str:
        """What the app shows now."""
        shown: str = TOTP(base32(self.secret)).generate_otp(step_of(clock.now()))
        return shown


async def give_factor(db: SystemSession, user_id: UUID, *backup_codes: str) -> Authenticator:
    """An active second factor with these backup codes."""
    secret, now, identifier = new_secret(), clock.now(), uuid7()
    db.add(
        MfaFactor(
            id=identifier,
            user_id=user_id,
            name="Phone",
            secret_sealed=seal_secret(identifier, secret),
            status="active",
            confirmed_at=now,
            created_at=now,
        )
    )
    for selector, digest in await hashed(list(backup_codes)):
        db.add(
            MfaBackupCode(
                id=uuid7(), user_id=user_id, selector=selector, verifier_hash=digest, created_at=now
            )
        )
    await db.commit()
    return Authenticator(secret)
