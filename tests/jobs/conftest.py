"""Fixtures of the tests of events and jobs."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from app.core.database import Database
from app.core.events import emit
from tests.support.events import Numbered, own_registry


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """What a test declares is gone after it."""
    with own_registry():
        yield


async def emit_all(database: Database, kind: type[Numbered], *numbers: int) -> None:
    """Emit an event for each number, in one transaction."""
    async with database.transaction() as session:
        for number in numbers:
            await emit(session, kind(number=number))


async def until(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait for something that another task does."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for knows nothing of tests
            await asyncio.sleep(0.005)
