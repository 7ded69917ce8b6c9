"""The port to Stripe: one client for the process, plain dicts out of it, and our own errors."""

import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NoReturn, cast

import httpx
import stripe

from app.clients.stripe.errors import (
    StripeDeclined,
    StripeMisconfigured,
    StripeMissing,
    StripeNotConfigured,
    StripeRefused,
    StripeUnavailable,
)
from app.clients.stripe.sandbox.sandbox import Sandbox, open_sandbox
from app.clients.stripe.sandbox.transport import SandboxTransport
from app.core.config import LIVE_KEYS, Settings, get_settings

API_VERSION: str = stripe.api_version
"""The version that the library is pinned to; every request names it."""

CONNECT_SECONDS = 5
SANDBOX_MARK = "_sbx"
"""Part of every id that the sandbox makes."""


class StripeClient:
    """Stripe, real or played by the sandbox; `livemode` is the mode of its objects."""

    def __init__(
        self, transport: stripe.HTTPClient, key: str, *, max_retries: int, sandbox: Sandbox | None = None
    ) -> None:
        # Both are switches of the whole library. It would tell Stripe how long each request took, and the
        # log what stands in each request.
        stripe.enable_telemetry = False
        logging.getLogger("stripe").setLevel(logging.WARNING)
        self.livemode = key.startswith(LIVE_KEYS)
        self.sandbox = sandbox
        self._transport = transport
        self._client = stripe.StripeClient(
            key, stripe_version=API_VERSION, http_client=transport, max_network_retries=max_retries
        )

    async def call(
        self, operation: str, *ids: str, params: Mapping[str, Any] | None = None, key: str | None = None
    ) -> dict[str, Any]:
        """Call `operation` (such as `checkout.sessions.create`) of the library and return the object.

        `ids` are the ids of the path, `key` is Stripe's idempotency key. Raises the errors of
        `app.clients.stripe.errors`. Never call it inside a transaction.
        """
        return (await self._send(operation, ids, params, key)).to_dict(for_json=True)

    async def pages(
        self, operation: str, *ids: str, params: Mapping[str, Any] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Every object of a list operation (such as `refunds.list`), page after page."""
        found = cast("stripe.ListObject[Any]", await self._send(operation, ids, params, None))
        try:
            async for item in found.auto_paging_iter():
                yield item.to_dict(for_json=True)
        except stripe.StripeError as error:
            _fail(error)

    async def close(self) -> None:
        """Close the connections to Stripe."""
        await self._transport.close_async()  # type: ignore[no-untyped-call]  # the library leaves it untyped

    def owns(self, identifier: str | None) -> bool:
        """Whether an id is from here: ids of the sandbox count as absent once there is a real key."""
        return identifier is not None and (self.sandbox is not None or SANDBOX_MARK not in identifier)

    async def _send(
        self, operation: str, ids: tuple[str, ...], params: Mapping[str, Any] | None, key: str | None
    ) -> stripe.StripeObject:
        method = attrgetter(f"{operation}_async")(self._client.v1)
        options = {"idempotency_key": key} if key else {}
        try:
            answer = await method(*ids, dict(params or {}), options)
        except stripe.StripeError as error:
            _fail(error)
        except AttributeError as error:
            # The library takes an answer apart without looking at it first.
            raise StripeUnavailable("Stripe answered what nobody understands") from error
        if not isinstance(answer, stripe.StripeObject):
            raise StripeUnavailable("Stripe answered what nobody understands")
        return answer


def _fail(error: stripe.StripeError) -> NoReturn:
    """Raise our error for one of the library's."""
    body = error.json_body.get("error") if isinstance(error.json_body, dict) else None
    details = body if isinstance(body, dict) else {}
    carried = details.get("payment_intent") or details.get("setup_intent")
    kind: type[Exception]
    match error:
        case stripe.CardError():
            kind = StripeDeclined
        case stripe.RateLimitError() | stripe.APIConnectionError():
            kind = StripeUnavailable
        case stripe.AuthenticationError() | stripe.PermissionError():
            kind = StripeMisconfigured
        case stripe.InvalidRequestError() if error.code == "resource_missing":
            kind = StripeMissing
        case stripe.InvalidRequestError() | stripe.IdempotencyError():
            kind = StripeRefused
        case _:
            # Whatever else there is came with a status of 500 and above, or was no JSON.
            kind = StripeUnavailable
    raise kind(
        type(error).__name__ if kind is StripeMisconfigured else str(error.user_message or error),
        code=error.code or details.get("code") or details.get("type"),
        decline_code=details.get("decline_code"),
        param=details.get("param"),
        status=error.http_status,
        request_id=error.request_id,
        object=carried,
    ) from None


@dataclass(slots=True)
class _Chosen:
    """The client of this process, once somebody has asked for it."""

    client: StripeClient | None = None


_chosen = _Chosen()


def stripe_client() -> StripeClient:
    """The client of this process: real with a key, else the sandbox, and in production neither.

    Raises StripeNotConfigured where there is none.
    """
    if _chosen.client is None:
        _chosen.client = _choose(get_settings())
    return _chosen.client


def use_client(client: StripeClient | None) -> StripeClient | None:
    """Let this client be the one of the process, and return the one before; None chooses anew."""
    before, _chosen.client = _chosen.client, client
    return before


def sandbox_client(sandbox: Sandbox, *, max_retries: int = 2) -> StripeClient:
    """A client whose requests the sandbox answers in this process."""
    return StripeClient(
        SandboxTransport(sandbox), "sk_test_sandbox", max_retries=max_retries, sandbox=sandbox
    )


async def close_client() -> None:
    """Close the client of this process, if there is one; the next call makes another."""
    client = use_client(None)
    if client is not None:
        await client.close()


async def webhook_secrets() -> list[str]:
    """Every secret that a webhook may be signed with; the sandbox has one of its own."""
    secrets = get_settings().webhook_secrets()
    try:
        sandbox = stripe_client().sandbox
    except StripeNotConfigured:
        sandbox = None
    return [*secrets, await sandbox.webhook_secret()] if sandbox else secrets


def _choose(settings: Settings) -> StripeClient:
    if settings.stripe_secret_key is None:
        if not settings.has_stripe_sandbox:
            raise StripeNotConfigured("STRIPE_SECRET_KEY is not set")
        return sandbox_client(open_sandbox(settings), max_retries=settings.stripe_max_retries)
    timeout = httpx.Timeout(settings.stripe_timeout_seconds, connect=CONNECT_SECONDS)
    return StripeClient(
        stripe.HTTPXClient(timeout=timeout),
        settings.stripe_secret_key,
        max_retries=settings.stripe_max_retries,
    )
