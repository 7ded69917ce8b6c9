"""One request to an endpoint: how it is made, and what it came to."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from app.clients.outbound import OutboundAnswer, OutboundFailure, code_of, get_outbound, hint_for
from app.core import clock
from app.services.integrations.webhooks.signing import signature

USER_AGENT = "Luneo-Webhooks/1"
LONGEST_BODY = 4_096
"""Characters of an answer that are kept."""

UNKEPT_HEADERS = frozenset({"set-cookie", "set-cookie2", "www-authenticate", "authorization"})
TRACE_DIGITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be sent: one envelope, to one address, signed with every live secret."""

    url: str
    secrets: Sequence[str] = field(repr=False)
    message_id: UUID
    body: bytes
    trace_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a request came to; `error_code` None is success."""

    error_code: str | None
    hint: str | None
    duration_ms: int
    remote_ip: str | None = None
    status: int | None = None
    redirect_target: str | None = None
    retry_after_s: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None

    @property
    def is_success(self) -> bool:
        return self.error_code is None

    def columns(self) -> dict[str, Any]:
        """The columns of the attempt's row."""
        return {
            "duration_ms": self.duration_ms,
            "remote_ip": self.remote_ip or None,
            "response_status": self.status,
            "error_code": self.error_code,
            "redirect_target": self.redirect_target,
            "retry_after_s": self.retry_after_s,
            "response_headers": self.headers,
            "response_body": self.body,
        }


async def send(message: Message) -> Outcome:
    """Send it, whatever comes of it; never inside a transaction. Takes 15 seconds at most."""
    headers = headers_of(message, clock.now())
    try:
        answer = await get_outbound().send("POST", message.url, headers=headers, content=message.body)
    except OutboundFailure as failure:
        return Outcome(
            error_code=failure.code,
            hint=hint_for(failure.code),
            duration_ms=failure.duration_ms,
            remote_ip=failure.remote_ip,
        )
    return _of_answer(answer)


def headers_of(message: Message, now: datetime) -> dict[str, str]:
    """The request's headers at this moment."""
    seconds = int(now.timestamp())
    trace = message.trace_id or ""
    if len(trace) != TRACE_DIGITS:
        trace = secrets.token_hex(TRACE_DIGITS // 2)
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": str(message.message_id),
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature(message.secrets, message.message_id, seconds, message.body),
        "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01",
    }


def _of_answer(answer: OutboundAnswer) -> Outcome:
    code = code_of(answer)
    return Outcome(
        error_code=code,
        hint=hint_for(code, answer) if code is not None else None,
        duration_ms=answer.duration_ms,
        remote_ip=answer.remote_ip,
        status=answer.status,
        redirect_target=answer.redirect_target,
        retry_after_s=answer.retry_after_s,
        headers={name: value for name, value in answer.headers.items() if name not in UNKEPT_HEADERS},
        body=answer.body_text(LONGEST_BODY),
    )
