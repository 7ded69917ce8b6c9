"""Stripe in the background: events are processed, commands run, and what was lost comes back."""

from app.core.database import Database
from app.jobs.queue import job
from app.services.stripe_webhooks import processing


@job("process_stripe_event", queue="stripe")
async def process_stripe_event(database: Database, *, event_id: str) -> None:
    """Deferred with the event's row; the row says when it is tried again."""
    await processing.process_event(database, event_id)
