"""The Brevo sender: one POST per mail, with a key by which Brevo takes a repeated one only once."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.clients.mailer import MailRefused, OutgoingMail
from app.clients.mailer.answers import refusal_of
from app.clients.mailer.posting import PostingSender, person
from app.clients.outbound import OutboundAnswer

DUPLICATE = "duplicate_parameter"
"""The code of a repeated idempotency key (Brevo keeps them for a quarter of an hour or more)."""

NO_TRACKING = {"X-Mailin-Track": "0", "X-Mailin-Track-Opens": "0", "X-Mailin-Track-Links": "0"}
"""Brevo switches tracking by account; these are what it understands per message, and nobody else does."""


class BrevoSender(PostingSender):
    """Sends through Brevo's `POST /v3/smtp/email`. A repeated mail that was taken before is taken."""

    name = "brevo"
    known_address = "https://api.brevo.com"
    path = "/v3/smtp/email"

    def credentials(self, api_key: str) -> Mapping[str, str]:
        """Brevo's own header."""
        return {"api-key": api_key}

    def body(self, mail: OutgoingMail) -> Mapping[str, Any]:
        """One mail, with a key by which it is taken once."""
        return {
            "sender": person(mail.from_address),
            "to": [{"email": mail.to_address}],
            "subject": mail.subject,
            "htmlContent": mail.html,
            "textContent": mail.text,
            "tags": [mail.template],
            "headers": {
                **mail.headers,
                **NO_TRACKING,
                "Message-ID": f"<{mail.message_id}>",
                "Auto-Submitted": "auto-generated",
                "idempotencyKey": str(UUID(mail.message_id.partition("@")[0])),
            },
        }

    def judge(self, answer: OutboundAnswer) -> str | None:
        """Its message id; None of a mail that it took before."""
        said = _object(answer.body)
        if answer.is_success:
            return _text(said.get("messageId"))
        if answer.status == 400 and said.get("code") == DUPLICATE:
            return None
        raise _refusal(answer, said)


def _refusal(answer: OutboundAnswer, said: dict[str, object]) -> MailRefused:
    message = (_text(said.get("message")) or "").lower()
    is_dead = answer.status == 400 and "email is not valid in to" in message
    reset = answer.headers.get("x-sib-ratelimit-reset", "")
    seconds = int(reset) if answer.status == 429 and reset.isascii() and reset.isdigit() else None
    return refusal_of(answer, is_dead_address=is_dead, reset_seconds=seconds)


def _object(body: bytes) -> dict[str, object]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _text(value: object) -> str | None:
    return value[:200] if isinstance(value, str) else None
