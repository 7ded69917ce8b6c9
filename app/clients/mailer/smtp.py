"""The SMTP sender: STARTTLS or TLS compulsory, a plain connection to this machine only."""

import asyncio
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

import aiosmtplib

from app.clients.mailer import MailOutcomeUnknown, MailRefused, OutgoingMail

SECONDS = 20.0
SEVEN_BIT = SMTP.clone(cte_type="7bit")
"""Every body travels as ASCII, so that a server without 8BITMIME takes it too."""

TOO_LARGE = ("5.2.3", "5.3.4")
"""The same of a message that is larger than the mailbox or the server takes."""

DEAD_ADDRESS = ("5.1.1", "5.1.10", "5.2.1")
"""Enhanced status codes (RFC 3463) of an address that will never take mail."""


class SmtpSender:
    """Sends through the server of `smtp://user:password@host:587` or `smtps://…:465`."""

    name = "smtp"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("SMTP_URL is not of the form smtp://user:password@host:587")
        self.host = parts.hostname
        self.is_tls = parts.scheme == "smtps"
        self.port = parts.port or (465 if self.is_tls else 587)
        self.username = unquote(parts.username) if parts.username else None
        self.password = unquote(parts.password) if parts.password else None
        self.is_local = _is_loopback(self.host)

    async def send(self, mail: OutgoingMail) -> str | None:
        """Hand the mail over in one connection, within SECONDS."""
        message = as_message(mail)
        client = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            use_tls=self.is_tls,
            start_tls=None if self.is_local else not self.is_tls,
            timeout=SECONDS,
            tls_context=ssl.create_default_context(),
        )
        try:
            async with asyncio.timeout(SECONDS):
                await client.connect()
                if self.username is not None:
                    await client.login(self.username, self.password or "")
                await client.mail(_bare(mail.from_address))
                await client.rcpt(mail.to_address)
        except aiosmtplib.SMTPAuthenticationError as error:
            client.close()
            raise MailRefused("credentials") from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            client.close()
            raise _refusal(error) from error
        await self._hand_over(client, message)
        return None

    async def _hand_over(self, client: aiosmtplib.SMTP, message: EmailMessage) -> None:
        """DATA: an error reply is a refusal, silence is an outcome that nobody knows."""
        try:
            async with asyncio.timeout(SECONDS):
                await client.data(message.as_bytes())
        except aiosmtplib.SMTPResponseException as error:
            raise _refusal(error) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise MailOutcomeUnknown("unknown_outcome") from error
        finally:
            client.close()


def as_message(mail: OutgoingMail) -> EmailMessage:
    """The MIME message; a line break in a value that becomes a header is a ValueError."""
    message = EmailMessage(SEVEN_BIT)
    message["From"] = mail.from_address
    message["To"] = mail.to_address
    message["Subject"] = mail.subject
    message["Message-ID"] = f"<{mail.message_id}>"
    message["Date"] = formatdate(usegmt=True)
    message["Auto-Submitted"] = "auto-generated"
    for name, value in mail.headers.items():
        message[name] = value
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message


def _bare(address: str) -> str:
    return address.rpartition("<")[2].rstrip("> ")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refusal(error: Exception) -> MailRefused:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        is_permanent = error.code >= 500
        is_dead = is_permanent and str(error.message).startswith(DEAD_ADDRESS)
        is_large = is_permanent and str(error.message).startswith(TOO_LARGE)
        code = "bad_address" if is_dead else "too_large" if is_large else "refused"
        return MailRefused(code, is_permanent=is_permanent, is_dead_address=is_dead)
    if isinstance(error, TimeoutError | aiosmtplib.SMTPTimeoutError):
        return MailRefused("timeout")
    if isinstance(error, ssl.SSLError):
        return MailRefused("tls")
    return MailRefused("refused")
