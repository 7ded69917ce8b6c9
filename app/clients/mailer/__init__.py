"""The mail port: what a sender takes, what it answers, and how it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """One rendered mail to one address. `message_id` is the same at every try."""

    message_id: str
    to_address: str
    from_address: str
    subject: str
    text: str
    html: str
    template: str
    locale: str
    headers: Mapping[str, str] = field(default_factory=dict)


class MailSender(Protocol):
    """Hands mails to one provider."""

    name: str

    async def send(self, mail: OutgoingMail) -> str | None:
        """Hand the mail over; answers the provider's own id if it gives one.

        Raises MailRefused when it was not taken, and MailOutcomeUnknown when nobody can tell.
        """


class MailRefused(Exception):
    """The mail was not taken.

    `is_permanent`: no later try will do better; `is_dead_address`: never again. `retry_after` are the seconds
    that the provider asks to be left alone for.
    """

    def __init__(
        self,
        code: str,
        *,
        is_permanent: bool = False,
        is_dead_address: bool = False,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.is_permanent = is_permanent
        self.is_dead_address = is_dead_address
        self.retry_after = retry_after


class MailOutcomeUnknown(Exception):
    """The connection broke after the message was handed over: perhaps it was taken, so nobody else tries."""
