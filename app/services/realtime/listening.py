"""Hears the sequencer's hints: over a connection of its own, which is made again whenever it is lost."""

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.database import create_engine

CHANNEL = "luneo_events"
ALIVE_SECONDS = 30.0
"""How long nothing may be heard before the connection is asked whether it lives."""

ANSWER_SECONDS = 5.0
BACK_OFF = (0.2, 0.5, 1.0, 2.0, 5.0)

log = logging.getLogger(__name__)


async def listen(url: str | URL, hint: Callable[[], None]) -> None:
    """Call `hint` at every notice, for ever. Whoever is hinted looks from time to time anyhow."""
    failures = 0
    while True:
        engine = create_engine(url, pool_size=1, application_name="luneo-listener")
        began = asyncio.get_running_loop().time()
        try:
            async with engine.connect() as connection:
                await _hear(connection, hint)
        except Exception as error:
            log.warning("Nobody listens for hints at the moment: %s", error)
        finally:
            await engine.dispose()
        has_lasted = asyncio.get_running_loop().time() - began > ALIVE_SECONDS
        failures = 0 if has_lasted else failures + 1
        await asyncio.sleep(BACK_OFF[min(failures, len(BACK_OFF) - 1)])


async def _hear(connection: AsyncConnection, hint: Callable[[], None]) -> None:
    """Listen until the connection is lost; ConnectionError then, or what asking it raises."""
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is None:
        raise ConnectionError("the connection was lost before it could listen")
    lost = asyncio.Event()
    driver.add_termination_listener(lambda _: lost.set())
    await driver.add_listener(CHANNEL, lambda *_: hint())
    hint()
    while not await _wait(lost, ALIVE_SECONDS):
        await driver.execute("SELECT 1", timeout=ANSWER_SECONDS)
    raise ConnectionError("the connection was lost")


async def _wait(happened: asyncio.Event, seconds: float) -> bool:
    """Whether it happened within that time."""
    try:
        async with asyncio.timeout(seconds):
            await happened.wait()
    except TimeoutError:
        return False
    return True
