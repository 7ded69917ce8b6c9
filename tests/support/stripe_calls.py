"""Small calls to Stripe that tests register, and processes that die before they can record the answer."""

import asyncio
import logging
import multiprocessing
import os
import signal
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from app.clients.stripe import StripeClient, StripeError, sandbox_client, use_client
from app.clients.stripe.sandbox.sandbox import Sandbox
from app.clients.stripe.sandbox.store import FileStore
from app.core.database import Database, SystemSession, create_engine
from app.jobs.app import load_areas
from app.services.stripe_webhooks.commands import (
    StripeCall,
    StripeCommandRow,
    marked,
    queue_command,
    stripe_command,
)
from app.services.stripe_webhooks.executing import execute

_processes = multiprocessing.get_context("forkserver")

load_areas()  # The fork server imports this module, so that its processes find everything there.

CUSTOMER, REFUND = "test.customer", "test.refund"

RELEASE = text(
    "UPDATE stripe_commands SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL"
)
"""What the end of a lease is to everybody else."""


class Customer(StripeCall):
    """Creates a customer. Notes what it was told, so that tests can count."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.recorded: list[str] = []
        self.refusals: list[StripeError] = []

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        self.calls.append(key)
        sent = {**params, "metadata": marked({}, key)}
        return await client.call("customers.create", params=sent, key=key)

    async def succeeded(self, _: SystemSession, command: StripeCommandRow, result: dict[str, Any]) -> None:
        assert command.kind == CUSTOMER
        self.recorded.append(result["id"])

    async def refused(self, _: SystemSession, command: StripeCommandRow, error: StripeError) -> None:
        assert command.kind == CUSTOMER
        self.refusals.append(error)

    async def find(self, client: StripeClient, command: StripeCommandRow) -> dict[str, Any] | None:
        async for customer in client.pages("customers.list"):
            if customer["metadata"].get("command_id") == str(command.id):
                return customer
        return None


class Refund(StripeCall):
    """Refunds a payment; it cannot be looked for."""

    async def call(self, client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        return await client.call("refunds.create", params=params, key=key)


def register() -> Customer:
    """Register both calls; inside `own_registrations()`. Answers the one that counts."""
    made: list[Customer] = []

    class Counted(Customer):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    stripe_command(CUSTOMER)(Counted)
    stripe_command(REFUND)(Refund)
    return made[0]


async def ask(
    session: SystemSession,
    organization_id: UUID,
    kind: str = CUSTOMER,
    *,
    delay: timedelta = timedelta(),
    **params: Any,
) -> StripeCommandRow:
    """Queue a command of a test."""
    return await queue_command(
        session,
        organization_id,
        kind,
        subject_type="test",
        subject_id=uuid4(),
        params=params,
        delay=delay,
    )


def start_doomed(url: str, path: Path, organization_id: UUID, command_id: UUID) -> ForkServerProcess:
    """A process that runs the command and is killed when Stripe has answered, before it records anything."""
    _processes.set_forkserver_preload([__name__])
    process = _processes.Process(target=_run_and_die, args=(url, path, organization_id, command_id))
    process.start()
    return process


def _run_and_die(url: str, path: Path, organization_id: UUID, command_id: UUID) -> None:
    logging.disable(logging.ERROR)
    asyncio.run(_die_after_the_answer(url, path, organization_id, command_id))


async def _die_after_the_answer(url: str, path: Path, organization_id: UUID, command_id: UUID) -> None:
    client = sandbox_client(Sandbox(FileStore(path), "http://api.luneo.test/sandbox/stripe"))
    answer = client.call

    async def call(*arguments: Any, **options: Any) -> dict[str, Any]:
        await answer(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a killed process goes on")

    client.call = call  # type: ignore[method-assign]  # this process ends with its first answer
    use_client(client)
    register()
    await execute(Database(create_engine(url, pool_size=1)), organization_id, command_id)
