"""A process that sends one delivery of a webhook, for tests that kill it."""

import asyncio
import multiprocessing
from multiprocessing.context import ForkServerProcess
from uuid import UUID

from app.core.config import get_settings
from app.core.database import Database, create_engine
from app.jobs.app import load_areas
from app.services.integrations.webhooks.sending import deliver

_processes = multiprocessing.get_context("forkserver")

load_areas()  # The fork server imports this module, so that its processes find everything there.


def start_sender(url: str, port: int, ids: tuple[UUID, UUID, UUID]) -> ForkServerProcess:
    """Let a process of its own send a delivery (organisation, endpoint, delivery) to a port of loopback."""
    _processes.set_forkserver_preload([__name__])
    process = _processes.Process(target=_send, args=(url, port, ids))
    process.start()
    return process


def _send(url: str, port: int, ids: tuple[UUID, UUID, UUID]) -> None:
    settings = get_settings()
    settings.outbound_allow_http = True
    settings.outbound_allow = ["127.0.0.1/32"]
    settings.outbound_ports = [str(port)]
    asyncio.run(_deliver(url, ids))


async def _deliver(url: str, ids: tuple[UUID, UUID, UUID]) -> None:
    database = Database(create_engine(url, pool_size=1))
    await deliver(database, *ids)
    await database.dispose()
