"""The local sender: keeps mails in the table behind `/sandbox/mail` instead of sending them."""

from app.clients.mailer import OutgoingMail
from app.core.database import Database
from app.repositories.notifications import MailOutboxRepository


class LocalSender:
    """Used in development and test when no provider is configured."""

    name = "local"

    def __init__(self, database: Database) -> None:
        self.database = database

    async def send(self, mail: OutgoingMail) -> str | None:
        """Keep the mail; the oldest go when there are more than a thousand."""
        async with self.database.transaction() as session:
            await MailOutboxRepository(session).keep(mail)
        return None
