"""Commands to Stripe when processes are killed and answers are lost: each has its effect once."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.clients.stripe import StripeClient, sandbox_client, use_client
from app.clients.stripe.sandbox.sandbox import Sandbox
from app.clients.stripe.sandbox.store import FileStore
from app.core.database import Database, SystemSession
from app.models.stripe_webhooks import StripeCommand
from app.services.stripe_webhooks.commands import StripeCommandRow
from app.services.stripe_webhooks.executing import execute
from tests.support.personas import Persona
from tests.support.stripe_calls import CUSTOMER, REFUND, RELEASE, ask, register, start_doomed
from tests.support.stripe_events import own_registrations
from tests.support.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.commits

KILLS = 20


@pytest.fixture
def shared_path(tmp_path: Path) -> Path:
    return tmp_path / "stripe.json"


@pytest.fixture
def shared(shared_path: Path) -> Iterator[StripeClient]:
    """A sandbox in a file, which several processes have in common."""
    client = sandbox_client(Sandbox(FileStore(shared_path), "http://api.luneo.test/sandbox/stripe"))
    before = use_client(client)
    with own_registrations():
        register()
        yield client
    use_client(before)


async def payment(client: StripeClient, amount: int) -> str:
    sent = {
        "amount": amount,
        "currency": "eur",
        "payment_method": "pm_card_visa",
        "confirm": True,
    }
    found = await client.call("payment_intents.create", params=sent)
    assert found["status"] == "succeeded"
    return str(found["id"])


async def every(client: StripeClient, operation: str) -> list[dict[str, Any]]:
    return [found async for found in client.pages(operation, params={"limit": 100})]


async def kill(database: Database, path: Path, command: StripeCommandRow) -> int | None:
    """Let a process of its own run the command and die; answers its exit code."""
    url = database.engine.url.render_as_string(hide_password=False)
    process = await asyncio.to_thread(start_doomed, url, path, command.organization_id, command.id)
    await asyncio.to_thread(process.join, 120)
    return process.exitcode


async def test_commands_when_their_workers_are_killed_before_they_record(
    database: Database, db: SystemSession, alice: Persona, shared: StripeClient, shared_path: Path
) -> None:
    intent = await payment(shared, 100 * KILLS)
    async with database.transaction() as session:
        commands = [
            await ask(session, alice.organization_id, REFUND, payment_intent=intent, amount=100)
            if number % 2
            else await ask(session, alice.organization_id, CUSTOMER, email=f"{number}@luneo.test")
            for number in range(KILLS)
        ]
    for first in range(0, KILLS, 4):
        codes = await asyncio.gather(
            *(kill(database, shared_path, command) for command in commands[first : first + 4])
        )
        assert set(codes) == {-signal.SIGKILL}
    rows = list(await db.scalars(select(StripeCommand)))
    assert [(row.status, row.attempts, row.result_id) for row in rows] == [("sent", 1, None)] * KILLS
    assert all([await execute(database, row.organization_id, row.id) is None for row in rows])
    await db.execute(RELEASE)
    await db.commit()
    found = [await execute(database, command.organization_id, command.id) for command in commands]
    assert [row.status for row in found if row] == ["succeeded"] * KILLS
    refunds, customers = await every(shared, "refunds.list"), await every(shared, "customers.list")
    assert len(refunds) == len(customers) == KILLS // 2
    assert sum(refund["amount"] for refund in refunds) == 100 * KILLS // 2
    assert {row.result_id for row in found if row} == {item["id"] for item in [*refunds, *customers]}


@pytest.mark.parametrize(
    ("fault", "times"),
    [("timeout_after", 6), ("timeout_before", 6), ("connection_reset", 6), ("http_500", 6), ("not_json", 2)],
)
async def test_command_when_the_answer_is_lost(
    database: Database, alice: Persona, stripe_sandbox: StripeSandbox, fault: str, times: int
) -> None:
    """Whether Stripe had done it or not; the library tries three times itself where there was no answer."""
    with own_registrations():
        register()
        async with database.transaction() as session:
            command = await ask(session, alice.organization_id, email="a@luneo.test")
        await stripe_sandbox.plan_fault(fault, times=times, method="POST", path="/v1/customers")
        outcomes = [await execute(database, command.organization_id, command.id) for _ in range(3)]
    assert [row.status for row in outcomes if row] == ["sent", "sent", "succeeded"]
    assert len(await every(stripe_sandbox.client, "customers.list")) == 1
