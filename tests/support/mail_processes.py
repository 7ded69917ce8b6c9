"""Processes that send a mail, for tests that kill them."""

import asyncio
import logging
import multiprocessing
from multiprocessing.context import ForkServerProcess
from uuid import UUID

from app.clients.mailer.brevo import BrevoSender
from app.clients.outbound import get_outbound
from app.core.database import Database, create_engine
from app.jobs.app import load_areas
from app.services.notifications.sending import send
from tests.support.mail_providers import KEY

_processes = multiprocessing.get_context("forkserver")

load_areas()  # The fork server imports this module, so that its processes find everything there.


def start_sending(url: str, brevo: str, email_id: UUID) -> ForkServerProcess:
    """A process that sends this mail of the database at `url` through the server that plays Brevo."""
    _processes.set_forkserver_preload([__name__])
    process = _processes.Process(target=_send, args=(url, brevo, email_id))
    process.start()
    return process


def _send(url: str, brevo: str, email_id: UUID) -> None:
    logging.disable(logging.ERROR)
    sender = BrevoSender(KEY, get_outbound(), address=brevo)
    asyncio.run(send(Database(create_engine(url, pool_size=1)), [sender], email_id))
