"""The SendGrid sender: one POST per mail, with every kind of tracking switched off."""

import json
from collections.abc import Mapping
from typing import Any

from app.clients.mailer import MailRefused, OutgoingMail
from app.clients.mailer.answers import refusal_of
from app.clients.mailer.posting import PostingSender, person
from app.clients.outbound import OutboundAnswer
from app.core import clock

NO_TRACKING = {
    "click_tracking": {"enable": False, "enable_text": False},
    "open_tracking": {"enable": False},
    "subscription_tracking": {"enable": False},
    "ganalytics": {"enable": False},
}


class SendGridSender(PostingSender):
    """Sends through SendGrid's `POST /v3/mail/send`. It knows no idempotency key, only the Message-ID."""

    name = "sendgrid"
    known_address = "https://api.sendgrid.com"
    path = "/v3/mail/send"

    def credentials(self, api_key: str) -> Mapping[str, str]:
        """A bearer token."""
        return {"Authorization": f"Bearer {api_key}"}

    def body(self, mail: OutgoingMail) -> Mapping[str, Any]:
        """One mail to one person."""
        return {
            "personalizations": [{"to": [{"email": mail.to_address}]}],
            "from": person(mail.from_address),
            "subject": mail.subject,
            "content": [
                {"type": "text/plain", "value": mail.text},
                {"type": "text/html", "value": mail.html},
            ],
            "headers": {
                **mail.headers,
                "Message-ID": f"<{mail.message_id}>",
                "Auto-Submitted": "auto-generated",
            },
            "categories": [mail.template],
            "tracking_settings": NO_TRACKING,
        }

    def judge(self, answer: OutboundAnswer) -> str | None:
        """Its message id."""
        if answer.is_success:
            return answer.headers.get("x-message-id", "")[:200] or None
        raise _refusal(answer)


def _refusal(answer: OutboundAnswer) -> MailRefused:
    is_dead = answer.status == 400 and any(".to." in field for field in _fields(answer.body))
    reset = answer.headers.get("x-ratelimit-reset", "")
    seconds = None
    if answer.status == 429 and reset.isascii() and reset.isdigit():
        # The moment in seconds since 1970.
        seconds = max(0, round(int(reset) - clock.now().timestamp()))
    return refusal_of(answer, is_dead_address=is_dead, reset_seconds=seconds)


def _fields(body: bytes) -> list[str]:
    """Which members of the request the provider complains about, such as `personalizations.0.to.0.email`."""
    try:
        errors = json.loads(body)["errors"]
        return [str(error["field"]) for error in errors if error.get("field")]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return []
