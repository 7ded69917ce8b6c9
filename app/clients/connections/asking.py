"""Owns requests to connected services: bounded in time and size, failures told in the port's own words."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from app.clients.connections import Caller, ServiceDown
from app.clients.outbound import OutboundFailure

SECONDS = 15.0
LARGEST_ANSWER = 256 * 1024

ONLY_OURS = "luneo-api"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is neither 429 nor 5xx. `document` is None when it is no JSON object."""

    status: int
    document: dict[str, Any] | None

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def member(self, name: str, *, longest: int = 200) -> str | None:
        """A member that is text of a sane length, else None."""
        return text_of(self.document, name, longest=longest)


async def ask(
    caller: Caller,
    method: str,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    is_fixed: bool = True,
) -> Reply:
    """Send one request and read its JSON; ServiceDown when no answer comes, or 429, or 5xx."""
    sent = {"Accept": "application/json", "User-Agent": ONLY_OURS, **(headers or {})}
    content = b""
    if form is not None:
        content = urlencode(form).encode()
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        answer = await caller.send(
            method,
            url,
            headers=sent,
            content=content,
            timeout_seconds=SECONDS,
            max_body=LARGEST_ANSWER,
            is_fixed=is_fixed,
        )
    except OutboundFailure as failure:
        raise ServiceDown("provider_unavailable", failure.code) from None
    if answer.status == 429:
        raise ServiceDown("provider_rate_limited", "429", status=429, retry_after_s=answer.retry_after_s)
    if answer.status >= 500:
        raise ServiceDown("provider_unavailable", str(answer.status), status=answer.status)
    return Reply(answer.status, None if answer.is_truncated else _object(answer.body))


def bearer(token: str) -> dict[str, str]:
    """The header of a request with an access token (RFC 6750, 2.1)."""
    return {"Authorization": f"Bearer {token}"}


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a request with a name and a password (RFC 7617)."""
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def text_of(document: Mapping[str, Any] | None, name: str, *, longest: int = 200) -> str | None:
    """A member of a JSON object that is printable text of a sane length, or a number as text; else None."""
    value = document.get(name) if isinstance(document, Mapping) else None
    if type(value) is int and abs(value) < 10**30:
        return str(value)
    is_sound = isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()
    return value if isinstance(value, str) and is_sound else None


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
