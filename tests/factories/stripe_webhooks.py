"""Rows of what is heard from Stripe and said to it."""

from typing import Any
from uuid import uuid4

from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.stripe_webhooks import StripeCommand, StripeDifference, StripeEvent
from tests.support.personas import Persona


async def make_stripe_event(db: SystemSession, **columns: Any) -> StripeEvent:
    """An event that has had its effect."""
    values: dict[str, Any] = {
        "id": f"evt_{uuid4().hex}",
        "type": "invoice.paid",
        "livemode": False,
        "stripe_created_at": await db.now(),
        "object_id": "in_1",
        "payload": {"secret": 1},
        "endpoint": "backfill",
        "status": "done",
        **columns,
    }
    row = StripeEvent(**values)
    db.add(row)
    await db.commit()
    return row


async def make_command(db: SystemSession, *, owner: Persona, **columns: Any) -> StripeCommand:
    """A command that nobody has sent yet, and that has no job."""
    values: dict[str, Any] = {
        "organization_id": owner.organization_id,
        "id": uuid7(),
        "kind": "refund.create",
        "subject_type": "refund",
        "subject_id": uuid7(),
        "params": {},
        **columns,
    }
    row = StripeCommand(**values)
    db.add(row)
    await db.commit()
    return row


async def make_difference(db: SystemSession, **columns: Any) -> StripeDifference:
    """An open difference that can be repaired."""
    values: dict[str, Any] = {
        "id": uuid7(),
        "kind": "status_drift",
        "stripe_id": f"cus_{uuid4().hex}",
        "expected": {},
        "actual": {},
        "explanation": "They disagree.",
        "repair": "customer.updated",
        **columns,
    }
    row = StripeDifference(**values)
    db.add(row)
    await db.commit()
    return row
