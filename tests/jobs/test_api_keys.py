"""Notices that keys expire: to whom, when, and never twice for one term."""

from datetime import timedelta

from sqlalchemy import select, update

from app.core import clock
from app.core.database import Database, SystemSession
from app.jobs.integrations import tell_of_expiring_keys
from app.models.integrations import ApiKey
from app.models.notifications import MailOutbox
from app.models.settings import Profile
from tests.factories.integrations import make_api_key_row
from tests.support.accounts import events
from tests.support.events import handle_events
from tests.support.personas import Persona, make_colleague


async def told(db: SystemSession) -> list[tuple[str, int]]:
    return [(event["name"], event["days"]) for event in await events(db, "api_key.expiring")]


async def test_keys_when_their_end_comes_near(db: SystemSession, database: Database, alice: Persona):
    now = clock.now()
    for name, days in (("far", 20), ("fortnight", 13.9), ("week", 6.9), ("tomorrow", 0.9), ("over", -1)):
        await make_api_key_row(db, owner=alice, name=name, expires_at=now + timedelta(days=days))
    await make_api_key_row(db, owner=alice, name="for good")
    soon = now + timedelta(hours=1)
    await make_api_key_row(db, owner=alice, name="off", expires_at=soon, is_active=False)
    await make_api_key_row(db, owner=alice, name="replaced", expires_at=soon, grace_until=soon)
    revoked, _ = await make_api_key_row(db, owner=alice, name="revoked", expires_at=soon)
    revoked.revoked_at, revoked.revoke_reason = now, "manual"
    await db.commit()
    await tell_of_expiring_keys(database)
    assert sorted(await told(db)) == [("fortnight", 14), ("tomorrow", 1), ("week", 7)]
    await tell_of_expiring_keys(database)
    assert len(await told(db)) == 3, "a job that runs again tells nothing twice"


async def test_key_when_its_terms_pass(db: SystemSession, database: Database, alice: Persona):
    key, _ = await make_api_key_row(db, owner=alice, expires_at=clock.now() + timedelta(days=14, hours=12))
    days_told = []
    for day in range(16):
        left = timedelta(days=14 - day, hours=12)
        await db.execute(update(ApiKey).where(ApiKey.id == key.id).values(expires_at=clock.now() + left))
        await db.commit()
        before = len(await told(db))
        await tell_of_expiring_keys(database)
        days_told += [(day, item[1]) for item in (await told(db))[before:]]
    assert days_told == [(1, 14), (8, 7), (14, 1)]


async def test_mail_when_a_key_expires(
    db: SystemSession, database: Database, alice: Persona, bob: Persona, charlie: Persona
):
    ben = await make_colleague(db, alice, "ben", role="admin")
    await db.execute(update(Profile).where(Profile.user_id == alice.user_id).values(locale="en"))
    soon = clock.now() + timedelta(hours=23)
    key, secret = await make_api_key_row(
        db, owner=alice, created_by=bob.user_id, name="Kasse <b>", expires_at=soon
    )
    await tell_of_expiring_keys(database)
    await handle_events(database)
    mails = {mail.to_address: mail for mail in (await db.scalars(select(MailOutbox))).all()}
    assert set(mails) == {alice.email, ben.email, bob.email}
    english, french = mails[alice.email], mails[ben.email]
    assert english.subject == "API key “Kasse <b>” expires in 1 day"
    assert french.subject == "La clé API « Kasse <b> » expire dans 1 jour"
    assert "Kasse &lt;b&gt;" in english.html
    assert "http://app.luneo.test/integrations/api-keys" in english.text
    for mail in mails.values():
        assert secret not in mail.text + mail.html + mail.subject
        assert key.last4 in mail.text


async def test_mail_when_the_key_was_revoked_meanwhile(db: SystemSession, database: Database, alice: Persona):
    soon = clock.now() + timedelta(hours=23)
    key, _ = await make_api_key_row(db, owner=alice, expires_at=soon)
    await tell_of_expiring_keys(database)
    ended = {"revoked_at": clock.now(), "revoke_reason": "manual", "is_active": False}
    await db.execute(update(ApiKey).where(ApiKey.id == key.id).values(**ended))
    await db.commit()
    await handle_events(database)
    assert (await db.scalars(select(MailOutbox))).all() == []
