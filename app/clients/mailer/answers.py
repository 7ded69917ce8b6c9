"""How mail providers that speak HTTP refuse: what their statuses and failed requests mean for a mail."""

from collections.abc import Mapping
from email.utils import parseaddr
from typing import Any

from app.clients.mailer import MailOutcomeUnknown, MailRefused, OutgoingMail
from app.clients.outbound import OutboundAnswer, OutboundClient, OutboundFailure

SECONDS = 20.0
MAX_ANSWER = 64 * 1024

LONGEST_WAIT = 86_400
"""A provider that asks for a longer pause is asked again after a day."""

HANDED_OVER = frozenset({"timeout", "connection_reset", "too_large"})
"""Failures of a request that may have reached the provider; all others come before the first byte of it."""

NOT_YET_TAKEN = frozenset({408, 429})
CREDENTIALS = frozenset({401, 403})
TOO_LARGE = 413
PAYMENT_REQUIRED = 402


async def post(
    outbound: OutboundClient,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes,
    seconds: float = SECONDS,
) -> OutboundAnswer:
    """The provider's answer, whatever its status; MailRefused or MailOutcomeUnknown when there is none."""
    try:
        return await outbound.send(
            "POST",
            url,
            headers={**headers, "Content-Type": "application/json", "Accept": "application/json"},
            content=content,
            timeout_seconds=seconds,
            max_body=MAX_ANSWER,
            is_fixed=True,
        )
    except OutboundFailure as failure:
        if failure.code in HANDED_OVER:
            raise MailOutcomeUnknown("unknown_outcome") from failure
        code = "timeout" if failure.code.endswith("timeout") else "refused"
        raise MailRefused("tls" if failure.code.startswith("tls") else code) from failure


def refusal_of(
    answer: OutboundAnswer, *, is_dead_address: bool = False, reset_seconds: int | None = None
) -> MailRefused:
    """What an answer that is no success means. `reset_seconds`: until the provider's own limit is free."""
    waits = [seconds for seconds in (answer.retry_after_s, reset_seconds) if seconds is not None]
    retry_after = min(max(waits), LONGEST_WAIT) if waits else None
    status = answer.status
    if is_dead_address:
        return MailRefused("bad_address", is_permanent=True, is_dead_address=True)
    if status in CREDENTIALS:
        return MailRefused("credentials")
    if status == PAYMENT_REQUIRED:
        # It is the account that has nothing left: another sender may still take the mail.
        return MailRefused("quota", retry_after=retry_after)
    if status in NOT_YET_TAKEN or not 400 <= status < 500:
        return MailRefused("quota" if status == 429 else "refused", retry_after=retry_after)
    return MailRefused("too_large" if status == TOO_LARGE else "refused", is_permanent=True)


def person(address: str) -> dict[str, Any]:
    """`Luneo <no-reply@luneo.test>` as providers want it: `{"email"}`, and `name` if there is one."""
    name, bare = parseaddr(address)
    return {"email": bare, "name": name} if name else {"email": bare}


def refuse_line_breaks(mail: OutgoingMail) -> None:
    """ValueError when a value would end its header and begin another one."""
    for value in (mail.subject, mail.from_address, mail.to_address, mail.message_id, *mail.headers.values()):
        if "\r" in value or "\n" in value:
            raise ValueError("a header of a mail has a line break")
