"""Owns the comparison of our rows with Stripe: events that were missed, differences, and their repair."""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from app.clients.stripe import StripeClient, StripeNotConfigured, stripe_client
from app.core import clock
from app.core.database import Database, SystemSession
from app.core.events import emit
from app.core.ids import uuid7
from app.repositories.stripe_webhooks.differences import DifferenceRepository
from app.repositories.stripe_webhooks.events import EventRepository
from app.repositories.stripe_webhooks.mirrors import Mirror, MirrorRepository
from app.services.stripe_webhooks.binding import organization_exists, owners_of
from app.services.stripe_webhooks.comparing import (
    PAYMENT_STATES,
    Difference,
    Kind,
    ended_subscription,
    hint_of,
    invoice_differences,
    payment_differences,
    refund_differences,
    sale_differences,
    subscription_differences,
)
from app.services.stripe_webhooks.events import StripeDifferenceFound
from app.services.stripe_webhooks.fetching import id_of, metadata_id, objects_named
from app.services.stripe_webhooks.intake import InvalidEvent, clean, event_values, store_event
from app.services.stripe_webhooks.link_sessions import is_of_link, link_order_id
from app.services.stripe_webhooks.processing import sync_object

logger = structlog.get_logger(__name__)

EVENTS_BACK = timedelta(days=30)
"""Stripe keeps events that long."""

OBJECTS_BACK = timedelta(days=35)
BATCH = 100

GRACE = timedelta(minutes=10)
"""What is younger may be on its way to us."""

BY = "reconcile_stripe"
COMPARED = (
    "amount_drift",
    "status_drift",
    "orphan_payment",
    "unknown_refund",
    "paid_but_closed",
    "ledger_gap",
)
"""Kinds that a comparison finds again as long as they last."""


async def reconcile(database: Database) -> None:
    """Take in missed events, then note every difference; what is gone is closed. Nothing without a Stripe.

    Raises the errors of the client; the next run begins anew.
    """
    try:
        client = stripe_client()
    except StripeNotConfigured:
        return
    began = await moment_of(database)
    await backfill(database, client)
    await _compare(database, client)
    async with database.transaction() as session:
        await DifferenceRepository(session).close_unseen(COMPARED, began, by=BY)


async def backfill(database: Database, client: StripeClient) -> int:
    """Store the events of the last 30 days that never came, with their jobs; how many there were."""
    missed = 0
    async for batch in _batches(client, "events.list", clock.now() - EVENTS_BACK):
        async with database.transaction() as session:
            known = await EventRepository(session).known([event["id"] for event in batch])
            for event in batch:
                if event["id"] not in known and await _take_in(session, client, event):
                    missed += 1
    return missed


async def _take_in(session: SystemSession, client: StripeClient, event: dict[str, Any]) -> bool:
    try:
        values = event_values(clean(event), livemode=client.livemode)
    except (InvalidEvent, ValueError):
        logger.error("Alert: Stripe lists an event that is none", event_id=str(event.get("id"))[:255])
        return False
    is_new = await store_event(session, values, "backfill")
    is_late = values["stripe_created_at"] < clock.now() - GRACE
    if is_new and is_late and values["status"] == "pending":
        difference = Difference(
            kind="missing_event",
            stripe_id=values["id"],
            organization_id=None,
            expected={"type": values["type"], "object_id": values["object_id"]},
            actual={},
            explanation="Stripe has this event, and it was never delivered to us. It is processed now.",
            repair=None,
        )
        difference_id = await note_difference(session, difference)
        await DifferenceRepository(session).close(difference_id, by=BY)
    return is_new


async def note_difference(session: SystemSession, difference: Difference) -> UUID:
    """Open a difference, or note that an open one lasts; a new one alerts the operators. Answers its id."""
    values = {**difference.values(), "id": uuid7()}
    difference_id, is_new = await DifferenceRepository(session).note(values)
    if is_new:
        await emit(
            session,
            StripeDifferenceFound(
                id=str(difference_id),
                kind=difference.kind,
                stripe_id=difference.stripe_id,
                organization_id=difference.organization_id,
                error=difference.explanation,
            ),
        )
        logger.error(
            "Alert: Stripe and our rows disagree", kind=difference.kind, stripe_id=difference.stripe_id
        )
    return difference_id


async def note_kind(
    database: Database, kind: Kind, differences: Iterable[Difference], *, since: datetime, by: str
) -> None:
    """Note these differences of a kind; what was open of it and was not seen since that moment is closed."""
    async with database.transaction() as session:
        await _note(session, differences)
        await DifferenceRepository(session).close_unseen((kind,), since, by=by)


async def moment_of(database: Database) -> datetime:
    """The database's time, by which differences are seen."""
    async with database.system(autocommit=True) as session:
        return await EventRepository(session).moment()


async def repair_difference(database: Database, difference_id: UUID, by: str) -> None:
    """Fetch and apply the object of an open difference, and close it; done twice, it changes nothing more.

    Raises what `sync_object` raises; the difference stays open then.
    """
    async with database.system(autocommit=True) as session:
        found = await DifferenceRepository(session).get(difference_id)
    if found is None or found.status != "open" or found.repair is None:
        return
    await sync_object(database, found.repair, hint_of(found.repair, found.stripe_id, found.expected))
    async with database.transaction() as session:
        await DifferenceRepository(session).close(difference_id, by=by)


async def _compare(database: Database, client: StripeClient) -> None:
    since = clock.now() - OBJECTS_BACK
    await _compare_subscriptions(database, client)
    for params in ({"status": "open"}, {}):
        async for batch in _batches(client, "invoices.list", None if params else since, **params):
            await _compare_invoices(database, batch)
    async for batch in _batches(client, "refunds.list", since):
        await _compare_refunds(database, batch)
    async for batch in _batches(client, "payment_intents.list", since):
        await _compare_payments(database, batch)
    intents = {"status": "complete", "expand": ["data.payment_intent"]}
    async for batch in _batches(client, "checkout.sessions.list", since, **intents):
        await _compare_sales(database, batch)


async def _compare_subscriptions(database: Database, client: StripeClient) -> None:
    async with database.system(autocommit=True) as session:
        living = dict(await MirrorRepository(session).live_subscriptions())
    async for batch in _batches(client, "subscriptions.list", None):
        async with database.transaction() as session:
            mirrors = await MirrorRepository(session).subscriptions(_ids(batch))
            owners = await _owners(session, batch, mirrors)
            for found in _settled(batch):
                living.pop(found["id"], None)
                if found["id"] in owners:
                    await _note(
                        session,
                        subscription_differences(found, mirrors.get(found["id"]), owners[found["id"]]),
                    )
        for found in batch:
            living.pop(found["id"], None)
    async with database.transaction() as session:
        await _note(session, map(ended_subscription, living.values()))


async def _compare_invoices(database: Database, batch: list[dict[str, Any]]) -> None:
    async with database.transaction() as session:
        rows = MirrorRepository(session)
        mirrors, charged = await rows.invoices(_ids(batch)), await rows.charged(_ids(batch))
        owners = await _owners(session, batch, mirrors)
        for found in _settled(batch):
            if found["id"] in owners:
                owner, mirror = owners[found["id"]], mirrors.get(found["id"])
                await _note(session, invoice_differences(found, mirror, owner, charged))


async def _compare_refunds(database: Database, batch: list[dict[str, Any]]) -> None:
    async with database.transaction() as session:
        rows = MirrorRepository(session)
        mirrors = await rows.refunds(_ids(batch))
        intents = [intent for found in batch if (intent := id_of(found.get("payment_intent")))]
        payments = await rows.payments(intents)
        for found in _settled(batch):
            payment = payments.get(id_of(found.get("payment_intent")) or "")
            if payment is not None:
                await _note(session, refund_differences(found, mirrors.get(found["id"]), payment))


async def _compare_payments(database: Database, batch: list[dict[str, Any]]) -> None:
    """Intents that name an order of ours or have paid one; those of payment links name none."""
    paid = [found for found in _settled(batch) if found["status"] in PAYMENT_STATES]
    async with database.transaction() as session:
        rows = MirrorRepository(session)
        mirrors, charged = await rows.payments(_ids(paid)), await rows.charged(_ids(paid))
        ours = [
            found for found in paid if found["id"] in mirrors or metadata_id(found, "order_id") is not None
        ]
        owners = await _owners(session, ours, mirrors)
        for found in ours:
            if found["id"] in owners:
                owner, mirror = owners[found["id"]], mirrors.get(found["id"])
                await _note(session, payment_differences(found, mirror, owner, charged))


async def _compare_sales(database: Database, batch: list[dict[str, Any]]) -> None:
    """Sessions of payment links: each is an order, and the intent of a paid one is its payment.

    A session may have been open for a day before it was completed; its intent is made then.
    """
    ours = [
        found for found in batch if is_of_link(found) and _settled([found.get("payment_intent") or found])
    ]
    intents = [intent for found in ours if (intent := id_of(found.get("payment_intent")))]
    async with database.transaction() as session:
        rows = MirrorRepository(session)
        owners = await _owners(session, ours, {})
        orders = {found["id"]: link_order_id(found) for found in ours if found["id"] in owners}
        placed = await rows.placed([(owners[name], order_id) for name, order_id in orders.items()])
        payments = await rows.payments(intents)
        for found in ours:
            if order_id := orders.get(found["id"]):
                is_paid = id_of(found.get("payment_intent")) in payments
                found_out = sale_differences(
                    found, owners[found["id"]], order_id, is_placed=order_id in placed, is_paid=is_paid
                )
                await _note(session, found_out)


async def _note(session: SystemSession, differences: Iterable[Difference]) -> None:
    for difference in differences:
        await note_difference(session, difference)


async def _owners(
    session: SystemSession, batch: list[dict[str, Any]], mirrors: Mapping[str, Mirror]
) -> dict[str, UUID]:
    """Whose these objects are; the account may serve others too, and their objects are left out."""
    named = {found["id"]: list(objects_named(found)) for found in batch}
    bound = await owners_of(session, [stripe_id for ids in named.values() for stripe_id in ids])
    owners: dict[str, UUID] = {}
    for found in batch:
        stripe_id = found["id"]
        claimed = metadata_id(found, "organization_id")
        if stripe_id in mirrors:
            owners[stripe_id] = mirrors[stripe_id].organization_id
        elif known := [bound[name] for name in named[stripe_id] if name in bound]:
            owners[stripe_id] = known[0]
        elif claimed is not None and await organization_exists(session, claimed):
            owners[stripe_id] = claimed
    return owners


def _ids(batch: list[dict[str, Any]]) -> list[str]:
    return [found["id"] for found in batch]


def _settled(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose events have had the time to come."""
    before = (clock.now() - GRACE).timestamp()
    return [found for found in batch if found["created"] < before]


async def _batches(
    client: StripeClient, operation: str, since: datetime | None, **params: Any
) -> AsyncIterator[list[dict[str, Any]]]:
    """The objects of a list since a moment, in batches; no transaction is open while they are fetched."""
    if since is not None:
        params["created"] = {"gte": int(since.timestamp())}
    batch: list[dict[str, Any]] = []
    async for found in client.pages(operation, params={"limit": BATCH, **params}):
        batch.append(found)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
