"""Keys over several real processes, one database and one Redis: the exact hour, and what is logged."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from httpx import AsyncClient, Limits

from app.core.database import Database, SystemSession
from tests.factories.integrations import make_api_key_row
from tests.support.personas import Persona
from tests.support.redis import RedisServer
from tests.support.service import Service, serving

pytestmark = pytest.mark.commits

RATE = 100
REQUESTS = 200


@pytest.fixture
def servers(database: Database, redis_server: RedisServer, tmp_path: Path) -> Iterator[list[Service]]:
    """Two server processes that share the test's database and a Redis."""
    shared = {
        "ENVIRONMENT": "test",
        "SECRET_KEYS": os.environ["SECRET_KEYS"],
        "PUBLIC_URL": os.environ["PUBLIC_URL"],
        "DATABASE_URL": database.engine.url.render_as_string(hide_password=False),
        "REDIS_URL": redis_server.url,
        "WORKER": "external",
        "LOG_LEVEL": "INFO",
        "DATABASE_POOL_SIZE": "8",
    }
    with ExitStack() as stack:
        yield [
            stack.enter_context(serving(**shared, DATA_DIR=str(tmp_path / name))) for name in ("one", "two")
        ]


async def test_key_when_two_processes_serve_it(
    servers: list[Service], db: SystemSession, alice: Persona
) -> None:
    async with AsyncClient(timeout=60, limits=Limits(max_connections=50)) as http:
        await count_an_hour(http, servers, db, alice)
        await revoke_at_the_other(http, servers, db, alice)
        written = await use_and_stop(http, servers[0], db, alice)
    assert written.count("/api/products") >= 4


async def count_an_hour(http: AsyncClient, servers: list[Service], db: SystemSession, alice: Persona) -> None:
    """Exactly as many requests pass as the key has in an hour, whichever process they come to."""
    key, secret = await make_api_key_row(db, owner=alice, rate_limit=RATE)
    headers = {"X-API-Key": secret}
    addresses = [f"{servers[number % 2].url}/api/products" for number in range(REQUESTS)]
    answers = await asyncio.gather(*(http.get(address, headers=headers) for address in addresses))
    assert Counter(answer.status_code for answer in answers) == {200: RATE, 429: REQUESTS - RATE}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) > 0
    key.rate_limit = RATE * 3
    await db.commit()
    for server in servers:
        assert (await http.get(f"{server.url}/api/products", headers=headers)).status_code == 200


async def revoke_at_the_other(
    http: AsyncClient, servers: list[Service], db: SystemSession, alice: Persona
) -> None:
    """What one process revokes is refused by all with the next request."""
    key, secret = await make_api_key_row(db, owner=alice)
    one, two = servers
    by_key = {"X-API-Key": secret}
    assert (await http.get(f"{two.url}/api/products", headers=by_key)).status_code == 200
    address = f"{one.url}/api/integrations/api-keys/{key.id}"
    assert (await http.delete(address, headers=alice.headers)).status_code == 204
    for server in servers:
        refused = await http.get(f"{server.url}/api/products", headers=by_key)
        assert (refused.status_code, refused.json()["code"]) == (401, "api_key_invalid")


async def use_and_stop(http: AsyncClient, server: Service, db: SystemSession, alice: Persona) -> str:
    """What a process has logged of a key that was sent in every way, right and wrong."""
    _, secret = await make_api_key_row(db, owner=alice)
    asked = f"{server.url}/api/products"
    assert (await http.get(asked, headers={"X-API-Key": secret})).status_code == 200
    assert (await http.get(asked, headers={"Authorization": f"Bearer {secret}"})).status_code == 200
    assert (await http.get(asked, params={"api_key": secret})).status_code == 401
    assert (await http.get(f"{server.url}/api/{secret}")).status_code == 404
    assert (await http.get(asked, headers={"X-API-Key": secret[:-1]})).status_code == 401
    server.stop()
    written = "".join(server.errors)
    assert secret[11:40] not in written
    return written
