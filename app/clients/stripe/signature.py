"""The signature of Stripe's webhooks: made by the sandbox, verified on bytes by the intake."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence

HEADER = "Stripe-Signature"
MAX_HEADER_BYTES = 4096
MAX_SIGNATURES = 10
TOLERANCE_SECONDS = 300
"""How far a signature's time may lie from ours, on either side."""

_TIME = re.compile(r"[0-9]{1,12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class InvalidSignature(Exception):
    """The header is malformed, too old, from the future, or of none of our secrets."""


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """The header's value for `body` at `timestamp` (Unix seconds)."""
    return f"t={timestamp},v1={_digest(body, secret, timestamp)}"


def verify(headers: Sequence[bytes], body: bytes, secrets: Iterable[str], now: int) -> None:
    """Return when the one header among `headers` signs `body` with one of `secrets`.

    `now` is in Unix seconds. Raises InvalidSignature for everything else, whatever was sent.
    """
    if len(headers) != 1 or len(headers[0]) > MAX_HEADER_BYTES:
        raise InvalidSignature("there must be one header of at most 4 KiB")
    try:
        text = headers[0].decode("ascii")
    except UnicodeDecodeError:
        raise InvalidSignature("the header is not ASCII") from None
    timestamp, given = _parse(text)
    if abs(now - timestamp) > TOLERANCE_SECONDS:
        raise InvalidSignature("the time is too far from ours")
    matches = [
        hmac.compare_digest(digest, _digest(body, secret, timestamp))
        for secret in secrets
        for digest in given
    ]
    if not any(matches):
        raise InvalidSignature("no secret fits")


def _parse(text: str) -> tuple[int, list[str]]:
    """Time and signatures of a header; other schemes are left out."""
    times: list[str] = []
    digests: list[str] = []
    for part in text.split(","):
        scheme, _, value = part.strip().partition("=")
        if scheme == "t":
            times.append(value)
        elif scheme == "v1":
            digests.append(value)
    if len(times) != 1 or not _TIME.fullmatch(times[0]):
        raise InvalidSignature("there must be one time of 1 to 12 digits")
    if not 1 <= len(digests) <= MAX_SIGNATURES or not all(_DIGEST.fullmatch(digest) for digest in digests):
        raise InvalidSignature("there must be one to ten signatures of 64 hex digits")
    return int(times[0]), digests


def _digest(body: bytes, secret: str, timestamp: int) -> str:
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
