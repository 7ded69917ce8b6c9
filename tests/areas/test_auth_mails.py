"""The mails that follow from events of authentication, and the facts they tell."""

import json
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.core import clock
from app.core.database import SystemSession
from app.core.events import EventOutbox, open_private
from app.models.auth import User
from app.models.settings import Profile
from app.services.auth.mails import account_mails
from app.services.notifications.requests import MailLink, MailRequest
from app.services.notifications.templates import VARIABLES
from tests.factories.accounts import make_session, make_user, refresh_token_of
from tests.support.accounts import (
    DEVICE_KEY,
    OTHER_PASSWORD,
    PASSWORD,
    WRONG,
    link_token,
    open_token,
    person,
    refresh,
    sign_in,
    sign_up,
)

EMAIL = "Camille@Maison.example"
MADE_WHEN_RENDERED = {"action_url", "code", "sign_in_url", "reset_url", "security_url", "app_url"}


async def mails(db: SystemSession, kind: str) -> list[MailRequest]:
    """What the handler would queue for every event of one type."""
    statement = select(EventOutbox).where(EventOutbox.type == kind, EventOutbox.has_handlers)
    found: list[MailRequest] = []
    for event in (await db.execute(statement.order_by(EventOutbox.id))).scalars():
        data: dict[str, Any] = json.loads(event.body)["data"]
        found += await account_mails(db, event.type, data, open_private(event.event_id, event.private_sealed))
    for mail in found:
        assert VARIABLES[mail.template] - MADE_WHEN_RENDERED <= mail.variables.keys()
        assert all(isinstance(value, str) for value in mail.variables.values())
    return found


@pytest.fixture
async def user(db: SystemSession) -> User:
    return await make_user(db, email=EMAIL, full_name="Camille", password=PASSWORD)


async def test_mail_when_somebody_signed_up(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL, full_name="Camille", locale="en")
    account = await person(db, EMAIL)
    assert account is not None
    token = await open_token(db, account)
    assert await mails(db, "auth.confirmation_requested") == [
        MailRequest(
            template="email_confirmation",
            to=EMAIL,
            locale="en",
            category="account",
            expires_at=token.expires_at,
            user_id=account.id,
            variables={"name": "Camille"},
            link=MailLink(purpose="email_confirm", token_id=token.id, path="/confirm"),
        )
    ]


async def test_mail_when_the_confirmation_was_replaced_or_used(
    client: AsyncClient, db: SystemSession
) -> None:
    await sign_up(client, EMAIL)
    await sign_up(client, EMAIL, OTHER_PASSWORD)
    assert len(await mails(db, "auth.confirmation_requested")) == 1
    await client.post("/api/auth/confirm", json={"token": await link_token(db, EMAIL)})
    assert await mails(db, "auth.confirmation_requested") == []
    (welcome,) = await mails(db, "user.email_confirmed")
    assert (welcome.template, welcome.category, welcome.link) == ("welcome", "account", None)
    assert welcome.expires_at > clock.now() + timedelta(hours=23)


async def test_mail_when_the_confirmation_is_too_old(client: AsyncClient, db: SystemSession) -> None:
    await sign_up(client, EMAIL)
    with clock.travel(timedelta(days=1, seconds=1)):
        assert await mails(db, "auth.confirmation_requested") == []


async def test_mail_when_a_sign_up_was_repeated(client: AsyncClient, db: SystemSession, user: User) -> None:
    for _ in range(3):
        await sign_up(client, EMAIL.lower(), OTHER_PASSWORD)
    (mail,) = await mails(db, "auth.signup_repeated")
    assert (mail.template, mail.to, mail.variables) == ("account_exists", EMAIL, {"name": "Camille"})


async def test_mail_when_a_device_is_new(client: AsyncClient, db: SystemSession, user: User) -> None:
    await sign_in(client, EMAIL, key=DEVICE_KEY)
    await sign_in(client, EMAIL, key=DEVICE_KEY)
    assert await mails(db, "auth.signed_in") == []
    await sign_in(client, EMAIL, key="the-key-of-quite-another-browser")
    (mail,) = await mails(db, "auth.signed_in")
    assert (mail.template, mail.category) == ("new_device", "security")
    assert mail.variables.keys() == {"name", "device", "place", "time"}
    assert (mail.variables["device"], mail.variables["place"]) == ("appareil inconnu", "lieu inconnu")
    assert mail.variables["time"].endswith(" UTC")


async def test_mail_when_an_account_is_locked(client: AsyncClient, db: SystemSession, user: User) -> None:
    profile = await db.get_one(Profile, user.id)
    profile.locale = "en"
    await db.commit()
    for _ in range(11):
        await sign_in(client, EMAIL, WRONG)
    (mail,) = await mails(db, "auth.locked")
    assert (mail.template, mail.category, mail.locale) == ("account_locked", "security", "en")
    assert mail.variables["until"] > mail.variables["time"]
    assert mail.variables["device"] == "unknown device"


async def test_mail_when_nobody_has_the_locked_address(client: AsyncClient, db: SystemSession) -> None:
    for _ in range(11):
        await sign_in(client, "nobody@maison.example", WRONG)
    assert await mails(db, "auth.locked") == []


async def test_mail_when_an_account_is_locked_for_good(db: SystemSession, user: User) -> None:
    facts = {"device": "Firefox 130, Linux", "place": "FR", "time": "2026-01-01 10:00 UTC"}
    (mail,) = await account_mails(db, "auth.locked", {"user_id": str(user.id), "until": None}, facts)
    assert mail.variables == {
        "name": "Camille",
        "until": "la réinitialisation du mot de passe",
        **facts,
    }


async def test_mail_when_a_session_was_stopped(client: AsyncClient, db: SystemSession, user: User) -> None:
    token = refresh_token_of(await make_session(db, user))
    await refresh(client, token)
    await refresh(client, token)
    (mail,) = await mails(db, "session.refresh_reused")
    assert (mail.template, mail.category, mail.to) == ("session_stopped", "security", EMAIL)


async def test_mail_when_the_account_is_gone(client: AsyncClient, db: SystemSession, user: User) -> None:
    token = refresh_token_of(await make_session(db, user))
    await refresh(client, token)
    await refresh(client, token)
    user.status = "erased"
    await db.commit()
    assert await mails(db, "session.refresh_reused") == []
