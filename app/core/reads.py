"""Single statements outside of transactions, for what every request asks: straight to the driver, no session.

The row guard does not see them: whoever asks binds the owner. Connections are those of the engine's pool, of
which up to half are kept in hand, so that taking one costs nothing.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Protocol

import asyncpg
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import QueuePool

PATIENCE_SECONDS = 10
"""How long a statement waits for a connection; the same as for a session."""

OLDEST_SECONDS = 1800
"""After so long a connection is opened anew, as the pool does with its own."""

FAILURES = (asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError)
"""What the driver raises, apart from errors of the network."""


def failed(statement: str, error: Exception, driver: asyncpg.Connection) -> DBAPIError:
    """An error of the driver as a session raises it, so that nobody has to know two families of errors."""
    kind = IntegrityError if isinstance(error, asyncpg.IntegrityConstraintViolationError) else DBAPIError
    return kind(statement, None, error, connection_invalidated=driver.is_closed())


class Begun:
    """A transaction that a session has begun, asked past the session."""

    def __init__(self, transaction: object, driver: asyncpg.Connection) -> None:
        self.transaction = transaction
        self.driver = driver

    async def rows(self, statement: str, values: tuple[Any, ...]) -> Sequence[Any]:
        """Every row, as a tuple. DBAPIError when it fails, as from the session."""
        try:
            found: list[Any] = await self.driver.fetch(statement, *values)
        except FAILURES as error:
            raise failed(statement, error, self.driver) from error
        return found


class Reads(Protocol):
    """Asks one statement at a time, in autocommit. Parameters are `$1`, `$2`, … of PostgreSQL itself.

    A statement must not change anything: it is repeated once when its connection turns out to be dead, which
    is how the service comes back by itself after a restart of PostgreSQL.
    """

    async def rows(self, statement: str, *values: Any) -> Sequence[Any]:
        """Every row, as a tuple.

        DBAPIError when it fails, as from a session; TimeoutError when no connection becomes free.
        """
        ...

    async def close(self) -> None:
        """Give every connection back."""
        ...


class _Held:
    """A connection in hand, and until when."""

    def __init__(self, pooled: AsyncConnection, driver: asyncpg.Connection) -> None:
        self.pooled = pooled
        self.driver = driver
        self.until = time.monotonic() + OLDEST_SECONDS

    @property
    def is_good(self) -> bool:
        return not self.driver.is_closed() and time.monotonic() < self.until


class PooledReads:
    """Over connections of an engine's pool."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        pool = engine.pool
        size = pool.size() if isinstance(pool, QueuePool) else 1
        self._kept = size // 2
        self._room = asyncio.Semaphore(max(1, self._kept))
        self._idle: list[_Held] = []

    async def rows(self, statement: str, *values: Any) -> Sequence[Any]:
        """Every row, as a tuple."""
        if self._room.locked():
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._room.acquire()
        else:
            await self._room.acquire()
        try:
            return await self._ask(statement, values)
        finally:
            self._room.release()

    async def close(self) -> None:
        """Give every connection back, those that are in use as soon as they are not."""
        self._kept = 0
        while self._idle:
            await self._idle.pop().pooled.close()

    async def _ask(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        held = await self._take()
        try:
            try:
                found: list[Any] = await held.driver.fetch(statement, *values)
            except (*FAILURES, OSError) as error:
                # A dying server's farewell comes unasked; the driver may take it for disorder of its own.
                if not (held.driver.is_closed() or isinstance(error, asyncpg.InternalClientError)):
                    raise
                held = await self._replace(held)
                found = await held.driver.fetch(statement, *values)
        except FAILURES as error:
            failure = failed(statement, error, held.driver)
            await self._put_back(held)
            raise failure from error
        except BaseException:
            # Nobody knows in which state it is: a cancelled request may have left half an answer in it.
            await self._drop(held)
            raise
        await self._put_back(held)
        return found

    async def _take(self) -> _Held:
        while self._idle:
            held = self._idle.pop()
            if held.is_good:
                return held
            await self._drop(held)
        return await self._open()

    async def _open(self) -> _Held:
        pooled = await self._engine.connect()
        return _Held(pooled, (await pooled.get_raw_connection()).driver_connection)

    async def _replace(self, held: _Held) -> _Held:
        await self._drop(held)
        return await self._open()

    async def _put_back(self, held: _Held) -> None:
        if len(self._idle) < self._kept and held.is_good:
            self._idle.append(held)
        elif held.is_good:
            await held.pooled.close()
        else:
            await self._drop(held)

    async def _drop(self, held: _Held) -> None:
        # One whose replacement could not be opened was dropped before.
        if not held.pooled.closed:
            await held.pooled.invalidate()
            await held.pooled.close()


class InnerReads:
    """Over the one connection of a test, inside the transaction in which everything of it happens."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def rows(self, statement: str, *values: Any) -> Sequence[Any]:
        """Every row, as a tuple."""
        return (await self._connection.exec_driver_sql(statement, values)).all()

    async def close(self) -> None:
        """Nothing: the connection is the test's."""
