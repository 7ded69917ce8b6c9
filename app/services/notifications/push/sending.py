"""Owns one push message: whether it may still be sent, what its push service said, and when to try again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from app.clients.outbound import OutboundAnswer, OutboundFailure, code_of, get_outbound
from app.clients.push import EndpointNotAllowed, push, sender
from app.core import clock
from app.core.crypto import SealBroken, encode_base64url
from app.core.database import Database
from app.core.events import emit
from app.models.notifications import PushSubscription
from app.repositories.notifications import DeliveryRepository, PushRepository
from app.services.notifications.push.events import PushSubscriptionRemoved
from app.services.notifications.push.subscribing import browser_of

logger = structlog.get_logger(__name__)

LARGEST = 3900
"""Bytes of a message; above it only the title is sent."""

RETRIES = (30, 300, 1800)
"""Seconds until the next tries, while the push service refuses for now."""

LONGEST_WAIT = 3600
GONE = frozenset({404, 410})
REFUSED = frozenset({401, 403})
TOO_LARGE = 413


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try ended: a state of the history, or None with the time of the next try."""

    state: str | None
    reason: str | None = None
    again_at: datetime | None = None


async def send_push(
    database: Database,
    delivery_id: UUID,
    subscription_id: UUID,
    message: Mapping[str, Any],
    *,
    attempt: int,
) -> datetime | None:
    """Send a message to one browser, outside of any transaction; answers when to try again, or None.

    A browser that was signed out or has unsubscribed meanwhile gets nothing.
    """
    async with database.system(autocommit=True) as session:
        row = await PushRepository(session).get(subscription_id)
    outcome = await _try(row, delivery_id, message, attempt)
    if outcome.state is None:
        return outcome.again_at
    async with database.transaction() as session:
        browsers = PushRepository(session)
        if outcome.state == "sent":
            await browsers.succeeded(subscription_id)
        elif outcome.reason == "gone" and await browsers.forget(subscription_id) and row is not None:
            removed = PushSubscriptionRemoved(
                user_id=row.user_id, push_subscription_id=subscription_id, reason="gone"
            )
            await emit(session, removed)
        else:
            await browsers.failed(subscription_id)
        await DeliveryRepository(session).finish(
            delivery_id, state=outcome.state, reason=outcome.reason, completed_at=clock.now()
        )
    return None


async def _try(
    row: PushSubscription | None, delivery_id: UUID, message: Mapping[str, Any], attempt: int
) -> Outcome:
    identity = sender()
    if row is None:
        return Outcome("skipped", "no_subscription")
    if identity is None:
        return Outcome("skipped", "not_configured")
    # A message that is sent again takes the place of the first, if the browser has not fetched that.
    topic = encode_base64url(delivery_id.bytes)
    try:
        browser = browser_of(row)
        answer = await push(get_outbound(), identity, browser, fitted(message), topic=topic)
        if answer.status == TOO_LARGE:
            answer = await push(get_outbound(), identity, browser, without_text(message), topic=topic)
    except SealBroken:
        logger.error("push_subscription_unreadable", push_subscription_id=str(row.id))
        return Outcome("failed", "unreadable")
    except EndpointNotAllowed:
        return Outcome("failed", "endpoint_not_allowed")
    except OutboundFailure as failure:
        return _later(failure.code, attempt, None)
    return _judged(answer, row, attempt)


def _judged(answer: OutboundAnswer, row: PushSubscription, attempt: int) -> Outcome:
    """What the push service's answer means."""
    if answer.is_success:
        return Outcome("sent")
    if answer.status in GONE:
        return Outcome("failed", "gone")
    reason = code_of(answer) or f"http_{answer.status}"
    if answer.status == 429 or answer.status >= 500:
        return _later(reason, attempt, answer.retry_after_s)
    if answer.status in REFUSED:
        # An operator has to look: either the key was changed, or the service does not take its subject.
        logger.error("push_refused", status=answer.status, push_subscription_id=str(row.id))
        return Outcome("failed", "credentials")
    return Outcome("failed", "too_large" if answer.status == TOO_LARGE else reason)


def _later(reason: str, attempt: int, wanted_wait: int | None) -> Outcome:
    if attempt >= len(RETRIES):
        return Outcome("failed", reason)
    wait = min(max(RETRIES[attempt], wanted_wait or 0), LONGEST_WAIT)
    return Outcome(None, reason, clock.now() + timedelta(seconds=wait))


def fitted(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message as it is, or without its text where push services would not take it."""
    size = len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode())
    return message if size <= LARGEST else without_text(message)


def without_text(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with nothing but its title; a tap shows the rest."""
    return {**message, "message": ""}
