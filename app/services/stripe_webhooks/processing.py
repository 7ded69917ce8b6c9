"""Owns the processing of an event: count the attempt, fetch the object, apply it once."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from app.clients.stripe import StripeClient, stripe_client
from app.core.access import STRIPE, Principal
from app.core.config import get_settings
from app.core.database import Database, SystemSession, act_as
from app.core.events import emit
from app.models.stripe_webhooks import StripeEvent
from app.repositories.stripe_webhooks.events import EventRepository
from app.services.stripe_webhooks.binding import bind, organization_exists, owners_of, reference_exists
from app.services.stripe_webhooks.effects import (
    CustomerConflict,
    EventDead,
    EventOutrun,
    EventUnresolved,
    Registered,
    StripeEventRow,
    effects_of,
)
from app.services.stripe_webhooks.events import StripeCustomerConflict, StripeEventDied
from app.services.stripe_webhooks.fetching import fetch_for, id_of, metadata_id, objects_named
from app.services.stripe_webhooks.trying import pause_after, short, told

logger = structlog.get_logger(__name__)

PATIENCE = timedelta(minutes=10)
"""How long an event waits for what it is about: our own commit may be late."""

FETCHES = 3
"""How often an object without an event is fetched whose fetching others outrun."""

ACTOR = Principal(kind="system", name=STRIPE)


class _EndedMeanwhileError(Exception):
    """Another job has ended the event; nothing of this one may be kept."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    """What Stripe says, and the effects that are to apply it."""

    content: dict[str, Any]
    effects: list[Registered]


async def process_event(database: Database, event_id: str) -> None:
    """Process one event of the inbox; nothing happens for one that is not pending.

    Raises only what the database raises when it is away: the sweep brings the event back then.
    """
    async with database.transaction() as session:
        taken = await EventRepository(session).begin(event_id)
        if taken is None:
            return
        event, attempts = _row_of(taken.event, taken.fetched_at), taken.event.attempts
    try:
        fetched = await _fetch(stripe_client(), event)
        if not fetched.effects:
            await _skip(database, event, "no_effect")
            return
        await _apply(database, event, fetched)
    except _EndedMeanwhileError:
        return
    except EventDead as error:
        await _bury(database, event, error)
    except EventUnresolved as error:
        await _wait_or_give_up(database, event, attempts, error)
    except Exception as error:
        logger.warning("stripe_event_failed", event_id=event.id, type=event.type, **told(error))
        await _put_off(database, event, attempts, error)


async def sync_object(database: Database, event_type: str, hint: dict[str, Any]) -> None:
    """Fetch an object and let the effects of this type of event apply it, without an event.

    For what learns otherwise that a mirror is old: reconciliation, refusals. What is up to date stays as it
    is. Raises EventUnresolved, EventDead, and the errors of the client.
    """
    for _ in range(FETCHES):
        with suppress(EventOutrun):
            await _sync(database, event_type, hint)
            return
    raise EventUnresolved("others change it all the time")


async def _sync(database: Database, event_type: str, hint: dict[str, Any]) -> None:
    async with database.system(autocommit=True) as session:
        now = await EventRepository(session).moment()
    event = StripeEventRow(
        id=f"sync:{hint.get('id')}",
        type=event_type,
        livemode=stripe_client().livemode,
        created_at=now,
        received_at=now,
        fetched_at=now,
        object_type=hint.get("object"),
        object_id=id_of(hint),
        hint=hint,
        organization_id=None,
    )
    fetched = await _fetch(stripe_client(), event)
    async with database.transaction(principal=ACTOR) as session:
        await _run_effects(session, event, fetched)


def _row_of(row: StripeEvent, fetched_at: Any) -> StripeEventRow:
    data = row.payload.get("data")
    return StripeEventRow(
        id=row.id,
        type=row.type,
        livemode=row.livemode,
        created_at=row.stripe_created_at,
        received_at=row.received_at,
        fetched_at=fetched_at,
        object_type=row.object_type,
        object_id=row.object_id,
        # A payload that was removed for its age leaves what the object was called.
        hint=data["object"] if isinstance(data, dict) else {"id": row.object_id, "object": row.object_type},
        organization_id=row.organization_id,
    )


async def _fetch(client: StripeClient, event: StripeEventRow) -> _Fetched:
    """The object as it is now, and whatever else the effects ask for; no transaction is open."""
    effects = effects_of(event.type)
    if not effects:
        return _Fetched({}, effects)
    content = await fetch_for(client, event.type, event.hint)
    for registered in effects:
        if registered.also is not None:
            content = {**content, **await registered.also(client, content)}
    return _Fetched(content, effects)


async def _apply(database: Database, event: StripeEventRow, fetched: _Fetched) -> None:
    """The third step: every effect and the event's end, or nothing."""
    async with database.transaction(principal=ACTOR) as session:
        owner, words = await _run_effects(session, event, fetched)
        has_ended = await EventRepository(session).close(
            event.id, "done", organization_id=owner, result={"applied": words}
        )
        if not has_ended:
            raise _EndedMeanwhileError


async def _run_effects(
    session: SystemSession, event: StripeEventRow, fetched: _Fetched
) -> tuple[UUID | None, list[str]]:
    """Run the effects one after another under the lock on the object; answers its organisation too."""
    await act_as(session, actor_type="stripe", actor_id=event.id, stripe_event_id=event.id)
    await EventRepository(session).lock_object(id_of(fetched.content) or event.object_id or event.id)
    owner = await _owner_of(session, event, fetched.content)
    if owner is None and not all(registered.is_platform for registered in fetched.effects):
        raise EventUnresolved("no organisation of ours is named")
    row = StripeEventRow(
        **{name: getattr(event, name) for name in event.__dataclass_fields__ if name != "organization_id"},
        organization_id=owner,
    )
    words = [await registered.effect(session, fetched.content, row) for registered in fetched.effects]
    return owner, [word or "applied" for word in words]


async def _owner_of(session: SystemSession, event: StripeEventRow, content: dict[str, Any]) -> UUID | None:
    """The organisation by the ids that the object names, else by its metadata; what it names is bound.

    CustomerConflict when the ids belong to several.
    """
    named = {**objects_named(event.hint), **objects_named(content)}
    owners = await owners_of(session, list(named))
    owner = next(iter(owners.values()), None)
    for stripe_id, other in owners.items():
        if other != owner:
            raise CustomerConflict(stripe_id)
    if owner is None:
        claimed = metadata_id(content, "organization_id")
        owner = claimed if claimed is not None and await organization_exists(session, claimed) else None
    if owner is not None:
        for stripe_id, object_type in named.items():
            await bind(session, stripe_id, object_type, owner)
    return owner


async def _skip(database: Database, event: StripeEventRow, reason: str) -> None:
    async with database.transaction() as session:
        await EventRepository(session).close(event.id, "skipped", result={"skipped": reason})


async def _wait_or_give_up(
    database: Database, event: StripeEventRow, attempts: int, error: EventUnresolved
) -> None:
    """Wait for ten minutes; then an event that names us is dead, and one of somebody else's is skipped."""
    if event.fetched_at - event.received_at < PATIENCE:
        await _put_off(database, event, attempts, error)
        return
    async with database.system(autocommit=True) as session:
        is_ours = await _names_us(session, event)
    if is_ours:
        await _bury(database, event, EventDead("unresolved", str(error)))
    else:
        await _skip(database, event, "not_ours")


async def _names_us(session: SystemSession, event: StripeEventRow) -> bool:
    if await owners_of(session, list(objects_named(event.hint))):
        return True
    organization_id = metadata_id(event.hint, "organization_id")
    if organization_id is not None and await organization_exists(session, organization_id):
        return True
    order_id = metadata_id(event.hint, "order_id")
    return order_id is not None and await reference_exists(session, order_id)


async def _put_off(database: Database, event: StripeEventRow, attempts: int, error: Exception) -> None:
    """Try again after a pause; the last attempt buries the event."""
    if attempts >= get_settings().stripe_event_max_attempts:
        await _bury(database, event, EventDead("too_many_attempts", short(error)))
        return
    async with database.transaction() as session:
        events = EventRepository(session)
        until = await session.now() + pause_after(attempts)
        if await events.put_off(event.id, until=until, error=short(error)):
            await events.wake(event.id, at=until)


async def _bury(database: Database, event: StripeEventRow, error: EventDead) -> None:
    """Let an event rest until an operator retries it, and alert them."""
    async with database.transaction() as session:
        if not await EventRepository(session).close(event.id, "dead", error=short(error)):
            return
        facts: dict[str, Any] = {
            "id": event.id,
            "stripe_id": event.object_id,
            "organization_id": event.organization_id,
            "error": short(error),
        }
        await emit(session, StripeEventDied(**facts, event_type=event.type))
        if isinstance(error, CustomerConflict):
            conflict = {**facts, "stripe_id": error.stripe_id}
            await emit(session, StripeCustomerConflict(**conflict, kind=event.type))
    logger.error("Alert: an event of Stripe is dead", event_id=event.id, type=event.type, code=error.code)
