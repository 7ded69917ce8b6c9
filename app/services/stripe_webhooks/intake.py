"""Owns the intake of Stripe's webhooks: signature, shape, one row per event, and the job behind it."""

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from app.clients.stripe import StripeNotConfigured, stripe_client, webhook_secrets
from app.clients.stripe.signature import HEADER, InvalidSignature, verify
from app.core import clock
from app.core.card_numbers import without_card_numbers
from app.core.config import get_settings
from app.core.database import DatabaseOf, SystemSession
from app.core.errors import BadRequest, BodyTooLarge, Unavailable
from app.repositories.stripe_webhooks.events import EventRepository
from app.services.stripe_webhooks.fetching import is_known

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
"""Stripe's own events are not half as deep."""

EVENT_ID = re.compile(r"evt_[A-Za-z0-9_]{1,250}")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""What PostgreSQL refuses in JSON: NUL and lone surrogates."""

MAX_NAME = 255
LAST_SECOND = 253_402_300_799
"""The end of the year 9999."""


class InvalidEvent(Exception):
    """What was sent is no event of Stripe."""


@dataclass(slots=True)
class _Gate:
    """How many deliveries this process is working on."""

    inside: int = 0

    @contextmanager
    def passing(self, limit: int) -> Iterator[None]:
        """Count one more, or raise 503 `busy`; Stripe delivers again."""
        if self.inside >= limit:
            raise Unavailable("busy", "Too many deliveries at once; repeat.", headers={"Retry-After": "1"})
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


_gate = _Gate()


class StripeIntake:
    """Takes deliveries; whose they are is found later, so its transaction is unscoped."""

    def __init__(self, request: Request, database: DatabaseOf) -> None:
        self.request = request
        self.database = database

    async def receive(self, endpoint: str) -> bool:
        """Keep a delivery and queue its work; answers whether the event was known already.

        503 `webhook_not_configured` without a secret, 503 `busy`, 413, 400 `invalid_signature`, 400
        `invalid_event`. What was answered with 200 is committed.
        """
        secrets, livemode = await _configuration()
        # Whoever sends slowly, which anybody may, is not counted: only what has arrived.
        body = await self._body()
        with _gate.passing(get_settings().stripe_webhook_concurrency):
            sent = [value for name, value in self.request.scope["headers"] if name == HEADER.lower().encode()]
            try:
                verify(sent, body, secrets, int(clock.now().timestamp()))
            except InvalidSignature:
                raise BadRequest(
                    "invalid_signature", "Sign the body with a secret of this endpoint, just now."
                ) from None
            try:
                values = read_event(body, livemode=livemode)
            except InvalidEvent:
                raise BadRequest("invalid_event", "The body is not an event of Stripe.") from None
            async with self.database.transaction() as session:
                return not await store_event(session, values, endpoint)

    async def _body(self) -> bytes:
        pieces = bytearray()
        try:
            async for piece in self.request.stream():
                pieces += piece
                if len(pieces) > MAX_BYTES:
                    raise BodyTooLarge("body_too_large", "An event has at most 1 MiB.")
        except ClientDisconnect:
            raise BadRequest("invalid_signature", "Send the whole of the body.") from None
        return bytes(pieces)


async def _configuration() -> tuple[list[str], bool]:
    """The secrets and the mode of this process; 503 where there is no Stripe, or no secret."""
    try:
        livemode = stripe_client().livemode
        secrets = await webhook_secrets()
    except StripeNotConfigured:
        secrets, livemode = [], False
    if not secrets:
        raise Unavailable(
            "webhook_not_configured",
            "This endpoint has no signing secret yet; Stripe repeats its deliveries for three days.",
            headers={"Retry-After": "3600"},
        )
    return secrets, livemode


async def store_event(session: SystemSession, values: dict[str, Any], endpoint: str) -> bool:
    """Keep an event that `read_event` or `event_values` made; whether it is new. The job comes with it."""
    events = EventRepository(session)
    is_new = await events.store({**values, "endpoint": endpoint})
    if is_new and values["status"] == "pending":
        await events.wake(values["id"])
    return is_new


def read_event(body: bytes, *, livemode: bool) -> dict[str, Any]:
    """The columns of an event that was delivered; InvalidEvent for every other bytes."""
    try:
        parsed = json.loads(body.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
        cleaned = clean(parsed)
    except (ValueError, RecursionError):
        raise InvalidEvent from None
    return event_values(cleaned, livemode=livemode)


def event_values(event: object, *, livemode: bool) -> dict[str, Any]:
    """The columns of an event, card numbers taken out; InvalidEvent when it is none.

    `livemode` is ours: the other is skipped.
    """
    if not isinstance(event, dict) or event.get("object") != "event":
        raise InvalidEvent
    identifier, kind, created, data = (event.get(name) for name in ("id", "type", "created", "data"))
    subject = data.get("object") if isinstance(data, dict) else None
    if not isinstance(identifier, str) or not EVENT_ID.fullmatch(identifier):
        raise InvalidEvent
    if not isinstance(kind, str) or not 1 <= len(kind) <= MAX_NAME:
        raise InvalidEvent
    if not isinstance(created, int) or isinstance(created, bool) or not 0 <= created <= LAST_SECOND:
        raise InvalidEvent
    if not isinstance(event.get("livemode"), bool) or not isinstance(subject, dict):
        raise InvalidEvent
    reason = _reason_to_skip(event, livemode)
    # Stripe masks card numbers itself; what people write into a description or metadata is not masked.
    kept = {**without_card_numbers(event), "id": identifier}
    subject = kept["data"]["object"]
    return {
        "id": identifier,
        "type": kept["type"],
        "api_version": _name(kept.get("api_version")),
        "livemode": event["livemode"],
        "stripe_created_at": datetime.fromtimestamp(created, UTC),
        "object_type": _name(subject.get("object")),
        "object_id": _name(subject.get("id")),
        "payload": kept,
        "status": "skipped" if reason else "pending",
        "result": {"skipped": reason} if reason else None,
    }


def _reason_to_skip(event: dict[str, Any], livemode: bool) -> str | None:
    if event["livemode"] is not livemode:
        return "other_livemode"
    if event.get("account") is not None:
        return "connected_account"
    return None if is_known(event["type"]) else "unknown_type"


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= MAX_NAME else None


def _refuse(_: str) -> NoReturn:
    raise ValueError("no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("too large")
    return number


def clean(value: Any, depth: int = 0) -> Any:
    """JSON values without what PostgreSQL refuses; ValueError when they are nested too deeply."""
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    if isinstance(value, dict):
        return {UNSTORABLE.sub("", name): clean(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [clean(item, depth + 1) for item in value]
    return UNSTORABLE.sub("", value) if isinstance(value, str) else value


Intake = Annotated[StripeIntake, Depends()]
