"""Owns which senders of mail there are, in which order, and which of them is left alone for a while."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.clients.mailer import MailRefused, MailSender
from app.clients.mailer.brevo import BrevoSender
from app.clients.mailer.local import LocalSender
from app.clients.mailer.sendgrid import SendGridSender
from app.clients.mailer.smtp import SmtpSender
from app.clients.outbound import get_outbound
from app.core import clock
from app.core.config import Settings, get_settings
from app.core.database import Database

MOST_REFUSALS = 5
"""So many refusals in a row, whichever mails they were about, and a sender is left alone."""

PAUSE = timedelta(seconds=60)
CREDENTIALS_PAUSE = timedelta(minutes=10)


def configured(settings: Settings) -> list[str]:
    """The names of the senders that the settings know, in the order in which they are tried."""
    given = {
        "smtp": settings.smtp_url,
        "brevo": settings.brevo_api_key,
        "sendgrid": settings.sendgrid_api_key,
    }
    return [name for name in settings.mail_providers if given[name]]


def senders_of(database: Database) -> list[MailSender]:
    """The configured senders in their order; without one the local outbox, and in production none."""
    settings = get_settings()
    senders = [_sender(name, settings) for name in configured(settings)]
    if not senders and settings.has_sandbox:
        return [LocalSender(database)]
    return senders


def _sender(name: str, settings: Settings) -> MailSender:
    match name:
        case "smtp":
            return SmtpSender(settings.smtp_url or "")
        case "brevo":
            return BrevoSender(settings.brevo_api_key or "", get_outbound())
        case _:
            return SendGridSender(settings.sendgrid_api_key or "", get_outbound())


@dataclass(slots=True)
class _Standing:
    refusals: int = 0
    skipped_until: datetime | None = None


class SenderBoard:
    """How the senders of this process have done lately."""

    def __init__(self) -> None:
        self._standings: dict[str, _Standing] = {}

    def in_turn(self, senders: Sequence[MailSender]) -> list[MailSender]:
        """Those that are not left alone; with all of them left alone, the first."""
        now = clock.now()
        ready = [sender for sender in senders if not self._is_skipped(sender.name, now)]
        return ready or list(senders[:1])

    def took(self, name: str) -> None:
        """The sender answered as it should."""
        self._standings.pop(name, None)

    def refused(self, name: str, refusal: MailRefused) -> bool:
        """Note a refusal that says something about the sender; whether it is news that its key is wrong."""
        standing = self._standings.setdefault(name, _Standing())
        now = clock.now()
        if refusal.code == "credentials":
            is_news = not self._is_skipped(name, now)
            standing.skipped_until = now + CREDENTIALS_PAUSE
            return is_news
        standing.refusals += 1
        if standing.refusals >= MOST_REFUSALS:
            standing.refusals = 0
            standing.skipped_until = now + PAUSE
        return False

    def _is_skipped(self, name: str, now: datetime) -> bool:
        standing = self._standings.get(name)
        return standing is not None and standing.skipped_until is not None and now < standing.skipped_until


BOARD = SenderBoard()
"""The board of this process."""
