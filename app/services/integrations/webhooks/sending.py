"""Sends a delivery: takes it, sends it outside every transaction, records what came of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.core.access import Principal
from app.core.database import Database, SystemSession
from app.core.errors import Unavailable
from app.core.events import emit
from app.core.ids import uuid7
from app.models.integrations import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from app.repositories.integrations.webhooks import (
    AttemptRepository,
    DeliveryRepository,
    EndpointRepository,
    SecretRepository,
)
from app.repositories.integrations.webhooks.queue import Waiting, wake_deliveries, wake_drain, wake_ping
from app.services.integrations.webhooks.events import WebhookDeliveryExhausted, WebhookEndpointRecovered
from app.services.integrations.webhooks.health import HEALTHY, Verdict, after_failure, after_success
from app.services.integrations.webhooks.outcomes import Message, Outcome, send
from app.services.integrations.webhooks.patterns import wants
from app.services.integrations.webhooks.schedule import asked_wait, next_wait
from app.services.integrations.webhooks.signing import readable
from app.services.integrations.webhooks.telling import facts_of, held_count, tell_disabled, tell_failing

SENDER = Principal(kind="system", name="webhooks")

LEASE = timedelta(seconds=60)
"""An attempt without an outcome after this has lost its worker."""

AT_ONCE = 5
AT_ONCE_FAILING = 1
"""Requests to one endpoint at the same time; one that has failed lately occupies few senders."""

UNREADABLE_PAUSE = timedelta(hours=1)

EARLY = timedelta(seconds=1)
"""A job that comes sooner than this before its time leaves the delivery to the one that is to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A delivery that this worker sends."""

    organization_id: UUID
    endpoint_id: UUID
    delivery_id: UUID
    attempt_id: UUID
    number: int
    message: Message


async def deliver(
    database: Database, organization_id: UUID, endpoint_id: UUID, delivery_id: UUID
) -> Outcome | None:
    """Send a delivery if it is due and nobody else does; None when nothing was sent."""
    try:
        async with database.transaction(principal=SENDER) as session:
            taken = await take(session, organization_id, endpoint_id, delivery_id)
    except Unavailable:
        taken = None
        await leave_alone(database, organization_id, endpoint_id)
    if taken is None:
        return None
    outcome = await send(taken.message)
    async with database.transaction(principal=SENDER) as session:
        await record(session, taken, outcome)
    return outcome


async def leave_alone(database: Database, organization_id: UUID, endpoint_id: UUID) -> None:
    """Hold what waits for an endpoint whose secrets nobody can read, and ping it in an hour.

    By then its owner may have rotated them, or the operator brought their key back into the ring.
    """
    async with database.transaction(principal=SENDER) as session:
        endpoint = await EndpointRepository(session).lock(organization_id, endpoint_id)
        if endpoint is not None and endpoint.status == "active":
            values = {"circuit": "open", "circuit_until": await session.now() + UNREADABLE_PAUSE}
            endpoint = await EndpointRepository(session).change(organization_id, endpoint_id, values)
            await follow(session, endpoint, Verdict(values=values, opens=True))


async def take(
    session: SystemSession, organization_id: UUID, endpoint_id: UUID, delivery_id: UUID
) -> Taken | None:
    """Lease a delivery, or the one whose turn it is; None when none is to be sent now, after noting why.

    Jobs come in any order, so each is a turn of its endpoint rather than of its own delivery. 503
    `key_unavailable` when nothing can be signed.
    """
    endpoint = await EndpointRepository(session).lock(organization_id, endpoint_id)
    if endpoint is None:
        return None
    deliveries = DeliveryRepository(session)
    delivery = await deliveries.lock(organization_id, delivery_id, skip_locked=True)
    now = await session.now()
    if delivery is None or not _is_due(delivery, now):
        # The turn of another delivery may have been used for this one.
        delivery = await deliveries.first_in_line(organization_id, endpoint_id, now + EARLY)
    if delivery is None:
        return None
    event = await _event_of(session, endpoint, delivery, now)
    if event is None:
        return None
    if endpoint.status != "active" or endpoint.circuit != "closed":
        held = {"status": "held", "next_attempt_at": None, "lease_until": None}
        await deliveries.change(organization_id, delivery.id, held)
        return None
    others = await deliveries.count_sending(organization_id, endpoint_id, now, other_than=delivery.id)
    if others >= (AT_ONCE_FAILING if endpoint.failure_count else AT_ONCE):
        # The next request that ends lets it go; a job that came back every second would be one per delivery.
        await deliveries.change(organization_id, delivery.id, {"status": "held", "next_attempt_at": now})
        return None
    return await _begin_oldest(session, endpoint, delivery, event, now)


async def _event_of(
    session: SystemSession, endpoint: WebhookEndpoint, delivery: WebhookDelivery, now: datetime
) -> tuple[str, str | None] | None:
    """What the delivery carries; None, and it is cancelled, when there is nothing to send any more."""
    deliveries = DeliveryRepository(session)
    event = await deliveries.event(delivery.event_id)
    if event is None or endpoint.disabled_reason == "gone" or not wants(endpoint.events, delivery.event_type):
        await deliveries.change(delivery.organization_id, delivery.id, _finished("cancelled", now))
        return None
    return event


def _is_due(delivery: WebhookDelivery, now: datetime) -> bool:
    """Whether it waits for this moment, or was lost by whoever sent it."""
    if delivery.status == "sending":
        return delivery.lease_until is None or delivery.lease_until <= now
    if delivery.status not in ("pending", "retrying"):
        return False
    return delivery.next_attempt_at is None or delivery.next_attempt_at <= now + EARLY


async def _begin_oldest(
    session: SystemSession,
    endpoint: WebhookEndpoint,
    delivery: WebhookDelivery,
    event: tuple[str, str | None],
    now: datetime,
) -> Taken | None:
    """Begin what waits, or is held, of earlier events first.

    A delivery for which a held one goes waits in the place of that one: so nothing overtakes what is let go
    step by step, and no more goes at once than was let go.
    """
    organization_id, deliveries = delivery.organization_id, DeliveryRepository(session)
    older = await deliveries.first_in_line(organization_id, endpoint.id, now + EARLY, before=delivery)
    if older is None:
        return await _begin(session, endpoint, delivery, event, now)
    if older.status == "held":
        waits = {"status": "held", "next_attempt_at": older.next_attempt_at, "lease_until": None}
        await deliveries.change(organization_id, delivery.id, waits)
    older_event = await _event_of(session, endpoint, older, now)
    return None if older_event is None else await _begin(session, endpoint, older, older_event, now)


async def _begin(
    session: SystemSession,
    endpoint: WebhookEndpoint,
    delivery: WebhookDelivery,
    event: tuple[str, str | None],
    now: datetime,
) -> Taken:
    """Write the attempt, and answer what is to be sent."""
    organization_id, number = delivery.organization_id, delivery.attempts + 1
    live = await SecretRepository(session).live(organization_id, endpoint.id, now)
    attempt = WebhookAttempt(
        organization_id=organization_id,
        id=uuid7(),
        delivery_id=delivery.id,
        endpoint_id=endpoint.id,
        number=number,
        trigger="manual" if delivery.attempts and delivery.cycle_attempts == 0 else "auto",
        started_at=now,
    )
    await AttemptRepository(session).add(attempt)
    leased = {
        "status": "sending",
        "attempts": number,
        "cycle_attempts": delivery.cycle_attempts + 1,
        "lease_until": now + LEASE,
        "next_attempt_at": now + LEASE,
    }
    await DeliveryRepository(session).change(organization_id, delivery.id, leased)
    message = Message(
        url=endpoint.url,
        secrets=readable(live),
        message_id=delivery.event_id,
        body=event[0].encode(),
        trace_id=event[1],
    )
    return Taken(
        organization_id=organization_id,
        endpoint_id=endpoint.id,
        delivery_id=delivery.id,
        attempt_id=attempt.id,
        number=number,
        message=message,
    )


async def record(session: SystemSession, taken: Taken, outcome: Outcome) -> None:
    """Write down what came of it and what follows; nothing for an endpoint that is gone meanwhile."""
    organization_id = taken.organization_id
    endpoint = await EndpointRepository(session).lock(organization_id, taken.endpoint_id)
    if endpoint is None:
        return
    delivery = await DeliveryRepository(session).lock(organization_id, taken.delivery_id)
    await AttemptRepository(session).finish(organization_id, taken.attempt_id, outcome.columns())
    if delivery is None or delivery.attempts != taken.number or delivery.status != "sending":
        # The lease was over, and somebody else sends it again.
        return
    now = await session.now()
    if outcome.is_success:
        await _succeed(session, endpoint, delivery, outcome, now)
    elif outcome.error_code == "gone":
        await _end_endpoint(session, endpoint, delivery, outcome, now)
    else:
        await _fail(session, endpoint, delivery, outcome, now)
    await _let_next(session, organization_id, taken.endpoint_id, now)


async def _let_next(session: SystemSession, organization_id: UUID, endpoint_id: UUID, now: datetime) -> None:
    """Let go one delivery that found the endpoint busy; those of a closed circuit are none of these."""
    ids = await DeliveryRepository(session).release(organization_id, endpoint_id, now, 1, is_busy=True)
    await wake_deliveries(session, [Waiting(organization_id, endpoint_id, one) for one in ids])


async def _succeed(
    session: SystemSession,
    endpoint: WebhookEndpoint,
    delivery: WebhookDelivery,
    outcome: Outcome,
    now: datetime,
) -> None:
    organization_id = endpoint.organization_id
    was_left_alone = endpoint.status == "active" and endpoint.circuit != "closed"
    done = {**_told(outcome), **_finished("succeeded", now)}
    await DeliveryRepository(session).change(organization_id, delivery.id, done)
    values = after_success(outcome, now)
    endpoint = await EndpointRepository(session).change(organization_id, endpoint.id, values)
    if was_left_alone:
        await tell_recovered(session, endpoint)


async def tell_recovered(session: SystemSession, endpoint: WebhookEndpoint) -> int:
    """Emit that an endpoint answers again, and let go what was held for it; how much that is."""
    count = await held_count(session, endpoint)
    event = WebhookEndpointRecovered(**facts_of(endpoint), held_count=count)
    await emit(session, event, organization_id=endpoint.organization_id)
    await wake_drain(session, endpoint.organization_id, endpoint.id)
    return count


async def _end_endpoint(
    session: SystemSession,
    endpoint: WebhookEndpoint,
    delivery: WebhookDelivery,
    outcome: Outcome,
    now: datetime,
) -> None:
    """410: the endpoint is gone, and with it all that waits."""
    organization_id = endpoint.organization_id
    deliveries = DeliveryRepository(session)
    await deliveries.change(organization_id, delivery.id, {**_told(outcome), **_finished("cancelled", now)})
    await deliveries.cancel_open(organization_id, endpoint.id, now)
    values = after_failure(endpoint, outcome, now).values | {
        **{name: HEALTHY[name] for name in ("circuit", "circuit_until", "circuit_step")},
        "status": "disabled",
        "disabled_reason": "gone",
        "disabled_at": now,
    }
    was_gone = endpoint.disabled_reason == "gone"
    endpoint = await EndpointRepository(session).change(organization_id, endpoint.id, values)
    if not was_gone:
        await tell_disabled(session, endpoint)


async def _fail(
    session: SystemSession,
    endpoint: WebhookEndpoint,
    delivery: WebhookDelivery,
    outcome: Outcome,
    now: datetime,
) -> None:
    organization_id = endpoint.organization_id
    verdict = after_failure(endpoint, outcome, now)
    endpoint = await EndpointRepository(session).change(organization_id, endpoint.id, verdict.values)
    wait = next_wait(delivery.cycle_attempts, asked_wait(outcome.status, outcome.retry_after_s))
    values = _told(outcome) | {"lease_until": None, "next_attempt_at": None}
    if endpoint.disabled_reason == "gone" or not wants(endpoint.events, delivery.event_type):
        values |= _finished("cancelled", now)
    elif wait is None:
        values |= _finished("exhausted", now)
    elif endpoint.status != "active" or endpoint.circuit != "closed":
        values |= {"status": "held"}
    else:
        values |= {"status": "retrying", "next_attempt_at": now + wait}
        again = Waiting(organization_id, endpoint.id, delivery.id)
        await wake_deliveries(session, [again], at=now + wait)
    await DeliveryRepository(session).change(organization_id, delivery.id, values)
    if values.get("status") == "exhausted":
        await _tell_exhausted(session, delivery, outcome)
    await follow(session, endpoint, verdict)


async def follow(session: SystemSession, endpoint: WebhookEndpoint, verdict: Verdict) -> None:
    """Do what a failure asks for beyond its own delivery."""
    if verdict.opens or verdict.disables:
        await DeliveryRepository(session).hold(endpoint.organization_id, endpoint.id)
    if verdict.opens:
        await wake_ping(session, endpoint.organization_id, endpoint.id, at=endpoint.circuit_until)
    if verdict.disables:
        await tell_disabled(session, endpoint)
    elif verdict.warns:
        await tell_failing(session, endpoint)


async def _tell_exhausted(session: SystemSession, delivery: WebhookDelivery, outcome: Outcome) -> None:
    event = WebhookDeliveryExhausted(
        delivery_id=delivery.id,
        webhook_endpoint_id=delivery.endpoint_id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        last_error_code=outcome.error_code,
    )
    await emit(session, event, organization_id=delivery.organization_id)


def _told(outcome: Outcome) -> dict[str, Any]:
    return {"last_response_status": outcome.status, "last_error_code": outcome.error_code}


def _finished(status: str, now: datetime) -> dict[str, Any]:
    return {"status": status, "completed_at": now, "next_attempt_at": None, "lease_until": None}
