"""The fixtures of the whole suite: real PostgreSQL, the real application, real credentials."""

import gc
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

# The settings are read when the application is imported, so the environment is set before that.
os.environ.update(
    ENVIRONMENT="test",
    DATA_DIR=str(Path(tempfile.gettempdir()) / f"luneo-test-data-{os.getpid()}"),
    SECRET_KEYS="t1:5/THQwpc9qSsOSKQpESqwCTzlMWREwcc8lxdYi/ibo8=",
    PUBLIC_URL="http://api.luneo.test",
    APP_URL="http://app.luneo.test",
    LOG_LEVEL="ERROR",
    WORKER="external",
)

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from app.clients.oauth import id_tokens
from app.core import collector, reads
from app.core import database as database_module
from app.core.database import Database, SystemSession, create_engine
from app.core.key_calls import KeyCalls
from app.core.limits import Limiter
from app.main import create_app
from tests.support.cluster import Cluster
from tests.support.personas import Persona, make_colleague, make_owner

if TYPE_CHECKING:
    from tests.support.exercised import Exercised  # pytest imports it as a plugin, to rewrite its assertions

pytest_plugins = [
    "tests.support.exercised",
    "tests.support.keys",
    "tests.support.mail_providers",
    "tests.support.programs",
    "tests.support.redis",
    "tests.support.s3_server",
    "tests.support.smtp_sink",
    "tests.support.stripe_sandbox",
]


# Where many requests meet, the last one waits for all the others, on a slow machine longer than a service
# lets anybody wait.
database_module.LOCK_TIMEOUT = "60s"
reads.PATIENCE_SECONDS = 60


# Collecting makes a million objects that all stay; without looking at them it takes a third less.
gc.disable()


def pytest_collection_finish() -> None:
    collector.settle()
    gc.enable()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The embedded server of this run."""
    running = Cluster()
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def worker_name(request: pytest.FixtureRequest) -> str:
    return str(getattr(request.config, "workerinput", {}).get("workerid", "main"))


@pytest.fixture(scope="session")
async def worker_engine(cluster: Cluster, worker_name: str) -> AsyncIterator[AsyncEngine]:
    """The engine over this worker's clone, in which nothing is ever committed."""
    engine = create_engine(await cluster.clone(f"luneo_{worker_name}"), pool_size=4)
    yield engine
    await engine.dispose()


@pytest.fixture
async def database(
    request: pytest.FixtureRequest, cluster: Cluster, worker_name: str, worker_engine: AsyncEngine
) -> AsyncIterator[Database]:
    """The test's database: an outer transaction that is rolled back, or with `commits` a clone of its own."""
    if request.node.get_closest_marker("commits"):
        name = f"luneo_{worker_name}_commits"
        database = Database(create_engine(await cluster.clone(name), pool_size=20))
        yield database
        await database.dispose()
        await cluster.drop(name)
        return
    async with worker_engine.connect() as connection:
        transaction = await connection.begin()
        yield Database(worker_engine, connection)
        await transaction.rollback()


@pytest.fixture
async def db(database: Database) -> AsyncIterator[SystemSession]:
    """An unscoped session for factories and for looking at rows."""
    async with database.system() as session:
        yield session


@pytest.fixture(scope="session")
def application() -> FastAPI:
    """The application, built once; each test gives it its own database."""
    return create_app()


@pytest.fixture
def app(application: FastAPI, database: Database) -> Iterator[FastAPI]:
    application.state.database = database
    application.state.limiter = Limiter(None)
    application.state.key_calls = KeyCalls()
    id_tokens._kept.clear()  # Keys of providers, perhaps asked for at a moved time.
    yield application
    application.state.database = None


@pytest.fixture
async def client(app: FastAPI, exercised: "Exercised") -> AsyncIterator[AsyncClient]:
    """Speaks HTTP to the application in this process, and records which routes answered with success."""
    transport = ASGITransport(app=exercised.recording(app))
    async with AsyncClient(transport=transport, base_url="http://api.luneo.test") as http:
        yield http


@pytest.fixture
async def alice(db: SystemSession) -> Persona:
    """Owns an organisation."""
    return await make_owner(db, "alice")


@pytest.fixture
async def bob(db: SystemSession, alice: Persona) -> Persona:
    """Works in Alice's organisation with rights to look."""
    return await make_colleague(db, alice, "bob")


@pytest.fixture
async def charlie(db: SystemSession) -> Persona:
    """A stranger who owns another organisation."""
    return await make_owner(db, "charlie")


@pytest.fixture
def statements(database: Database) -> Callable[[], AbstractContextManager[list[str]]]:
    """Records the SQL statements inside a block: `with statements() as seen: …`, without savepoints."""

    @contextmanager
    def recorder() -> Iterator[list[str]]:
        seen: list[str] = []

        def note(_c, _cursor, statement: str, *_rest: object) -> None:
            if not statement.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN", "COMMIT")):
                seen.append(statement)

        target = database.engine.sync_engine
        event.listen(target, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(target, "before_cursor_execute", note)

    return recorder
