"""Commands to Stripe: called once, recorded once, tried again, and given up."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text

from app.clients.stripe import (
    StripeClient,
    StripeDeclined,
    StripeError,
    StripeMisconfigured,
    StripeMissing,
    StripeRefused,
    StripeUnavailable,
)
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.events import EventOutbox
from app.models.stripe_webhooks import StripeCommand
from app.services.stripe_webhooks.commands import StripeCommandRow, queue_command
from app.services.stripe_webhooks.effects import CustomerConflict
from app.services.stripe_webhooks.executing import execute
from app.services.stripe_webhooks.refusals import answer_to, error_kept, kept_error
from app.services.stripe_webhooks.sweeping import prune, sweep
from app.services.stripe_webhooks.trying import pause_after
from tests.support.personas import Persona
from tests.support.stripe_calls import CUSTOMER, RELEASE, Customer, Refund, ask, register
from tests.support.stripe_events import own_registrations
from tests.support.stripe_sandbox import StripeSandbox


@pytest.fixture
def calls(stripe_sandbox: StripeSandbox) -> Iterator[Customer]:
    assert stripe_sandbox.client
    with own_registrations():
        yield register()


async def queued(database: Database, alice: Persona, **params: Any) -> StripeCommandRow:
    async with database.transaction() as session:
        return await ask(session, alice.organization_id, **params)


async def done(database: Database, command: StripeCommandRow) -> StripeCommandRow:
    found = await execute(database, command.organization_id, command.id)
    assert found is not None
    return found


async def customers(stripe: StripeSandbox) -> int:
    return len([customer async for customer in stripe.client.pages("customers.list")])


async def test_command_when_it_succeeds(
    database: Database, alice: Persona, calls: Customer, stripe_sandbox: StripeSandbox
) -> None:
    command = await queued(database, alice, email="a@luneo.test")
    found = await done(database, command)
    assert (found.status, found.error, found.attempts) == ("succeeded", None, 1)
    assert calls.recorded == [found.result_id]
    assert calls.calls == [str(command.id)]
    assert await execute(database, command.organization_id, command.id) is None
    assert await customers(stripe_sandbox) == 1


async def test_command_when_the_transaction_is_rolled_back(
    database: Database, db: SystemSession, alice: Persona, calls: Customer
) -> None:
    async def fail() -> None:
        async with database.transaction() as session:
            await ask(session, alice.organization_id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await db.scalar(select(func.count()).select_from(StripeCommand)) == 0
    assert calls.calls == []


async def test_command_when_nobody_has_registered_its_kind(database: Database, alice: Persona) -> None:
    async with database.system() as session:
        with pytest.raises(LookupError):
            await ask(session, alice.organization_id, "test.unknown")


Behaviour = Callable[[StripeClient, dict[str, Any], str], Awaitable[dict[str, Any]]]


def fails(error: Exception) -> Behaviour:
    async def call(*_: Any) -> dict[str, Any]:
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StripeUnavailable("no answer"), "payment_provider_unavailable"),
        (StripeMisconfigured("AuthenticationError"), "payment_provider_misconfigured"),
        (RuntimeError("ours"), "payment_provider_error"),
    ],
)
async def test_command_when_it_may_succeed_later(
    database: Database,
    db: SystemSession,
    alice: Persona,
    calls: Customer,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: str,
) -> None:
    command = await queued(database, alice)
    with monkeypatch.context() as patch:
        patch.setattr(calls, "call", fails(error))
        found = await done(database, command)
    assert (found.status, found.attempts) == ("sent", 1)
    assert found.error is not None
    assert answer_to(error_kept(found.error)).code == code
    assert not calls.refusals
    row = await db.get_one(StripeCommand, (alice.organization_id, command.id))
    assert row.lease_until is None
    assert timedelta(seconds=4) < row.next_attempt_at - row.created_at < timedelta(seconds=30)
    again = await done(database, command)
    assert (again.status, again.error) == ("succeeded", None)


async def test_command_when_it_has_failed_too_often(
    database: Database,
    db: SystemSession,
    alice: Persona,
    calls: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = await queued(database, alice)
    monkeypatch.setattr(calls, "call", fails(StripeUnavailable("no answer")))
    monkeypatch.setattr(get_settings(), "stripe_event_max_attempts", 2)
    assert (await done(database, command)).status == "sent"
    assert (await done(database, command)).status == "failed"
    assert len(calls.refusals) == 1
    assert await alerts(db) == ["stripe.command_failed"]


async def alerts(db: SystemSession) -> list[str]:
    found = await db.scalars(select(EventOutbox.type).where(EventOutbox.type.like("stripe.%")))
    return sorted(found)


@pytest.mark.parametrize(
    ("error", "answered", "is_alert"),
    [
        (
            StripeDeclined("Your card…", code="card_declined", decline_code="lost_card"),
            (402, "card_declined"),
            False,
        ),
        (StripeMissing("No such customer", code="resource_missing"), (409, "provider_out_of_sync"), True),
        (StripeRefused("x", code="charge_already_refunded"), (409, "already_refunded"), False),
        (StripeRefused("Refund amount is greater than …", param="amount"), (409, "already_refunded"), False),
        (StripeRefused("x", code="amount_too_small"), (422, "amount_too_small"), False),
        (StripeRefused("x", code="amount_too_large"), (422, "amount_too_large"), False),
        (StripeRefused("x", code="idempotency_error"), (503, "payment_provider_error"), True),
        (StripeRefused("x", code="parameter_unknown"), (503, "payment_provider_error"), True),
    ],
)
async def test_command_when_stripe_refuses(
    database: Database,
    db: SystemSession,
    alice: Persona,
    calls: Customer,
    monkeypatch: pytest.MonkeyPatch,
    error: StripeError,
    answered: tuple[int, str],
    is_alert: bool,
) -> None:
    command = await queued(database, alice)
    monkeypatch.setattr(calls, "call", fails(error))
    found = await done(database, command)
    assert found.status == "failed"
    assert calls.refusals == [error]
    assert found.error is not None
    answer = answer_to(error_kept(found.error))
    assert (answer.status, answer.code) == answered
    assert "Your card" not in str(found.error)
    assert await alerts(db) == (["stripe.command_failed"] if is_alert else [])


async def test_command_when_the_payer_has_to_authenticate(
    database: Database, alice: Persona, calls: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = await queued(database, alice)
    intent = {"id": "pi_sbx1", "client_secret": "pi_sbx1_secret_x"}
    error = StripeDeclined("x", code="authentication_required", object=intent)
    monkeypatch.setattr(calls, "call", fails(error))
    found = await done(database, command)
    assert (found.status, found.result_id) == ("succeeded", "pi_sbx1")
    assert found.error is not None
    answer = answer_to(error_kept(found.error))
    assert (answer.status, answer.code) == (402, "payment_action_required")
    assert answer.extensions == {"client_secret": "pi_sbx1_secret_x"}
    assert not calls.refusals


async def test_command_when_its_object_is_somebody_elses(
    database: Database,
    db: SystemSession,
    alice: Persona,
    calls: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def conflict(*_: Any) -> None:
        raise CustomerConflict("cus_sbx1")

    command = await queued(database, alice)
    monkeypatch.setattr(calls, "succeeded", conflict)
    assert (await done(database, command)).status == "failed"
    assert await alerts(db) == ["stripe.command_failed", "stripe.customer_conflict"]


async def test_command_when_the_record_fails(
    database: Database,
    alice: Persona,
    calls: Customer,
    stripe_sandbox: StripeSandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def defect(*_: Any) -> None:
        raise RuntimeError

    command = await queued(database, alice)
    with monkeypatch.context() as patch:
        patch.setattr(calls, "succeeded", defect)
        assert (await done(database, command)).status == "sent"
    assert (await done(database, command)).status == "succeeded"
    assert await customers(stripe_sandbox) == 1


async def age(db: SystemSession, command: StripeCommandRow, hours: int) -> None:
    row = await db.get_one(StripeCommand, (command.organization_id, command.id))
    row.first_sent_at = row.created_at - timedelta(hours=hours)
    await db.commit()


@pytest.mark.parametrize("was_done", [True, False])
async def test_command_when_stripe_may_have_forgotten_its_key(
    database: Database,
    db: SystemSession,
    alice: Persona,
    calls: Customer,
    stripe_sandbox: StripeSandbox,
    was_done: bool,
) -> None:
    command = await queued(database, alice)
    if was_done:
        await stripe_sandbox.call("customers.create", metadata={"command_id": str(command.id)})
    await age(db, command, 24)
    found = await done(database, command)
    assert found.status == "succeeded"
    assert await customers(stripe_sandbox) == 1
    assert len(calls.calls) == (0 if was_done else 1)


async def test_command_when_it_is_old_and_cannot_be_looked_for(
    database: Database,
    db: SystemSession,
    alice: Persona,
    calls: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = await queued(database, alice)
    await age(db, command, 24)
    monkeypatch.setattr(calls, "find", Refund().find)
    assert (await done(database, command)).status == "failed"
    assert calls.calls == []
    assert await alerts(db) == ["stripe.command_failed"]


@pytest.mark.commits
async def test_command_when_two_workers_take_it_at_once(
    database: Database,
    alice: Persona,
    calls: Customer,
    stripe_sandbox: StripeSandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = calls.call

    async def slowly(client: StripeClient, params: dict[str, Any], key: str) -> dict[str, Any]:
        await asyncio.sleep(0.2)  # Time for the other, who finds it taken, or done if it comes later.
        return await create(client, params, key)

    monkeypatch.setattr(calls, "call", slowly)
    command = await queued(database, alice)
    found = await asyncio.gather(*(execute(database, command.organization_id, command.id) for _ in range(2)))
    assert sum(outcome is None for outcome in found) == 1
    assert calls.calls == [str(command.id)]
    assert len(calls.recorded) == await customers(stripe_sandbox) == 1


async def jobs(db: SystemSession) -> int:
    found = await db.scalar(
        text("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'run_stripe_command'")
    )
    return int(found or 0)


async def test_sweep_when_jobs_are_lost(
    database: Database, db: SystemSession, alice: Persona, calls: Customer
) -> None:
    command = await queued(database, alice)
    await db.execute(text("DELETE FROM procrastinate_jobs"))
    await db.commit()
    assert calls.calls == []
    await sweep(database)
    assert await jobs(db) == 0
    row = await db.get_one(StripeCommand, (alice.organization_id, command.id))
    row.next_attempt_at -= timedelta(minutes=3)
    await db.commit()
    await sweep(database)
    assert await jobs(db) == 1
    await sweep(database)
    assert await jobs(db) == 1


async def test_prune_when_commands_are_old(
    database: Database, db: SystemSession, alice: Persona, calls: Customer
) -> None:
    old, young, open_ = [await queued(database, alice) for _ in range(3)]
    for command in (old, young):
        await done(database, command)
    for command in (old, open_):
        row = await db.get_one(StripeCommand, (alice.organization_id, command.id), populate_existing=True)
        row.created_at -= timedelta(days=401)
    await db.commit()
    await prune(database)
    left = set(await db.scalars(select(StripeCommand.id)))
    assert left == {young.id, open_.id}
    assert len(calls.recorded) == 2


async def test_release_when_a_lease_is_over(
    database: Database, db: SystemSession, alice: Persona, calls: Customer
) -> None:
    command = await queued(database, alice)
    await db.execute(
        text("UPDATE stripe_commands SET status = 'sent', lease_until = now() + interval '90 s'")
    )
    await db.commit()
    assert await execute(database, command.organization_id, command.id) is None
    await db.execute(RELEASE)
    await db.commit()
    assert (await done(database, command)).status == "succeeded"
    assert len(calls.calls) == 1


def test_pause_when_attempts_grow() -> None:
    for attempts, seconds in ((1, 5), (2, 10), (5, 80), (11, 3600), (24, 3600), (10**6, 3600)):
        assert 0.9 * seconds <= pause_after(attempts).total_seconds() <= 1.1 * seconds


def test_error_when_it_is_kept_and_read_again() -> None:
    error = StripeRefused("text", code="a", param="b", status=400, request_id="req_1")
    read = error_kept(kept_error(error))
    assert type(read) is StripeRefused
    assert kept_error(read) == kept_error(error)


async def test_command_when_its_owner_writes_it(database: Database, alice: Persona, calls: Customer) -> None:
    async with database.acting(alice.principal) as session:
        command = await queue_command(
            session,
            alice.organization_id,
            CUSTOMER,
            subject_type="test",
            subject_id=alice.user_id,
            params={},
        )
    assert (await done(database, command)).status == "succeeded"
    assert len(calls.calls) == 1
