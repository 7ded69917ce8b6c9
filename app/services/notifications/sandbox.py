"""The local outbox as a developer sees it."""

import re
from typing import Annotated

from fastapi import Depends

from app.core.database import Unscoped
from app.models.notifications import MailOutbox
from app.repositories.notifications import MailOutboxRepository
from app.schemas.sandbox import SandboxMail, SandboxMails

LINK = re.compile(r"https?://[^\s<>\"]+")
CODE = re.compile(r"(?<![\w/#=-])[0-9]{6}(?![\w-])")


class SandboxMailService:
    """Reads what the local sender kept."""

    def __init__(self, session: Unscoped) -> None:
        self.outbox = MailOutboxRepository(session)

    async def newest(self, to: str | None, limit: int) -> SandboxMails:
        """The newest mails, of one recipient if asked, with their links and code picked out."""
        return SandboxMails(items=[_shown(mail) for mail in await self.outbox.newest(to, limit)])


def _shown(mail: MailOutbox) -> SandboxMail:
    code = CODE.search(LINK.sub("", mail.text))
    return SandboxMail(
        id=mail.id,
        to=mail.to_address,
        from_=mail.from_address,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        template=mail.headers.get("X-Template"),
        locale=mail.headers.get("X-Locale"),
        links=LINK.findall(mail.text),
        code=code.group() if code else None,
        created_at=mail.created_at,
    )


SandboxMailbox = Annotated[SandboxMailService, Depends()]
