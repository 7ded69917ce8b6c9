"""Events of Stripe that a test makes up and signs itself; effects and calls that one test registers."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from httpx import AsyncClient, Response

from app.clients.stripe.signature import HEADER, sign
from app.core import clock
from app.services.stripe_webhooks import commands, effects
from app.services.stripe_webhooks.areas import load_areas
from tests.support.stripe_sandbox import StripeSandbox

WEBHOOK = "/api/stripe/webhook"


def event_of(kind: str, subject: dict[str, Any]) -> dict[str, Any]:
    """An event as Stripe would send it."""
    return {
        "id": f"evt_{secrets.token_hex(12)}",
        "object": "event",
        "type": kind,
        "api_version": "2026-10-28.endive",
        "created": int(clock.now().timestamp()),
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "data": {"object": subject},
    }


async def send(
    client: AsyncClient,
    stripe: StripeSandbox,
    event: dict[str, Any] | bytes,
    *,
    path: str = WEBHOOK,
    offset: int = 0,
    headers: dict[str, str] | None = None,
) -> Response:
    """Deliver an event, or any bytes, signed `offset` seconds from now."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    timestamp = int(clock.now().timestamp()) + offset
    signature = sign(body, await stripe.sandbox.webhook_secret(), timestamp)
    return await client.post(path, content=body, headers={HEADER: signature, **(headers or {})})


@contextmanager
def own_registrations() -> Iterator[None]:
    """Forget at the end of the block which effects and calls were registered in it; there are no others."""
    load_areas()
    kept_effects = {kind: list(found) for kind, found in effects._EFFECTS.items()}
    kept_commands = dict(commands._COMMANDS)
    effects._EFFECTS.clear()
    commands._COMMANDS.clear()
    try:
        yield
    finally:
        effects._EFFECTS.clear()
        effects._EFFECTS.update(kept_effects)
        commands._COMMANDS.clear()
        commands._COMMANDS.update(kept_commands)
