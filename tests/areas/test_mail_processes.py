"""A worker that is killed between handing a mail over and recording it: the mail is sent once."""

import asyncio
import os
import signal
from datetime import timedelta

import pytest

from app.core import clock
from app.core.database import Database, SystemSession
from app.services.notifications.senders import SenderBoard
from app.services.notifications.sending import send
from tests.factories.mail import email_of, make_email
from tests.support.mail_processes import start_sending
from tests.support.mail_providers import PlayedBrevo, PlayedSendGrid


@pytest.mark.commits
async def test_mail_when_its_worker_is_killed_before_it_records_it(
    db: SystemSession, database: Database, brevo: PlayedBrevo, sendgrid: PlayedSendGrid
) -> None:
    email_id = await make_email(db)
    url = database.engine.url.render_as_string(hide_password=False)
    process = start_sending(url, brevo.address, email_id)

    async def kill() -> None:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)

    brevo.after_accepting = kill
    await asyncio.to_thread(process.join, 120)
    assert process.exitcode == -signal.SIGKILL
    left = await email_of(db, email_id)
    assert (left.status, left.provider, len(brevo.mails)) == ("sending", "brevo", 1)
    brevo.after_accepting = None
    await db.rollback()
    await send(database, [sendgrid.sender, brevo.sender], email_id, board=SenderBoard())
    assert brevo.calls == 1, "somebody may still be at it"
    with clock.travel(timedelta(seconds=121)):
        await send(database, [sendgrid.sender, brevo.sender], email_id, board=SenderBoard())
    await db.rollback()
    assert (await email_of(db, email_id)).status == "sent"
    assert (len(brevo.mails), brevo.calls, sendgrid.calls) == (1, 2, 0)
