"""Captures that are told of while a command waits for the lock on their order: each has its effect once."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, text

from app.core.database import Database, SystemSession, act_as
from app.models.orders import OrderPayment, OrderSettings
from app.models.realtime import EventLog
from app.models.stripe_webhooks import StripeCommand
from app.services.orders.applying import PaymentApplier
from app.services.orders.provider import CAPTURE
from app.services.orders.verifying import report_money
from app.services.stripe_webhooks.commands import queue_command
from app.services.stripe_webhooks.executing import ACTOR, execute
from tests.factories.products import make_product
from tests.support.personas import Persona
from tests.support.stripe_orders import act, pay, place, read, settle, states
from tests.support.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.commits

WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)

Work = Callable[[PaymentApplier], Awaitable[None]]


async def authorised(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe: StripeSandbox
) -> tuple[UUID, str]:
    """An order whose payment is authorised, and its intent."""
    db.add(OrderSettings(organization_id=alice.organization_id, capture_method="manual"))
    await db.commit()
    order = await place(client, alice, await make_product(db, owner=alice, price=12345))
    await pay(stripe, order)
    await settle(client, stripe, database)
    payment = (await db.execute(select(OrderPayment))).scalar_one()
    assert payment.status == "authorized"
    intent = str(payment.stripe_payment_intent_id)
    await db.rollback()
    return UUID(order["id"]), intent


async def while_waiting(
    database: Database, db: SystemSession, alice: Persona, order_id: UUID, task: Awaitable[object], work: Work
) -> None:
    """Do this on a locked order once `task` waits for the lock, and let that go on afterwards."""
    async with database.transaction(principal=ACTOR) as session:
        await act_as(session, actor_type="stripe", actor_id="test")
        applier = PaymentApplier(session, alice.organization_id, "test")
        await applier.take(order_id)
        waiting = asyncio.ensure_future(task)
        async with asyncio.timeout(60):
            while not await db.scalar(WAITING):
                await db.rollback()
        await db.rollback()
        await work(applier)
    await waiting


async def test_capture_when_it_is_told_of_while_a_cancellation_waits(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """Stripe captures, and our cancellation finds that out: the money goes back once, and nothing breaks."""
    order_id, intent = await authorised(client, db, database, alice, stripe_sandbox)
    order = {"id": str(order_id)}
    await act(client, alice, order, "cancel", reason="changed their mind")
    captured = await stripe_sandbox.call("payment_intents.capture", intent)
    kind = StripeCommand.kind == "payment_intent.cancel"
    command_id = (await db.execute(select(StripeCommand.id).where(kind))).scalar_one()
    await db.rollback()

    async def hear_of_it(applier: PaymentApplier) -> None:
        await applier.apply_payment(await applier.take(order_id), captured)

    work = execute(database, alice.organization_id, command_id)
    await while_waiting(database, db, alice, order_id, work, hear_of_it)
    command = await db.get_one(StripeCommand, (alice.organization_id, command_id))
    assert (command.status, command.attempts) == ("succeeded", 1)
    await settle(client, stripe_sandbox, database)
    told = await read(client, alice, order)
    assert states(told) == ("cancelled", "refunded", None)
    assert [refund["amount"] for refund in told["refunds"]] == [12345]
    assert await report_money(db) == 0


async def test_capture_when_it_is_told_of_before_its_answer_is_written_down(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, stripe_sandbox: StripeSandbox
) -> None:
    """The command finds the payment applied: the buyer is thanked once."""
    order_id, intent = await authorised(client, db, database, alice, stripe_sandbox)
    async with database.transaction(principal=ACTOR) as session:
        command = await queue_command(
            session,
            alice.organization_id,
            CAPTURE,
            subject_type="order_payment",
            subject_id=order_id,
            params={"payment_intent": intent},
        )

    async def hear_of_it(applier: PaymentApplier) -> None:
        captured = await stripe_sandbox.call("payment_intents.retrieve", intent)
        await applier.apply_payment(await applier.take(order_id), captured)

    work = execute(database, alice.organization_id, command.id)
    await while_waiting(database, db, alice, order_id, work, hear_of_it)
    await settle(client, stripe_sandbox, database, times=2)
    paid = select(func.count()).select_from(EventLog).where(EventLog.type == "order.paid")
    assert await db.scalar(paid) == 1
    assert await report_money(db) == 0
