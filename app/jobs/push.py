"""Push messages in the background."""

from typing import Any
from uuid import UUID

from app.core.database import Database
from app.jobs.queue import defer, job
from app.services.notifications.push.sending import send_push


@job("push.send", queue="push")
async def send(
    database: Database,
    *,
    delivery_id: str,
    push_subscription_id: str,
    message: dict[str, Any],
    attempt: int = 0,
) -> None:
    """Send a message to one browser; what its push service refuses for now has a job of its own later."""
    again_at = await send_push(
        database, UUID(delivery_id), UUID(push_subscription_id), message, attempt=attempt
    )
    if again_at is not None:
        async with database.transaction() as session:
            await defer(
                session,
                "push.send",
                at=again_at,
                delivery_id=delivery_id,
                push_subscription_id=push_subscription_id,
                message=message,
                attempt=attempt + 1,
            )
