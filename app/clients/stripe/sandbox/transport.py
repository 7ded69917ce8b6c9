"""Hands the library's requests to the sandbox in this process, where they would go to Stripe."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import stripe

from app.clients.stripe.sandbox.sandbox import NoAnswer, Sandbox
from app.clients.stripe.sandbox.server import Request


class SandboxTransport(stripe.HTTPClient):
    """The library's HTTP client without a network."""

    name = "sandbox"

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self._sandbox = sandbox

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Answer a request in this process."""
        parts = urlsplit(url)
        request = Request(
            method=method.upper(),
            path=parts.path,
            form=str(post_data or "") if method == "post" else parts.query,
            headers={name.lower(): value for name, value in headers.items()},
        )
        try:
            answer = await self._sandbox.request(request)
        except NoAnswer as lost:
            error = stripe.APIConnectionError(  # type: ignore[no-untyped-call]  # the library leaves it untyped
                f"Network error: {lost}", should_retry=True
            )
            raise error from None
        return answer.body, answer.status, answer.headers

    def sleep_async(self, secs: float) -> Any:
        """Wait before the library tries again; nobody else is spared by a long pause here."""
        return asyncio.sleep(min(secs, 0.01))

    async def close_async(self) -> None:
        """There is nothing to close."""
