"""The mails about second factors, in both languages."""

import json

import pytest
from httpx import AsyncClient
from sqlalchemy import delete, select, update

from app.core import clock
from app.core.database import SystemSession
from app.core.events import EventOutbox, open_private
from app.core.ids import uuid7
from app.models.auth import MfaBackupCode, User
from app.models.settings import Profile
from app.services.auth.second_factor.mails import factor_mails
from app.services.notifications.requests import MailRequest
from app.services.notifications.templates import render
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.factories.second_factor import make_backup_codes, make_factor

EMAIL = "camille@maison.example"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PAGES = {"security_url": "http://app.luneo.test/settings/security"}


async def mail_of(db: SystemSession, kind: str) -> list[MailRequest]:
    newest = select(EventOutbox).where(EventOutbox.type == kind).order_by(EventOutbox.id.desc()).limit(1)
    event = (await db.execute(newest)).scalar_one()
    private = open_private(event.event_id, event.private_sealed)
    return await factor_mails(db, event.type, json.loads(event.body)["data"], private)


async def use_backup_code(client: AsyncClient, db: SystemSession, user: User, *, left: int) -> None:
    """Use a backup code of a person who has this many afterwards."""
    codes = await make_backup_codes(db, user)
    selectors = {code[:4] for code in codes[: left + 1]}
    await db.execute(delete(MfaBackupCode).where(MfaBackupCode.selector.not_in(selectors)))
    session = await make_session(db, user)
    headers = {"Authorization": f"Bearer {access_token_of(session)}", "User-Agent": FIREFOX}
    answer = await client.post("/api/auth/step-up", json={"backup_code": codes[0]}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(("left", "is_low"), [(4, False), (3, True), (0, True)])
@pytest.mark.parametrize(
    ("locale", "warning"), [("fr", "Il reste peu de codes"), ("en", "Few codes are left")]
)
async def test_mail_when_a_backup_code_was_used(
    client: AsyncClient, db: SystemSession, locale: str, warning: str, left: int, *, is_low: bool
) -> None:
    user = await make_user(db, email=EMAIL, full_name="Camille")
    await db.execute(update(Profile).where(Profile.user_id == user.id).values(locale=locale))
    await make_factor(db, user)
    await use_backup_code(client, db, user, left=left)
    (mail,) = await mail_of(db, "auth.backup_code_used")
    assert (mail.template, mail.to, mail.locale, mail.category) == (
        "backup_code_used",
        EMAIL,
        locale,
        "security",
    )
    assert "Firefox" in mail.variables["device"]
    assert mail.variables["remaining"] == str(left)
    rendered = render(mail.template, mail.locale, {**PAGES, **mail.variables})
    for text in (rendered.text, rendered.html):
        assert (warning in text) is is_low
        assert PAGES["security_url"] in text
        assert "Camille" in text


async def test_mail_when_the_code_for_it_was_used_meanwhile(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL)
    session = await make_session(db, user)
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    await client.post("/api/auth/step-up/email", headers=headers)
    (mail,) = await mail_of(db, "auth.step_up_requested")
    assert (mail.template, mail.to) == ("step_up_code", EMAIL)
    assert mail.expires_at > clock.now()
    await client.post("/api/auth/step-up/email", headers=headers)
    (newer,) = await mail_of(db, "auth.step_up_requested")
    assert newer.link != mail.link
    first = select(EventOutbox).where(EventOutbox.type == "auth.step_up_requested").order_by(EventOutbox.id)
    event = (await db.execute(first.limit(1))).scalar_one()
    private = open_private(event.event_id, event.private_sealed)
    assert await factor_mails(db, event.type, json.loads(event.body)["data"], private) == []


async def test_mail_when_the_person_is_gone(db: SystemSession) -> None:
    data = {"user_id": str(uuid7()), "remaining": 3}
    assert await factor_mails(db, "auth.backup_code_used", data, {}) == []
