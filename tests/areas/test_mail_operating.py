"""What the platform's staff sees of mails and blocked addresses, and does about them, over HTTP."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.models.notifications import EmailSuppression
from app.services.notifications.mailing import address_hash
from tests.factories.accounts import access_token_of, make_session
from tests.factories.mail import email_of, make_email, make_failed_email, make_suppression
from tests.support.events import handle_events
from tests.support.personas import Persona

EMAILS = "/api/notifications/operator/emails"
SUPPRESSIONS = "/api/notifications/operator/suppressions"


@pytest.fixture
async def staff(db: SystemSession, alice: Persona, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(get_settings(), "platform_staff_ids", [str(alice.user_id)])
    session = await make_session(db, alice.user_id, organization_id=alice.organization_id, aal=2)
    return {"Authorization": f"Bearer {access_token_of(session)}"}


async def test_emails_when_the_staff_looks(
    client: AsyncClient, db: SystemSession, staff: dict[str, str]
) -> None:
    failed = await make_failed_email(db)
    await make_email(db, template="two_factor_enabled", to="noe@maison.example")
    answer = await client.get(EMAILS, headers=staff)
    assert answer.status_code == 200
    assert "zoe@" not in answer.text
    assert "noe@" not in answer.text
    assert [item["to_masked"] for item in answer.json()["items"]] == [
        "n***@maison.example",
        "z***@luneo.test",
    ]
    for query in ({"status": "failed"}, {"template_key": "welcome"}, {"provider": "smtp"}):
        (item,) = (await client.get(EMAILS, params=query, headers=staff)).json()["items"]
        assert (item["id"], item["last_error_code"]) == (str(failed), "refused")


async def test_emails_when_a_key_has_left_the_ring(
    client: AsyncClient,
    db: SystemSession,
    alice: Persona,
    staff: dict[str, str],
    other_keys: Callable[[bool], None],
) -> None:
    """The list is still there, but for the addresses."""
    del staff
    await make_email(db)
    other_keys(False)
    session = await make_session(db, alice.user_id, organization_id=alice.organization_id, aal=2)
    await db.commit()
    answer = await client.get(EMAILS, headers={"Authorization": f"Bearer {access_token_of(session)}"})
    assert [item["to_masked"] for item in answer.json()["items"]] == ["•••"]


async def test_retry_when_a_mail_was_given_up(
    client: AsyncClient, db: SystemSession, database: Database, staff: dict[str, str]
) -> None:
    email_id = await make_failed_email(db)
    answer = await client.post(f"{EMAILS}/{email_id}/retry", headers=staff)
    assert (answer.status_code, answer.json()) == (202, {"id": str(email_id), "status": "queued"})
    assert answer.headers["location"] == EMAILS
    await handle_events(database)
    email = await email_of(db, email_id)
    assert (email.status, email.provider) == ("sent", "local")
    again = await client.post(f"{EMAILS}/{email_id}/retry", headers=staff)
    assert (again.status_code, again.json()["code"]) == (409, "not_retryable")


async def test_retry_when_it_is_too_late(
    client: AsyncClient, db: SystemSession, staff: dict[str, str]
) -> None:
    queued = await make_email(db)
    expired = await make_failed_email(db, expires_at=clock.now() - timedelta(minutes=1))
    wiped = await make_failed_email(db)
    (await email_of(db, wiped)).variables_sealed = None
    await db.commit()
    for email_id in (queued, expired, wiped):
        answer = await client.post(f"{EMAILS}/{email_id}/retry", headers=staff)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_retryable")
    assert (await client.post(f"{EMAILS}/{uuid7()}/retry", headers=staff)).status_code == 404


async def test_address_when_the_staff_blocks_and_opens_it(
    client: AsyncClient, db: SystemSession, staff: dict[str, str]
) -> None:
    body = {"email": "Zoe@Luneo.test", "reason": "manual"}
    made = await client.post(SUPPRESSIONS, json=body, headers=staff)
    assert (made.status_code, made.json()["reason"]) == (201, "manual")
    place = f"{SUPPRESSIONS}/{made.json()['id']}"
    assert made.headers["location"] == place
    assert "zoe" not in made.text.lower()
    again = await client.post(SUPPRESSIONS, json={**body, "reason": "complaint"}, headers=staff)
    assert (again.json()["id"], again.json()["reason"]) == (made.json()["id"], "complaint")
    hashes = (await db.scalars(select(EmailSuppression.address_hash))).all()
    assert hashes == [address_hash("zoe@luneo.test")]
    await make_suppression(db, "noe@luneo.test", "hard_bounce")
    listed = await client.get(SUPPRESSIONS, params={"reason": "hard_bounce"}, headers=staff)
    assert [item["reason"] for item in listed.json()["items"]] == ["hard_bounce"]
    assert [(await client.delete(place, headers=staff)).status_code for _ in range(2)] == [204, 404]


async def test_operations_when_an_owner_asks(client: AsyncClient, alice: Persona) -> None:
    for path in (EMAILS, SUPPRESSIONS):
        answer = await client.get(path, headers=alice.headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
