"""Asks a public list whether a password was leaked. Five digits of its digest go out, never the password.

https://haveibeenpwned.com/API/v3#SearchingPwnedPasswordsByRange
"""

import hashlib

import structlog

from app.clients.outbound import OutboundClient, OutboundFailure

ADDRESS = "https://api.pwnedpasswords.com/range/"

SECONDS = 2.0
"""How long a sign-up waits for the list."""

PREFIX_DIGITS = 5
LONGEST_ANSWER = 256 * 1024

logger = structlog.get_logger(__name__)


async def is_leaked(outbound: OutboundClient, password: str) -> bool:
    """Whether the list has this password; no when it does not answer in time, which is logged."""
    # The list goes by SHA-1: it is a name here, and protects nothing.
    digest = hashlib.sha1(password.encode("utf-8", "surrogatepass"), usedforsecurity=False)
    name = digest.hexdigest().upper()
    prefix, suffix = name[:PREFIX_DIGITS], name[PREFIX_DIGITS:]
    try:
        answer = await outbound.send(
            "GET",
            f"{ADDRESS}{prefix}",
            # Answers of one length do not tell an observer which digits were asked for.
            headers={"Add-Padding": "true"},
            timeout_seconds=SECONDS,
            max_body=LONGEST_ANSWER,
            is_fixed=True,
        )
    except OutboundFailure as failure:
        logger.warning("password_list_unavailable", reason=failure.code)
        return False
    if not answer.is_success or answer.is_truncated:
        logger.warning("password_list_unavailable", reason=answer.status)
        return False
    return any(_is_hit(line, suffix) for line in answer.body.decode("ascii", "replace").splitlines())


def _is_hit(line: str, suffix: str) -> bool:
    """Whether a line, `<rest of a digest>:<how often>`, is of this digest; padding has been seen 0 times."""
    found, _, times = line.strip().partition(":")
    return found.upper() == suffix and times not in ("", "0")
