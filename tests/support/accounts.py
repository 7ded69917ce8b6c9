"""What tests of authentication share: passwords, a PKCE pair, looks at rows and events."""

import base64
import hashlib
import json
import secrets
from contextlib import contextmanager
from typing import Any

from httpx import AsyncClient, Response
from sqlalchemy import select

from app.core import passwords
from app.core.crypto import EMAIL_TOKEN_PREFIX, derive_code, derive_token, key_ring
from app.core.database import SystemSession
from app.core.events import EventOutbox, open_private
from app.models.auth import OneTimeToken, User

PASSWORD = "blue lantern over water"
OTHER_PASSWORD = "quiet harbour at dawn"
DEVICE_KEY = "device-key-of-one-browser-profile"
WRONG = "not the password at all"


def pkce() -> tuple[str, str]:
    """A verifier and its S256 challenge."""
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    return verifier, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def device(key: str = DEVICE_KEY) -> dict[str, str]:
    """The headers of a browser that keeps a device key."""
    return {"X-Device-Key": key}


def bearer(session: dict[str, Any]) -> dict[str, str]:
    """The headers of an opened session."""
    return {"Authorization": f"Bearer {session['access_token']}"}


async def sign_up(client: AsyncClient, email: str, password: str = PASSWORD, **more: Any) -> Response:
    return await client.post("/api/auth/signup", json={"email": email, "password": password, **more})


async def sign_in(
    client: AsyncClient, email: str, password: str = PASSWORD, *, key: str | None = None, **more: Any
) -> Response:
    headers = device(key) if key else {}
    return await client.post(
        "/api/auth/login", json={"email": email, "password": password, **more}, headers=headers
    )


async def refresh(client: AsyncClient, token: str, *, key: str | None = None) -> Response:
    headers = device(key) if key else {}
    return await client.post("/api/auth/refresh", json={"refresh_token": token}, headers=headers)


async def events(db: SystemSession, kind: str) -> list[dict[str, Any]]:
    """The payloads of the events of one type, oldest first."""
    statement = select(EventOutbox.body).where(EventOutbox.type == kind).order_by(EventOutbox.id)
    return [json.loads(body)["data"] for body in (await db.execute(statement)).scalars()]


async def privates(db: SystemSession, kind: str) -> list[dict[str, Any]]:
    """The private parts of the events of one type, oldest first."""
    statement = (
        select(EventOutbox.event_id, EventOutbox.private_sealed)
        .where(EventOutbox.type == kind)
        .order_by(EventOutbox.id)
    )
    return [open_private(row[0], row[1]) for row in (await db.execute(statement)).all()]


async def person(db: SystemSession, email: str) -> User | None:
    """The account of an address, as it stands in the database."""
    statement = select(User).where(User.email_canonical == email.lower())
    return (await db.execute(statement.execution_options(populate_existing=True))).scalar_one_or_none()


async def open_token(db: SystemSession, user: User) -> OneTimeToken:
    """The live confirmation of a person."""
    statement = select(OneTimeToken).where(
        OneTimeToken.user_id == user.id,
        OneTimeToken.consumed_at.is_(None),
        OneTimeToken.voided_at.is_(None),
    )
    return (await db.execute(statement.execution_options(populate_existing=True))).scalar_one()


async def link_token(db: SystemSession, email: str) -> str:
    """The token of the newest confirmation mail of an address."""
    user = await person(db, email)
    assert user is not None
    token = await open_token(db, user)
    return derive_token(key_ring(), EMAIL_TOKEN_PREFIX, "email_confirm", token.id)


async def mailed_code(db: SystemSession, email: str) -> str:
    """The code of the newest confirmation mail of an address."""
    user = await person(db, email)
    assert user is not None
    return derive_code(key_ring(), "email_confirm", (await open_token(db, user)).id)


def another(code: str) -> str:
    """A code that is not this one."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


@contextmanager
def counted_hashes(monkeypatch):
    """Counts the argon2 computations inside the block; every one is really done."""
    seen: list[str] = []
    for name in ("hash", "verify", "verify_and_update"):
        real = getattr(passwords._context, name)

        def counting(*arguments, _real=real, _name=name, **options):
            seen.append("hash" if _name == "hash" else "verify")
            return _real(*arguments, **options)

        monkeypatch.setattr(passwords._context, name, counting)
    yield seen
    monkeypatch.undo()
