"""One installation for all fault tests of a worker; whoever stops it leaves its start to the next."""

from collections.abc import AsyncIterator, Iterator

import pytest
from httpx import AsyncClient

from tests.support.server import Installation


@pytest.fixture(scope="session")
def one_installation() -> Iterator[Installation]:
    made = Installation()
    try:
        yield made
    finally:
        made.destroy()


@pytest.fixture
def installation(one_installation: Installation) -> Installation:
    """A running service with a database of its own."""
    one_installation.start()
    return one_installation


@pytest.fixture
async def http(installation: Installation) -> AsyncIterator[AsyncClient]:
    async with installation.client() as client:
        yield client
