"""The SendGrid sender: one POST per mail, with every kind of tracking switched off."""

import json

from app.clients.mailer import MailRefused, OutgoingMail
from app.clients.mailer.answers import SECONDS, person, post, refusal_of, refuse_line_breaks
from app.clients.outbound import OutboundAnswer, OutboundClient
from app.core import clock

ADDRESS = "https://api.sendgrid.com"

NO_TRACKING = {
    "click_tracking": {"enable": False, "enable_text": False},
    "open_tracking": {"enable": False},
    "subscription_tracking": {"enable": False},
    "ganalytics": {"enable": False},
}


class SendGridSender:
    """Sends through SendGrid's `POST /v3/mail/send`. It knows no idempotency key, only the Message-ID."""

    name = "sendgrid"

    def __init__(
        self, api_key: str, outbound: OutboundClient, *, address: str = ADDRESS, seconds: float = SECONDS
    ) -> None:
        self._api_key = api_key
        self._seconds = seconds
        self._outbound = outbound
        self._url = f"{address}/v3/mail/send"

    async def send(self, mail: OutgoingMail) -> str | None:
        """Hand the mail over; answers SendGrid's message id."""
        refuse_line_breaks(mail)
        answer = await post(
            self._outbound,
            self._url,
            headers={"Authorization": f"Bearer {self._api_key}"},
            content=json.dumps(_body(mail)).encode(),
            seconds=self._seconds,
        )
        if answer.is_success:
            return answer.headers.get("x-message-id", "")[:200] or None
        raise _refusal(answer)


def _body(mail: OutgoingMail) -> dict[str, object]:
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
