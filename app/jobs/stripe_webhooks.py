"""Stripe in the background: events are processed, commands run, and what was lost comes back."""

from uuid import UUID

from app.core.database import Database
from app.jobs.queue import job
from app.services.stripe_webhooks import executing, processing, reconciling, sweeping


@job("process_stripe_event", queue="stripe")
async def process_stripe_event(database: Database, *, event_id: str) -> None:
    """Deferred with the event's row; the row says when it is tried again."""
    await processing.process_event(database, event_id)


@job("run_stripe_command", queue="stripe")
async def run_stripe_command(database: Database, *, organization_id: str, command_id: str) -> None:
    """Deferred with the command's row; the row says when it is tried again."""
    await executing.execute(database, UUID(organization_id), UUID(command_id))


@job("sweep_stripe", queue="maintenance", cron="* * * * *")
async def sweep_stripe(database: Database) -> None:
    """Each minute: events and commands that have lost their job get another."""
    await sweeping.sweep(database)


@job("prune_stripe", queue="maintenance", cron="10 4 * * *")
async def prune_stripe(database: Database) -> None:
    """Daily: payloads, events and commands that are old."""
    await sweeping.prune(database)


@job("reconcile_stripe", queue="maintenance", cron="30 2 * * *")
async def reconcile_stripe(database: Database) -> None:
    """Daily, and when staff or a refusal of Stripe asks for it."""
    await reconciling.reconcile(database)


@job("repair_stripe_difference", queue="stripe")
async def repair_stripe_difference(database: Database, *, difference_id: str, by: str) -> None:
    """Deferred when staff asks for it; what fails leaves the difference open."""
    await reconciling.repair_difference(database, UUID(difference_id), by)
