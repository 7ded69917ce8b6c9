"""What a server answered, within bounds."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from app.core import clock

MOST_HEADERS = 64
LONGEST_HEADER = 1000
LONGEST_REDIRECT = 300
MOST_SECONDS = 999_999_999
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
_NOT_PRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class OutboundAnswer:
    """An HTTP answer, whatever its status.

    `headers` have lower-case names, at most 64 of them with 1,000 printable characters each; what comes twice
    is joined by a comma. `body` is as it was sent (nothing is unpacked), cut at `max_body`.
    `retry_after_s` is Retry-After in seconds (nine digits at most); None when it is absent, unreadable or in
    the past.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_truncated: bool
    remote_ip: str
    duration_ms: int
    retry_after_s: int | None

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def redirect_target(self) -> str | None:
        """Where a 3xx points, at most 300 characters; it is never followed."""
        location = self.headers.get("location") if 300 <= self.status < 400 else None
        return location[:LONGEST_REDIRECT] if location else None

    def body_text(self, longest: int) -> str:
        """The body as text for people: at most `longest` characters, without NUL, bad bytes replaced."""
        return self.body[: 4 * longest].decode(errors="replace").replace("\x00", "")[:longest]


def bounded_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as OutboundAnswer has them."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name = raw_name.decode("latin-1").lower()[:LONGEST_HEADER]
        value = _NOT_PRINTABLE.sub(" ", raw_value.decode("latin-1"))
        if name in headers:
            headers[name] = f"{headers[name]}, {value}"[:LONGEST_HEADER]
        elif len(headers) < MOST_HEADERS:
            headers[name] = value[:LONGEST_HEADER]
    return headers


def retry_after(value: str | None) -> int | None:
    """Seconds that a Retry-After asks for (RFC 9110, 10.2.3); None when it is unreadable or in the past."""
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text) is not None:
        return int(text)
    try:
        moment = parsedate_to_datetime(text)
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        seconds = (aware - clock.now()).total_seconds()
    except (ValueError, OverflowError, TypeError):
        return None
    return int(seconds) if 0 <= seconds <= MOST_SECONDS else None
