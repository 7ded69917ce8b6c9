"""The written texts of mails: versions, of which one is in use."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, func, select

from app.models.notifications import EmailTemplate
from app.repositories.base import Repository


class EmailTemplateRepository(Repository[EmailTemplate]):
    """Texts of organisations, and with `organization_id` None those of the platform."""

    model = EmailTemplate

    async def in_use(
        self, organization_id: UUID | None, *, key: str | None = None, locale: str | None = None
    ) -> Sequence[EmailTemplate]:
        """The texts in use of this owner, of one mail or language if asked."""
        wanted = [_owned_by(organization_id), EmailTemplate.is_active]
        if key is not None:
            wanted.append(EmailTemplate.key == key)
        if locale is not None:
            wanted.append(EmailTemplate.locale == locale)
        return (await self.session.scalars(select(EmailTemplate).where(*wanted))).all()

    async def lock(self, organization_id: UUID | None, key: str, locale: str) -> None:
        """Let nobody else write this text until the transaction ends; there may be no row to lock."""
        whose = f"mail-text:{organization_id}:{key}:{locale}"
        await self.session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(whose, 0))))

    async def newest_version(self, organization_id: UUID | None, key: str, locale: str) -> int:
        """The number of the last version that was written, in use or not; 0 without one."""
        newest = select(func.max(EmailTemplate.version)).where(
            _owned_by(organization_id), EmailTemplate.key == key, EmailTemplate.locale == locale
        )
        return await self.session.scalar(newest) or 0


def _owned_by(organization_id: UUID | None) -> ColumnElement[bool]:
    if organization_id is None:
        return EmailTemplate.organization_id.is_(None)
    return EmailTemplate.organization_id == organization_id
