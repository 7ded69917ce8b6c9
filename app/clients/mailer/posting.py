"""Senders that hand a mail over by one POST of JSON; each provider has a file for what it is told."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from email.utils import parseaddr
from typing import Any, ClassVar

from app.clients.mailer import MailOutcomeUnknown, MailRefused, OutgoingMail
from app.clients.outbound import OutboundAnswer, OutboundClient, OutboundFailure

SECONDS = 20.0
MAX_ANSWER = 64 * 1024

HANDED_OVER = frozenset({"timeout", "connection_reset", "too_large"})
"""Failures of a request that may have reached the provider; all others come before the first byte of it."""


class PostingSender(ABC):
    """A provider with one address for mails. `address` is another one in tests."""

    name: str
    known_address: ClassVar[str]
    path: ClassVar[str]

    def __init__(
        self,
        api_key: str,
        outbound: OutboundClient,
        *,
        address: str | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._api_key = api_key
        self._seconds = seconds
        self._outbound = outbound
        self._url = f"{address or self.known_address}{self.path}"

    async def send(self, mail: OutgoingMail) -> str | None:
        """Hand the mail over; answers the provider's id of it. As MailSender."""
        _refuse_line_breaks(mail)
        try:
            answer = await self._outbound.send(
                "POST",
                self._url,
                headers={
                    **self.credentials(self._api_key),
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                },
                content=json.dumps(self.body(mail)).encode(),
                timeout_seconds=self._seconds,
                max_body=MAX_ANSWER,
                is_fixed=True,
            )
        except OutboundFailure as failure:
            if failure.code in HANDED_OVER:
                raise MailOutcomeUnknown("unknown_outcome") from failure
            code = "timeout" if failure.code.endswith("timeout") else "refused"
            raise MailRefused("tls" if failure.code.startswith("tls") else code) from failure
        return self.judge(answer)

    @abstractmethod
    def credentials(self, api_key: str) -> Mapping[str, str]:
        """The header that carries the key."""

    @abstractmethod
    def body(self, mail: OutgoingMail) -> Mapping[str, Any]:
        """The mail as the provider wants it."""

    @abstractmethod
    def judge(self, answer: OutboundAnswer) -> str | None:
        """The provider's id of a mail that it has taken; MailRefused."""


def person(address: str) -> dict[str, Any]:
    """`Luneo <no-reply@luneo.test>` as providers want it: `{"email"}`, and `name` if there is one."""
    name, bare = parseaddr(address)
    return {"email": bare, "name": name} if name else {"email": bare}


def _refuse_line_breaks(mail: OutgoingMail) -> None:
    """ValueError when a value would end its header and begin another one."""
    for value in (mail.subject, mail.from_address, mail.to_address, mail.message_id, *mail.headers.values()):
        if "\r" in value or "\n" in value:
            raise ValueError("a header of a mail has a line break")
