"""Requests that wait for Stripe's answer: prepared, called and recorded, once for each `Idempotency-Key`."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import Request
from sqlalchemy import func, select, text

from app.clients.stripe import StripeDeclined, StripeUnavailable, use_client
from app.core.config import get_settings
from app.core.database import Database, OwnerSession, SystemSession
from app.core.errors import AppError
from app.core.idempotency import SCOPE_KEY, Claim
from app.models.stripe_webhooks import StripeCommand
from app.services.stripe_webhooks.commands import IN_REQUEST, StripeCommandRow, queue_command
from app.services.stripe_webhooks.executing import execute, in_three_steps
from tests.support.personas import Persona
from tests.support.stripe_calls import CUSTOMER, RELEASE, Customer, register
from tests.support.stripe_events import own_registrations
from tests.support.stripe_sandbox import StripeSandbox


@pytest.fixture
def calls(stripe_sandbox: StripeSandbox) -> Iterator[Customer]:
    assert stripe_sandbox.client
    with own_registrations():
        yield register()


def request_with(key: str | None = None) -> Request:
    """A request as the idempotency layer hands it on."""
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/x",
        "query_string": b"",
        "headers": [],
    }
    if key is not None:
        scope[SCOPE_KEY] = Claim(scope, key)
    return Request(scope)


async def prepare(session: OwnerSession, command_id: UUID) -> StripeCommandRow:
    principal = session.principal
    assert principal is not None
    assert principal.organization_id is not None
    assert principal.user_id is not None
    return await queue_command(
        session,
        principal.organization_id,
        CUSTOMER,
        subject_type="person",
        subject_id=principal.user_id,
        params={},
        command_id=command_id,
        delay=IN_REQUEST,
    )


@asynccontextmanager
async def session_of(database: Database, person: Persona) -> AsyncIterator[OwnerSession]:
    async with database.owner(person.principal) as session:
        yield session


async def run(database: Database, person: Persona, key: str | None = None) -> StripeCommandRow:
    async with session_of(database, person) as session:
        return await in_three_steps(session, database, request_with(key), prepare)


async def count(db: SystemSession) -> int:
    return int(await db.scalar(select(func.count()).select_from(StripeCommand)) or 0)


async def test_steps_when_all_goes_well(
    database: Database, db: SystemSession, alice: Persona, calls: Customer
) -> None:
    command = await run(database, alice)
    assert (command.status, command.result_id) == ("succeeded", calls.recorded[0])
    waits = "SELECT scheduled_at - now() FROM procrastinate_jobs WHERE task_name = 'run_stripe_command'"
    left: timedelta = (await db.execute(text(waits))).scalar_one()
    assert timedelta(seconds=20) < left <= IN_REQUEST


async def test_steps_when_the_session_is_open(
    database: Database, alice: Persona, calls: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the request had begun is given up before Stripe is called, and it goes on afterwards."""
    held: list[bool] = []
    async with session_of(database, alice) as session:
        await session.now()
        create = calls.call

        async def call(*arguments: Any) -> dict[str, Any]:
            held.append(session.in_transaction())
            return await create(*arguments)

        monkeypatch.setattr(calls, "call", call)
        command = await in_three_steps(session, database, request_with(), prepare)
        found = await session.get_one(StripeCommand, (alice.organization_id, command.id))
        assert found.status == "succeeded"
    assert held == [False]


async def test_steps_when_the_process_dies_before_its_answer(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona, calls: Customer
) -> None:
    """No record of the answer exists then; the command that follows from the key does."""
    first = await run(database, alice, "key-1")
    again = await run(database, alice, "key-1")
    assert (first.id, first.result_id) == (again.id, again.result_id)
    assert len(calls.calls) == 1
    others = [await run(database, alice, "key-2"), await run(database, charlie, "key-1")]
    assert len({first.id, *(other.id for other in others)}) == 3
    row = await db.get_one(StripeCommand, (alice.organization_id, first.id))
    row.created_at -= timedelta(hours=25)
    await db.commit()
    later = await run(database, alice, "key-1")
    assert later.id != first.id
    assert (await run(database, alice, "key-1")).id == later.id
    assert await count(db) == 4


async def test_steps_when_the_process_dies_while_it_calls(
    database: Database, db: SystemSession, alice: Persona, calls: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: Any) -> dict[str, Any]:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(calls, "call", die)
        with pytest.raises(asyncio.CancelledError):
            await run(database, alice, "key-1")
    with pytest.raises(AppError) as refused:
        await run(database, alice, "key-1")
    assert (refused.value.status, refused.value.code) == (409, "idempotency_in_progress")
    await db.execute(RELEASE)
    await db.commit()
    assert (await run(database, alice, "key-1")).status == "succeeded"
    assert await count(db) == len(calls.calls) == 1


@pytest.mark.commits
async def test_steps_when_a_key_is_sent_twice_at_once(
    database: Database, db: SystemSession, alice: Persona, calls: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, let_go = calls.call, asyncio.Event()

    async def slowly(*arguments: Any) -> dict[str, Any]:
        await let_go.wait()
        return await create(*arguments)

    monkeypatch.setattr(calls, "call", slowly)
    tasks = [asyncio.create_task(run(database, alice, "key-1")) for _ in range(2)]
    (refused,), (winner,) = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert refused.exception() is not None, "the other is under way"
    let_go.set()
    assert isinstance(await winner, StripeCommandRow)
    assert await count(db) == len(calls.calls) == 1


async def test_steps_when_stripe_refuses_or_is_away(
    database: Database, alice: Persona, calls: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def declined(*_: Any) -> dict[str, Any]:
        raise StripeDeclined("Your card…", decline_code="insufficient_funds")

    async def away(*_: Any) -> dict[str, Any]:
        raise StripeUnavailable("no answer")

    for behaviour, status, code in (
        (declined, 402, "card_declined"),
        (away, 503, "payment_provider_unavailable"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(calls, "call", behaviour)
            for _ in range(2):  # The refusal is kept with the command; what may succeed is tried again.
                with pytest.raises(AppError) as refused:
                    await run(database, alice, code)
                assert (refused.value.status, refused.value.code) == (status, code)
    command = await run(database, alice, "payment_provider_unavailable")
    assert command.status == "succeeded"
    assert await execute(database, command.organization_id, command.id) is None
    assert len(calls.refusals) == 1


async def test_steps_when_production_has_no_key(
    database: Database, db: SystemSession, alice: Persona, calls: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "environment", "production")
    before = use_client(None)
    try:
        with pytest.raises(AppError) as refused:
            await run(database, alice)
    finally:
        use_client(before)
    assert (refused.value.status, refused.value.code) == (503, "billing_not_configured")
    assert await count(db) == len(calls.calls) == 0
