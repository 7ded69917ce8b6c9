"""Owns the watch over the embedded server: it is started again when it has gone without being told to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from app.core.embedded.programs import EmbeddedPostgresError
from app.core.embedded.server import EmbeddedPostgres

logger = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
"""How often the server is looked at: as long as a killed one may go unnoticed."""

START_SECONDS = 60.0
"""How long it may take to start, which includes what a crash has left to recover."""

RETRY_SECONDS = 5.0
"""How soon a start that failed is tried again."""


@contextmanager
def kept_running(server: EmbeddedPostgres) -> Iterator[None]:
    """Start the server again whenever it is found gone inside the block, by a thread of its own.

    Several processes may watch one server: one of them starts it, and the others find it running. The block
    ends before `server.stop()` is called, so that nobody starts what is being stopped.
    """
    is_over = threading.Event()
    watch = threading.Thread(target=_watch, args=(server, is_over), name="embedded-postgres", daemon=True)
    watch.start()
    try:
        yield
    finally:
        is_over.set()
        watch.join()


def _watch(server: EmbeddedPostgres, is_over: threading.Event) -> None:
    pause = LOOK_SECONDS
    while not is_over.wait(pause):
        pause = LOOK_SECONDS
        if server.is_running:
            continue
        if not (server.data / "PG_VERSION").exists():
            # To start it now would make an empty database, in the place of one that somebody may put back.
            logger.error("embedded_postgres_data_gone", data=str(server.data))
            pause = RETRY_SECONDS
            continue
        logger.error("embedded_postgres_gone", data=str(server.data))
        try:
            server.start(timeout=START_SECONDS)
        except EmbeddedPostgresError as error:
            logger.error("embedded_postgres_not_started", reason=str(error))
            pause = RETRY_SECONDS
        else:
            logger.warning("embedded_postgres_started_again", data=str(server.data))
