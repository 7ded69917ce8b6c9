"""Looking names up without ever holding up the event loop, or those who look up others."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence

MOST_LOOKUPS = 512
"""Lookups of one process at once. A thread that waits for a dead name server cannot be called back, and waits
on for some ten seconds: so there are more than there are requests at once, lest it keeps good names waiting.
"""

PAUSE_SECONDS = 0.05

Resolver = Callable[[str], Awaitable[Sequence[str]]]
"""Name to addresses, in the order in which they are best tried; socket.gaierror when there are none."""

_free = threading.BoundedSemaphore(MOST_LOOKUPS)


async def look_up(name: str) -> list[str]:
    """The addresses of a name, by the system's resolver; socket.gaierror.

    Runs in a thread of its own, which ends with its lookup even if nobody waits for it any more. The threads
    of the loop's executor are few, and belong to others; daemon threads do not hold up the process's end.
    """
    while not _free.acquire(blocking=False):  # noqa: ASYNC110 - threads release it, of whatever loop.
        await asyncio.sleep(PAUSE_SECONDS)
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()
    threading.Thread(target=_run, args=(name, loop, found), name="look-up", daemon=True).start()
    return await found


def _run(name: str, loop: asyncio.AbstractEventLoop, found: asyncio.Future[list[str]]) -> None:
    result: list[str] | BaseException
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        result = list(dict.fromkeys(str(address[0]) for *_, address in answers))
    except (OSError, UnicodeError) as error:
        result = error
    finally:
        _free.release()
    with contextlib.suppress(RuntimeError):  # The loop has ended meanwhile.
        loop.call_soon_threadsafe(_settle, found, result)


def _settle(found: asyncio.Future[list[str]], result: list[str] | BaseException) -> None:
    if found.done():  # Nobody waits any more.
        return
    if isinstance(result, BaseException):
        found.set_exception(result)
    else:
        found.set_result(result)
