"""Fixtures of the tests of streams."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from app.core.permissions import Permission
from tests.support.events import Numbered, declare_event, own_registry
from tests.support.streams import LiveServer, client_of

if TYPE_CHECKING:
    from tests.support.exercised import Exercised


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """What a test declares is gone after it."""
    with own_registry():
        yield


@pytest.fixture
def noticed() -> type[Numbered]:
    """An event that is a person's own."""
    return declare_event("test.noticed", audience="personal")


@pytest.fixture
def ordered() -> type[Numbered]:
    """An event of an organisation that every built-in role but the designer may read."""
    return declare_event("test.ordered", audience="organization", permission=Permission.orders_read)


@pytest.fixture
async def server(app: FastAPI, exercised: "Exercised") -> AsyncIterator[LiveServer]:
    """The application on a free port, over the test's own database."""
    running = LiveServer(app, exercised.recording(app))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def http(server: LiveServer) -> AsyncIterator[AsyncClient]:
    async with client_of(server) as client:
        yield client
