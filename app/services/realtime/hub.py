"""The hub of a process: follows the log, brings each event to the connections that may get it."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from sqlalchemy import URL

from app.core import clock
from app.core.config import Settings
from app.core.database import Database, create_engine
from app.core.limits import Limiter
from app.repositories.realtime import LogReader
from app.services.realtime.access import check, concerned_by, ended_after
from app.services.realtime.connections import Bye, Connection, Registry, Rights
from app.services.realtime.cursors import epoch_of, make_cursor
from app.services.realtime.expanding import expand
from app.services.realtime.listening import listen
from app.services.realtime.ring import RING_EVENTS, LogEvent, Ring

PAGE = 1000
TURN_SECONDS = 10.0
"""How long one look at the log may take before its connection is given up."""

BUSY_PAUSE = 0.05
IDLE_PAUSE = 0.25
"""The longest time between two looks, with and without connections. A hint only shortens it."""

UNHINTED_PAUSE = 0.015
"""In place of BUSY_PAUSE where nobody hints, so that half of all events are there within 30 ms even so."""

LEAST_PAUSE = 0.004
"""The shortest: hints that come faster are answered together."""

BREATH = 64
"""So many events are handed out before those who write them get a turn."""

CHECK_SECONDS = 60
RENEW_SECONDS = 15
DRAIN_SECONDS = 5.0
BACK_OFF = (0.1, 0.2, 0.5, 1.0, 2.0)

LEASE = "streams"
"""The name under which the streams of a person are counted."""

log = logging.getLogger(__name__)


class Hub:
    """One per serve process. No waiting connection holds a connection of the database."""

    def __init__(self, database: Database, limiter: Limiter, settings: Settings) -> None:
        """Replays work with `database`; following, checking and listening have connections of their own."""
        self.database = database
        self.limiter = limiter
        self.settings = settings
        self.registry = Registry()
        self.ring = Ring()
        self.epoch = ""
        self.position = 0
        self.is_draining = False
        self.hint = asyncio.Event()
        """Set by whoever knows of something new."""
        self._ready = asyncio.Event()
        self._own = Database(create_engine(database.engine.url, pool_size=3, application_name="luneo-hub"))
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_ready(self) -> bool:
        """Whether the log was reached."""
        return self._ready.is_set()

    @property
    def cursor(self) -> str | None:
        """The position of this process, or None before the log was reached."""
        return make_cursor(self.epoch, self.position) if self.is_ready else None

    async def start(self) -> None:
        """Begin to follow, in tasks of the running loop. Returns at once, also while the database is away."""
        self._run(self._follow(), "log")
        self._run(self._keep_house(), "streams")
        if self.settings.events_wake == "listen":
            url: str | URL = self.settings.database_listen_url or self.database.engine.url
            self._run(listen(url, self.hint.set), "listener")

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=f"hub {name}"))

    async def stop(self) -> None:
        """Let go of everything; connections that are still open get no more events."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._own.dispose()

    async def wait_until_ready(self, seconds: float) -> bool:
        """Wait for the first sight of the log; False when it takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    def enter(self, connection: Connection) -> None:
        """Count a connection from now on, so that no loss of its rights is missed while it opens."""
        self.registry.enter(connection)
        self.hint.set()

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        connection.leave()
        self.registry.leave(connection)

    async def drain(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Refuse new streams and end the open ones, spread over up to DRAIN_SECONDS unless in a hurry."""
        self.is_draining = True
        connections = list(self.registry.all)
        pause = min(DRAIN_SECONDS / max(len(connections), 1), 0.02)
        for connection in connections:
            connection.end(Bye("draining", random.randint(500, 5000)))  # noqa: S311 - only spreads the load
            if not is_hurried():
                await asyncio.sleep(pause)
        for _ in range(100):
            if not self.registry.all or is_hurried():
                return
            await asyncio.sleep(0.01)

    async def _follow(self) -> None:
        """Read the log for ever; a lost connection is made again, at growing intervals."""
        failures = 0
        while True:
            try:
                async with self._own.system(autocommit=True) as session:
                    reader = LogReader(session)
                    await self._take_bearings(reader)
                    failures = 0
                    while True:
                        self.hint.clear()
                        if await self._turn(reader) < PAGE:
                            self._ready.set()
                            await self._rest()
            except Exception as error:
                log.warning("The streams' view of the log is lost, and is looked for: %s", error)
                await self._own.dispose()
                await asyncio.sleep(BACK_OFF[min(failures, len(BACK_OFF) - 1)])
                failures += 1

    async def _take_bearings(self, reader: LogReader) -> None:
        """Find out which log this is. Of another one than before, no cursor that was given out is good."""
        async with asyncio.timeout(TURN_SECONDS):
            salt, head, floor = await reader.bearings()
            epoch = epoch_of(salt, *await reader.server())
        if epoch == self.epoch and head >= self.position:
            return
        self._ready.clear()
        for connection in list(self.registry.all):
            connection.end(Bye("draining", 500))
        self.epoch = epoch
        # The newest events are read first, so that those who come back after a deployment are served by them.
        self.position = max(floor, head - RING_EVENTS)
        self.ring.clear(self.position)

    async def _turn(self, reader: LogReader) -> int:
        """Hand out what is new, in order; how much that was."""
        async with asyncio.timeout(TURN_SECONDS):
            events = [LogEvent(row, self.epoch) for row in await reader.after(self.position, PAGE)]
            shown = await expand(self._own, events)
        for number, event in enumerate(events):
            self.position = event.pos
            if event.audience != "internal":
                # Whoever comes back later gets the thing as it is then.
                self.ring.add(event)
                self.registry.offer(shown[number])
            await self._obey(event)
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)
        return len(events)

    async def _rest(self) -> None:
        """Wait for a hint, but not for long."""
        await asyncio.sleep(LEAST_PAUSE)
        busy = BUSY_PAUSE if self.settings.events_wake == "listen" else UNHINTED_PAUSE
        pause = busy if self.registry.all else IDLE_PAUSE
        try:
            async with asyncio.timeout(pause - LEAST_PAUSE):
                await self.hint.wait()
        except TimeoutError:
            pass

    async def _obey(self, event: LogEvent) -> None:
        """Let a loss of rights take effect before anything with a higher position is handed out."""
        for connection in ended_after(event, self.registry.all):
            connection.end(Bye("session_revoked"))
        concerned = concerned_by(event, self.registry.all)
        while concerned:
            try:
                await check(self._own, concerned, self._apply)
            except Exception as error:
                # Without an answer nobody may get more, and there is no more while the database is away.
                log.warning("Rights cannot be checked, trying again: %s", error)
                await asyncio.sleep(BACK_OFF[1])
            else:
                return

    def _apply(self, connection: Connection, rights: Rights, number: int) -> None:
        if rights.ended is not None:
            connection.end(Bye(rights.ended))
        else:
            self.registry.apply(connection, rights, number)

    async def _keep_house(self) -> None:
        """Each second: end what has ended, warn before it does; check all rights and renew leases in turn."""
        seconds = 0
        while True:
            await asyncio.sleep(1)
            seconds += 1
            try:
                now = clock.now()
                is_round = seconds % CHECK_SECONDS == 0
                due = [one for one in self.registry.all if one.is_open and (is_round or one.is_due(now))]
                await self._check_again(due)
                if seconds % RENEW_SECONDS == 0:
                    await self._renew_leases()
            except Exception as error:
                log.warning("Streams could not be looked after, trying again: %s", error)

    async def _check_again(self, connections: Sequence[Connection]) -> None:
        """Check rights without an event that says so; what waits under rights that are gone is dropped."""
        if not connections:
            return
        await check(self._own, connections, self._apply)
        now = clock.now()
        for connection in connections:
            connection.drop_unwanted()
            connection.warn_if_due(now)

    async def _renew_leases(self) -> None:
        held = [(one.counted_as, str(one.id)) for one in self.registry.all if one.counted_as is not None]
        if held:
            await self.limiter.renew_leases(LEASE, held)
