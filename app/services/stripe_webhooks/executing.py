"""Owns the calls to Stripe: lease a command, call, record; and the form of routes that wait for them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import structlog
from fastapi import Request

from app.clients.stripe import StripeClient, StripeError, StripeMissing, StripeUnavailable, stripe_client
from app.core import clock
from app.core.access import STRIPE, Principal
from app.core.config import get_settings
from app.core.database import Database, OwnerSession, act_as
from app.core.errors import AppError, Conflict, translate_constraint
from app.core.events import emit
from app.core.idempotency import KEPT, claim_of, still_running
from app.core.ids import uuid7
from app.repositories.stripe_webhooks.commands import LEASE, OPEN, CommandRepository
from app.repositories.stripe_webhooks.queue import wake_reconciliation
from app.services.stripe_webhooks.commands import OutcomeUnknown, StripeCommandRow, command_of
from app.services.stripe_webhooks.effects import CustomerConflict
from app.services.stripe_webhooks.events import StripeCommandFailed, StripeCustomerConflict
from app.services.stripe_webhooks.processing import sync_object
from app.services.stripe_webhooks.refusals import (
    TRANSIENT,
    answer_to,
    error_kept,
    is_our_defect,
    kept_error,
    needs_authentication,
    require_stripe,
)
from app.services.stripe_webhooks.trying import pause_after, short, told

logger = structlog.get_logger(__name__)

KEY_REMEMBERED = timedelta(hours=23)
"""Stripe forgets idempotency keys after 24 hours at the earliest."""

ACTOR = Principal(kind="system", name=STRIPE)

LONGEST_CALL = LEASE - timedelta(seconds=10)
"""Whoever holds a lease has stopped calling before it ends, retries of the library included."""

PATIENCE = timedelta(seconds=5)
PAUSE = 0.1
"""How long a request waits for somebody else's call, and how many seconds pass between two looks."""

translate_constraint("stripe_commands_pkey", still_running())

Prepare = Callable[[OwnerSession, UUID], Awaitable[StripeCommandRow]]
"""Locks, checks, writes the local row, and queues the command under the id that it is given."""


async def in_three_steps(
    session: OwnerSession, database: Database, request: Request, prepare: Prepare
) -> StripeCommandRow:
    """Prepare a command, call Stripe, record: for routes that answer with what Stripe says.

    `session` is the request's own: it is given up during the call (whatever it wrote is lost), and what the
    route reads and writes with it afterwards sees the outcome. `prepare` runs in a transaction of its own
    and calls `queue_command(…, command_id=…, delay=IN_REQUEST)` with the id that it gets. A repeat with the
    same `Idempotency-Key` finds the command instead of preparing another. Answers the succeeded command;
    raises the AppError of section 6 of the Stripe page, or 409 while somebody else is calling.
    """
    return _answered(await tried_in_three_steps(session, database, request, prepare))


async def tried_in_three_steps(
    session: OwnerSession, database: Database, request: Request, prepare: Prepare
) -> StripeCommandRow:
    """The same, but a command that Stripe refused or did not hear is answered with its `error`.

    For routes whose own change stands whatever Stripe says; `refusal_of` is what the error means.
    """
    principal = session.principal
    assert principal is not None  # noqa: S101 - an OwnerSession of a route has one
    require_stripe()
    await session.rollback()
    session.info.pop("now", None)  # What it does afterwards happens in another transaction, at another time.
    async with database.acting(principal, request_id=session.info.get("request_id")) as own:
        command, is_repeat = await _prepared(own, principal, request, prepare)
    if command.status in OPEN:
        done = await execute(database, command.organization_id, command.id)
        # A repeat is told to come back; another request that wants the same gets it, too.
        patience = timedelta() if is_repeat else PATIENCE
        command = await _outcome(database, command, patience) if done is None else done
    return command


async def _prepared(
    session: OwnerSession, principal: Principal, request: Request, prepare: Prepare
) -> tuple[StripeCommandRow, bool]:
    """The command that the request's idempotency key made before, or a new one; whether it is a repeat."""
    assert principal.organization_id is not None  # noqa: S101 - commands belong to organisations
    command_id = _id_of_request(request, principal)
    found = await CommandRepository(session).find(principal.organization_id, command_id)
    while found is not None and found.created_at < clock.now() - KEPT:
        # The key is free again: the id that follows from the old one stands for its next use.
        command_id = _derived(str(command_id))
        found = await CommandRepository(session).find(principal.organization_id, command_id)
    if found is not None:
        return StripeCommandRow.of(found), True
    return await prepare(session, command_id), False


def _id_of_request(request: Request, principal: Principal) -> UUID:
    """The id that follows from the idempotency key, so that a repeat after a crash finds the command."""
    claim = claim_of(request.scope)
    if claim is None:
        return uuid7()
    route = f"{request.scope['method']} {request.scope['path']}"
    return _derived(f"{principal.organization_id} {principal.limit_key} {route} {claim.key}")


def _derived(content: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"stripe command {content}")


async def _outcome(database: Database, command: StripeCommandRow, patience: timedelta) -> StripeCommandRow:
    """What became of a command that somebody else has taken; 409 when they take longer than `patience`."""
    until = clock.now() + patience
    while True:
        # No connection is held while waiting.
        async with database.system(autocommit=True) as session:
            found = await CommandRepository(session).find(command.organization_id, command.id)
        if found is not None and (found.status not in OPEN or found.lease_until is None):
            return StripeCommandRow.of(found)
        if found is None or clock.now() >= until:
            raise still_running()
        await asyncio.sleep(PAUSE)


def _answered(command: StripeCommandRow) -> StripeCommandRow:
    """The command when Stripe did what it was told; else the refusal that its error stands for."""
    refusal = refusal_of(command)
    if refusal is not None:
        raise refusal
    return command


def refusal_of(command: StripeCommandRow) -> AppError | None:
    """What a caller is answered for a command that did not succeed."""
    kept = command.error
    if kept is None:
        return None
    if kept.get("kind") == CustomerConflict.__name__:
        return Conflict("customer_conflict", "This payment object belongs to another organisation.")
    return answer_to(error_kept(kept))


async def execute(database: Database, organization_id: UUID, command_id: UUID) -> StripeCommandRow | None:
    """Send an open command to Stripe and record the outcome; None when somebody else has it, or it ended.

    What is answered has status `sent` and an `error` when it is to be tried again: the job does so.
    """
    async with database.transaction() as session:
        taken = await CommandRepository(session).take(organization_id, command_id)
        if taken is None:
            return None
        command, now = StripeCommandRow.of(taken), await session.now()
    try:
        result = await _call(stripe_client(), command, now)
    except TRANSIENT as error:
        return await _put_off(database, command, error)
    except OutcomeUnknown as error:
        return await _fail(database, command, {"kind": type(error).__name__, "message": str(error)})
    except StripeError as error:
        return await _refused(database, command, error)
    except Exception as error:
        logger.error("stripe_command_broken", command_id=str(command.id), kind=command.kind, **told(error))
        return await _put_off(database, command, error)
    return await _succeeded(database, command, result)


async def _call(client: StripeClient, command: StripeCommandRow, now: datetime) -> dict[str, Any]:
    """Call with the command's id as the key; after 23 hours look first whether it was done."""
    handler = command_of(command.kind)
    if command.first_sent_at is not None and command.first_sent_at < now - KEY_REMEMBERED:
        found = await handler.find(client, command)
        if found is not None:
            return found
    try:
        async with asyncio.timeout(LONGEST_CALL.total_seconds()):
            return await handler.call(client, command.params, str(command.id))
    except TimeoutError:
        raise StripeUnavailable("no answer while the lease lasted") from None


async def _succeeded(
    database: Database, command: StripeCommandRow, result: dict[str, Any]
) -> StripeCommandRow | None:
    try:
        async with database.transaction(principal=ACTOR) as session:
            commands = CommandRepository(session)
            is_first = await commands.finish(
                command.organization_id, command.id, status="succeeded", result=result
            )
            if is_first:
                await act_as(session, actor_type="stripe", actor_id=str(command.id))
                await command_of(command.kind).succeeded(session, command, result)
    except CustomerConflict as error:
        return await _fail(
            database, command, {"kind": type(error).__name__, "message": str(error)}, conflict=error.stripe_id
        )
    except Exception as error:
        # Stripe has done it, so it is asked again with the same key until it can be recorded.
        logger.error(
            "stripe_command_unrecorded", command_id=str(command.id), kind=command.kind, **told(error)
        )
        return await _put_off(database, command, error)
    return await _now(database, command)


async def _refused(
    database: Database, command: StripeCommandRow, error: StripeError
) -> StripeCommandRow | None:
    """A refusal is final; what Stripe holds instead is fetched afterwards and applied."""
    if needs_authentication(error):
        async with database.transaction(principal=ACTOR) as session:
            kept = {**kept_error(error), "object": error.object}
            commands = CommandRepository(session)
            await commands.finish(
                command.organization_id, command.id, status="succeeded", result=error.object, error=kept
            )
        return await _now(database, command)
    async with database.transaction(principal=ACTOR) as session:
        is_first = await CommandRepository(session).finish(
            command.organization_id, command.id, status="failed", error=kept_error(error)
        )
        if is_first:
            await act_as(session, actor_type="stripe", actor_id=str(command.id))
            await command_of(command.kind).refused(session, command, error)
            if is_our_defect(error) or isinstance(error, StripeMissing):
                await _alert(session, command, kept_error(error))
            if isinstance(error, StripeMissing):
                await wake_reconciliation(session)
    await _resync(database, command, error)
    return await _now(database, command)


async def _resync(database: Database, command: StripeCommandRow, error: StripeError) -> None:
    """Fetch and apply the object whose state made Stripe refuse, if the kind names one."""
    named = command_of(command.kind).resync(command, error)
    if named is None:
        return
    try:
        await sync_object(database, *named)
    except Exception as reason:
        # The refusal stands either way; the nightly reconciliation finds what is still missing.
        logger.warning("stripe_resync_failed", command_id=str(command.id), kind=command.kind, **told(reason))


async def _put_off(
    database: Database, command: StripeCommandRow, error: Exception
) -> StripeCommandRow | None:
    """Let go of the lease and try again after a pause; the last attempt fails."""
    kept = (
        kept_error(error) if isinstance(error, StripeError) else {"kind": "Defect", "message": short(error)}
    )
    if command.attempts >= get_settings().stripe_event_max_attempts:
        return await _fail(database, command, kept)
    async with database.transaction() as session:
        commands = CommandRepository(session)
        until = await session.now() + pause_after(command.attempts)
        await commands.put_off(command.organization_id, command.id, until=until, error=kept)
        await commands.wake(command.organization_id, command.id, at=until, once=True)
    return await _now(database, command)


async def _fail(
    database: Database, command: StripeCommandRow, kept: dict[str, Any], *, conflict: str | None = None
) -> StripeCommandRow | None:
    """Give a command up: whatever waited for it is given back, and a person has to look."""
    async with database.transaction(principal=ACTOR) as session:
        is_first = await CommandRepository(session).finish(
            command.organization_id, command.id, status="failed", error=kept
        )
        if is_first:
            await act_as(session, actor_type="stripe", actor_id=str(command.id))
            await command_of(command.kind).refused(session, command, error_kept(kept))
            await _alert(session, command, kept)
            if conflict is not None:
                await emit(
                    session,
                    StripeCustomerConflict(**_facts(command, kept, conflict), kind=command.kind),
                    organization_id=command.organization_id,
                )
    return await _now(database, command)


async def _alert(session: Any, command: StripeCommandRow, kept: dict[str, Any]) -> None:
    facts = _facts(command, kept, command.result_id)
    await emit(
        session,
        StripeCommandFailed(**facts, kind=command.kind),
        organization_id=command.organization_id,
    )
    logger.error(
        "Alert: a command to Stripe has failed",
        command_id=str(command.id),
        kind=command.kind,
        error=facts["error"],
    )


def _facts(command: StripeCommandRow, kept: dict[str, Any], stripe_id: str | None) -> dict[str, Any]:
    words = [str(kept[name]) for name in ("kind", "code", "param") if kept.get(name)]
    return {
        "id": str(command.id),
        "stripe_id": stripe_id,
        "organization_id": command.organization_id,
        "error": " ".join(words),
    }


async def _now(database: Database, command: StripeCommandRow) -> StripeCommandRow | None:
    """The command as it stands; None when it went with its organisation."""
    async with database.system(autocommit=True) as session:
        found = await CommandRepository(session).find(command.organization_id, command.id)
    return None if found is None else StripeCommandRow.of(found)
