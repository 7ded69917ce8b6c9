"""Owns the fetching of a subscription together with what its mirror needs beside it."""

from datetime import UTC, datetime
from typing import Any

from app.clients.stripe import StripeClient

UNPAID = frozenset({"past_due", "unpaid"})

SCHEDULE = "_schedule"
LATEST_INVOICE = "_latest_invoice"
SUBSCRIPTION = "_subscription"
"""Members that are added to what Stripe answered."""


def id_of(value: Any) -> str | None:
    """The id of a member that may be expanded."""
    return value.get("id") if isinstance(value, dict) else value


def moment(seconds: int | None) -> datetime | None:
    """A moment of Stripe, which counts seconds."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


async def fetch_subscription(client: StripeClient, subscription_id: str) -> dict[str, Any]:
    """The subscription as it is now, with its context."""
    fetched = await client.call("subscriptions.retrieve", subscription_id)
    return {**fetched, **await context_of(client, fetched)}


async def context_of(client: StripeClient, fetched: dict[str, Any]) -> dict[str, Any]:
    """The schedule of its coming changes, and the invoice that it owes, where there is one."""
    context: dict[str, Any] = {}
    schedule, invoice = id_of(fetched.get("schedule")), id_of(fetched.get("latest_invoice"))
    if schedule is not None:
        context[SCHEDULE] = await client.call("subscription_schedules.retrieve", schedule)
    if invoice is not None and fetched.get("status") in UNPAID:
        context[LATEST_INVOICE] = await client.call("invoices.retrieve", invoice)
    return context


async def with_subscription(client: StripeClient, fetched: dict[str, Any]) -> dict[str, Any]:
    """The subscription that an object names: a session of checkout, a schedule or an invoice."""
    details = (fetched.get("parent") or {}).get("subscription_details") or {}
    found = id_of(fetched.get("subscription")) or id_of(details.get("subscription"))
    return {} if found is None else {SUBSCRIPTION: await fetch_subscription(client, found)}
