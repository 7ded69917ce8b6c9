"""The sequencer: moves committed events from the outbox to the log, in a loop without leader or state."""

import asyncio
import contextlib
import logging
import time

from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.database import create_engine
from app.core.events import on_commit
from app.core.metrics import EVENTS, SEQUENCE_LAG
from app.repositories.realtime import Turn, lags_of, sequence_once

FULL = 500
"""What one turn takes at most."""

AT_IT_PAUSE = 0.002
POKED_PAUSE = 0.003
"""Turns that this process's commits ask for begin so far apart at least."""

FLOORLESS_SECONDS = 2.0
SETTLED_SECONDS = 0.5
TURN_SECONDS = 15.0
BACK_OFF = (0.1, 0.5, 1.0, 2.0, 5.0)

# Each statement of a turn must see what was committed before it, and a batch must not be lost by a crash: its
# positions would be given again, to other events.
SETTINGS = (
    "SET default_transaction_isolation = 'read committed'",
    "SET statement_timeout = '10s'",
    "SET synchronous_commit = on",
)

log = logging.getLogger(__name__)


class Floor:
    """The outbox id up to which all is known to be drained: lower ids are dead rows that a turn steps over.

    Ids are drawn before their transactions commit, so a lower one may show up later. It cannot any more once
    every transaction has ended that had begun to write when a batch was taken. Their numbers may lie above
    the batch's own `seen_xmax`, which follows the newest transaction that has ended; so they are bounded by
    that of a turn after another batch was committed, which had a higher number. That batch comes some time
    later, since an id is drawn a moment before its transaction has a number at all.
    """

    def __init__(self) -> None:
        self.value = 0
        self._batch: tuple[int, float] | None = None
        """The last id of a batch, and when it was taken."""
        self._settled: int | None = None
        """The same id, once another batch was taken long enough after it."""
        self._pending: tuple[int, int] | None = None
        """The same id, and the bound of what ran then."""
        self._last_without = time.monotonic()

    def of_turn(self) -> int:
        """The floor of the next turn: 0 every two seconds, so that no rule on snapshots has to be trusted."""
        now = time.monotonic()
        if now - self._last_without >= FLOORLESS_SECONDS:
            self._last_without = now
            return 0
        return self.value

    def note(self, turn: Turn) -> None:
        """Learn from a turn."""
        if turn.seen_xmin is None or turn.seen_xmax is None:
            return
        now = time.monotonic()
        if self._pending and turn.seen_xmin >= self._pending[1]:
            self.value = max(self.value, self._pending[0])
            self._pending = None
        if self._settled is not None:
            self._pending, self._settled = (self._settled, turn.seen_xmax), None
        elif self._batch and turn.taken > 0 and now - self._batch[1] >= SETTLED_SECONDS:
            self._settled, self._batch = self._batch[0], None
        elif not (self._batch or self._pending) and turn.last_id is not None and turn.taken < FULL:
            self._batch = (turn.last_id, now)


class Sequencer:
    """The loop of one process, over one connection of its own to `url`."""

    def __init__(self, url: str | URL, *, pause: float) -> None:
        """`pause` is how long an idle sequencer sleeps, in seconds."""
        self._engine = create_engine(url, pool_size=1, application_name="luneo-sequencer")
        self._pause = pause
        self._woken = asyncio.Event()
        self._failures = 0
        """How often it has failed since its last turn."""
        self._is_stopping = False

    async def run(self) -> None:
        """Sequence until `stop()`; a lost connection is made again, at growing intervals."""
        stop_listening = on_commit(self._woken.set)
        try:
            while not self._is_stopping:
                try:
                    async with self._engine.connect() as connection:
                        await self._follow(connection)
                except Exception as error:
                    await self._engine.dispose()
                    pause = BACK_OFF[min(self._failures, len(BACK_OFF) - 1)]
                    self._failures += 1
                    log.warning("The sequencer tries again in %.1f s: %s", pause, error)
                    await self._rest(pause)
        finally:
            stop_listening()
            await self._engine.dispose()

    def stop(self) -> None:
        """Let `run` return after its present turn."""
        self._is_stopping = True
        self._woken.set()

    async def _follow(self, connection: AsyncConnection) -> None:
        """Take turns over one connection."""
        connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in SETTINGS:
            await connection.execute(text(statement))
        floor = Floor()
        while not self._is_stopping:
            self._woken.clear()
            began = time.monotonic()
            async with asyncio.timeout(TURN_SECONDS):
                turn = await sequence_once(connection, floor.of_turn())
                await _measure(connection, turn)
            self._failures = 0
            floor.note(turn)
            if turn.taken == FULL:
                continue
            if turn.taken < 0:
                await asyncio.sleep(AT_IT_PAUSE)
            elif await self._rest(self._pause):
                # Commits that come thick and fast share a turn; one that comes alone does not wait.
                await asyncio.sleep(began + min(POKED_PAUSE, self._pause) - time.monotonic())

    async def _rest(self, seconds: float) -> bool:
        """Sleep, or wake up early because this process has committed an event; whether it was woken."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        return self._woken.is_set()


async def _measure(connection: AsyncConnection, turn: Turn) -> None:
    """Count the events that this turn has given a position, and how long they waited for it."""
    if turn.taken > 0:
        for kind, lag in await lags_of(connection, turn):
            EVENTS.labels(kind).inc()
            SEQUENCE_LAG.observe(lag)
