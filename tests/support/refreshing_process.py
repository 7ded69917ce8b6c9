"""A real process that dies amid a refresh: it holds the lease and waits for a service that never answers."""

import asyncio
import multiprocessing
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from uuid import UUID

import app.models.registry  # noqa: F401 - the row guard must know every table
from app.clients.connections.sandbox import SandboxCaller
from app.core.database import Database, create_engine
from app.services.integrations.connections.refreshing import usable_token

_processes = multiprocessing.get_context("forkserver")


def start_refresh(url: str, organization_id: UUID, integration_id: UUID, asked: Path) -> ForkServerProcess:
    """Start a process that refreshes this connection; the file `asked` is there once the service is asked."""
    _processes.set_forkserver_preload([__name__])
    process = _processes.Process(target=_work, args=(url, organization_id, integration_id, asked))
    process.start()
    return process


def _work(url: str, organization_id: UUID, integration_id: UUID, asked: Path) -> None:
    async def hang(*_: object, **__: object) -> None:
        asked.touch()
        await asyncio.sleep(600)

    SandboxCaller.send = hang  # type: ignore[assignment, method-assign]  # this process has no other use
    asyncio.run(usable_token(Database(create_engine(url)), organization_id, integration_id))
