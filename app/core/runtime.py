"""The database of a process: the one that the settings name, or the embedded server while it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.core.config import Settings, use_settings
from app.core.embedded import EmbeddedPostgres, kept_running

DATABASE = "luneo"
"""The database in the embedded server."""


@contextmanager
def running_database(settings: Settings) -> Iterator[str]:
    """The address of the database, which is reachable inside the block.

    Without DATABASE_URL the embedded server under DATA_DIR/postgres runs inside the block, and the settings
    of the process name it meanwhile. Several processes share it; the last one stops it. A server that a
    killed process left running is taken over, and one that is killed itself is started again. Blocks; raises
    EmbeddedPostgresError when there can be none.
    """
    if settings.database_url is not None:
        yield settings.database_url
        return
    server = EmbeddedPostgres(settings.data_dir / "postgres")
    server.start()
    try:
        server.create_database(DATABASE)
        url = server.url(DATABASE)
        use_settings(database_url=url)
        with kept_running(server):
            yield url
    finally:
        use_settings(database_url=None)
        server.stop()
