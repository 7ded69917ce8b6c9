"""A whole installation for fault tests: service and database as processes, to be killed and started again."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import psycopg
from httpx import AsyncClient, Limits

from app.core.embedded import EmbeddedPostgres
from app.core.embedded.locks import lock_exclusive
from tests.support.accounts import DEVICE_KEY, PASSWORD, bearer, sign_in, sign_up
from tests.support.service import Service

UNLIMITED = {
    f"LIMIT_{name}": "1000000/1m"
    for name in (
        "SESSION",
        "PRODUCTS_READ",
        "PRODUCTS_WRITE",
        "ORDERS_READ",
        "ORDERS_CREATE",
        "ORDERS_WRITE",
        "REFRESH",
    )
}
"""The tests load the service as no single caller may."""


UNLIMITED_PLAN = """
    UPDATE plans SET limits = limits || '{"orders": null, "products": null}' WHERE code = 'free'
    """
"""Nor do they subscribe to anything."""


class Installation:
    """One directory with everything; ends only the processes that were started over it."""

    def __init__(self) -> None:
        # Not pytest's own directory, which the account that the database server drops to could not enter.
        self.home = Path(tempfile.mkdtemp(prefix="luneo-fault-"))
        self.home.chmod(0o755)
        self.postgres = EmbeddedPostgres(self.home / "data" / "postgres")
        self.service: Service | None = None

    @property
    def url(self) -> str:
        assert self.service is not None
        return self.service.url

    def start(self) -> None:
        """Start the service unless it runs; returns when it has said that it is ready."""
        if self.service is None:
            # Tokens name their issuer, so its address stays while the port changes with every start.
            here = {"DATA_DIR": str(self.home / "data"), "PUBLIC_URL": "http://api.luneo.test"}
            self.service = Service(**here, **UNLIMITED)
            with psycopg.connect(self.postgres.url("luneo", driver="")) as connection:
                connection.execute(UNLIMITED_PLAN)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.service is not None
        code, _ = self.service.stop()
        self.service = None
        return code

    def kill(self) -> None:
        """SIGKILL to the service alone; its database server runs on."""
        assert self.service is not None
        code, _ = self.service.stop(signal.SIGKILL)
        assert code == -signal.SIGKILL
        self.service = None

    def kill_database(self) -> None:
        """SIGKILL to the database's first process, and wait until no process of it is left."""
        home = str((self.home / "data" / "postgres").resolve())
        first = psutil.Process(int(Path(home, "postmaster.pid").read_text().split()[0]))
        assert first.cwd() == home
        family = [first, *first.children(recursive=True)]
        os.kill(first.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while any(map(_lives, family)):
            assert time.monotonic() < deadline, family
            time.sleep(0.05)

    @contextlib.contextmanager
    def without_database(self) -> Iterator[None]:
        """Kill the database, which the service can start again when the block has ended."""
        with self.postgres.data.with_name("postgres.lock").open("a") as lock:
            lock_exclusive(lock.fileno())
            self.kill_database()
            yield

    async def until_it_serves(self, http: AsyncClient) -> None:
        """Wait until a signed-in person is served again; readiness would be told as it was some time ago."""
        for _ in range(1200):
            if (await http.get("/api/orders")).status_code == 200:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("no orders were served in a minute")

    def client(self) -> AsyncClient:
        """Speaks HTTP to the service as it runs now, over as many connections as are asked for."""
        limits = Limits(max_connections=100, max_keepalive_connections=100)
        return AsyncClient(base_url=self.url, timeout=60, limits=limits, trust_env=False)

    async def rows(self, statement: str, *values: Any) -> list[Any]:
        """What stands in the database."""
        connection = await asyncpg.connect(self.postgres.url("luneo", driver=""))
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    def destroy(self) -> None:
        """End what still runs and delete everything."""
        try:
            if self.service is not None:
                self.service.stop(signal.SIGKILL)
        finally:
            self.postgres.destroy()
            shutil.rmtree(self.home, ignore_errors=True)


def _lives(process: psutil.Process) -> bool:
    """Whether a process still does something; one that only waits to be asked after does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Shop:
    """A new owner with a session, as somebody who has just signed up has one."""

    def __init__(self, http: AsyncClient, email: str, session: dict[str, Any]) -> None:
        self.http = http
        self.email = email
        self.session = session
        self.headers = bearer(session)
        self.organization_id = str(session["organization"]["id"])
        http.headers.update(self.headers)

    async def product(self, name: str, *, stock: int, price: int = 4900) -> str:
        """The id of a new product."""
        body = {"name": name, "price": price, "currency": "EUR", "status": "active", "stock": stock}
        answer = await self.http.post("/api/products", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


def basket(*product_ids: str, quantity: int = 1, **more: Any) -> dict[str, Any]:
    """The body of an order of these products that is to be paid by hand."""
    return {
        "items": [{"product_id": product_id, "quantity": quantity} for product_id in product_ids],
        "customer": {"email": "anna@example.test"},
        "payment_method": "manual",
        **more,
    }


async def open_shop(http: AsyncClient, email: str) -> Shop:
    """Sign up, read the mail, confirm and sign in, all over HTTP."""
    answer = await sign_up(http, email)
    assert answer.status_code == 202, answer.text
    mail, _ = await mail_to(http, email)
    confirmed = await http.post("/api/auth/confirm", json={"email": email, "code": mail["code"]})
    assert confirmed.status_code == 200, confirmed.text
    opened = await sign_in(http, email, PASSWORD, key=DEVICE_KEY)
    assert opened.status_code == 200, opened.text
    return Shop(http, email, opened.json())


async def mail_to(http: AsyncClient, address: str, *, patience: float = 60) -> tuple[dict[str, Any], float]:
    """The newest mail to an address, and how many seconds it took to come."""
    began = time.monotonic()
    while time.monotonic() < began + patience:
        found = (await http.get("/sandbox/mail.json", params={"to": address})).json()["items"]
        if found:
            return found[0], time.monotonic() - began
        await asyncio.sleep(0.02)
    raise AssertionError(f"no mail to {address} in {patience} seconds")
