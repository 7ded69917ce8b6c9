"""Owns requests to providers: bounded in time and size, and every failure told in the port's own words."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx

from app.clients.oauth import ProviderUnavailable

SECONDS = 5.0
"""How long all requests of one sign-in to a provider may take together."""

LARGEST_ANSWER = 256 * 1024


@asynccontextmanager
async def asking(transport: httpx.AsyncBaseTransport | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client for the requests of one sign-in; whatever goes wrong on the line is ProviderUnavailable."""
    timeout = httpx.Timeout(SECONDS, connect=3.0)
    # Unpacked answers have the length that they say.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "luneo-api"}
    try:
        async with (
            asyncio.timeout(SECONDS),
            httpx.AsyncClient(transport=transport, timeout=timeout, headers=headers, trust_env=False) as http,
        ):
            yield http
    except TimeoutError:
        raise ProviderUnavailable("no answer in time") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
        raise ProviderUnavailable(type(error).__name__) from error


async def json_of(
    http: httpx.AsyncClient,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    token: str | None = None,
) -> tuple[int, Any]:
    """Status and JSON of an address: a POST where there is a form, else a GET.

    ProviderUnavailable for 5xx and 429, for an answer that is too large, and for one that is no JSON.
    """
    body = urlencode(form) if form is not None else None
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with http.stream(
        "POST" if body is not None else "GET", url, content=body, headers=headers
    ) as answer:
        if answer.status_code >= 500 or answer.status_code == 429:
            raise ProviderUnavailable(f"status {answer.status_code}")
        content = bytearray()
        async for part in answer.aiter_bytes():
            content += part
            if len(content) > LARGEST_ANSWER:
                raise ProviderUnavailable("the answer is too large")
    try:
        return answer.status_code, json.loads(content)
    except (ValueError, RecursionError):
        raise ProviderUnavailable("the answer is no JSON") from None


def text_of(document: Any, name: str, *, longest: int = 4096) -> str | None:
    """A member of a JSON object that is text of a sane length, else None."""
    value = document.get(name) if isinstance(document, dict) else None
    is_sound = isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()
    return value if is_sound else None
