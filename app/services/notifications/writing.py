"""Owns the texts of mails as people write them: an organisation a few of them, the platform's staff all."""

from dataclasses import replace
from itertools import product
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal, Principal
from app.core.database import Database, DatabaseOf, Owner, ScopedSession, Unscoped
from app.core.errors import FieldError, Forbidden, Invalid, NotFound
from app.core.events import emit
from app.models.notifications import EmailTemplate
from app.repositories.notifications import EmailTemplateRepository
from app.schemas.notifications.templates import (
    RenderedTemplate,
    TemplateList,
    TemplatePreview,
    TemplateQuery,
    TemplateRead,
    TemplateSummary,
    TemplateWrite,
)
from app.services.notifications.events import EmailTemplateChanged, EmailTestRequested
from app.services.notifications.samples import OVERRIDABLE, sample_of
from app.services.notifications.templates import LOCALES, VARIABLES, RenderedMail
from app.services.notifications.texts import TextRefused, Texts, from_files, from_row, render_written, written

Rows = dict[tuple[str, str], EmailTemplate]


class TemplateService:
    """The texts of one owner: of `organization_id`, or of the platform where that is None."""

    def __init__(
        self,
        session: ScopedSession,
        database: Database,
        principal: Principal,
        *,
        organization_id: UUID | None,
    ) -> None:
        self.session = session
        self.database = database
        self.principal = principal
        self.templates = EmailTemplateRepository(session)
        self.organization_id = organization_id

    @property
    def keys(self) -> frozenset[str]:
        """The mails whose texts the owner may write."""
        return frozenset(VARIABLES) if self.organization_id is None else OVERRIDABLE

    async def list(self, query: TemplateQuery) -> TemplateList:
        """Every text that the owner may write, by mail and language."""
        rows = await self._in_use(query.key, query.locale)
        keys = sorted(key for key in self.keys if query.key in (None, key))
        locales = [locale for locale in LOCALES if query.locale in (None, locale)]
        return TemplateList(items=[self._summary(rows, *place) for place in product(keys, locales)])

    async def get(self, key: str, locale: str) -> TemplateRead:
        """The texts in use. 404; 403 `template_not_overridable`."""
        self._check(key, locale)
        return self._read(await self._in_use(key, locale), key, locale)

    async def write(self, key: str, locale: str, body: TemplateWrite) -> TemplateRead:
        """Use these texts from now on, as a new version. 404; 403; 422 `template_invalid`."""
        self._check(key, locale)
        texts = Texts(subject=body.subject, html=body.html, text=body.text)
        await self._judged(key, locale, texts, sample_of(key))
        await self.templates.lock(self.organization_id, key, locale)
        await self._put_aside(key, locale)
        version = await self.templates.newest_version(self.organization_id, key, locale) + 1
        row = EmailTemplate(
            organization_id=self.organization_id,
            key=key,
            locale=locale,
            version=version,
            subject=texts.subject,
            html=texts.html,
            text=texts.text,
            is_active=True,
            created_by=self.principal.user_id,
        )
        await self.templates.add(row)
        await self.session.refresh(row)
        await emit(self.session, EmailTemplateChanged(key=key, locale=locale, version=version))
        return self._read({(key, locale): row}, key, locale)

    async def reset(self, key: str, locale: str) -> None:
        """Back to the texts below: the platform's, or the files. Again is no fault. 404; 403."""
        self._check(key, locale)
        await self.templates.lock(self.organization_id, key, locale)
        if await self._put_aside(key, locale):
            await emit(self.session, EmailTemplateChanged(key=key, locale=locale, version=None))

    async def preview(self, key: str, locale: str, body: TemplatePreview) -> RenderedTemplate:
        """The mail as it would be sent. 404; 403; 422 `template_invalid`."""
        mail = await self._tried(key, locale, body)
        return RenderedTemplate(subject=mail.subject, html=mail.html, text=mail.text)

    async def test(self, key: str, locale: str, body: TemplatePreview) -> None:
        """Send the mail as it would be to the caller, and to nobody else. 404; 403; 422."""
        mail = await self._tried(key, locale, body)
        user_id = self.principal.user_id
        assert user_id is not None  # noqa: S101 - no key reaches these routes
        await emit(
            self.session,
            EmailTestRequested(user_id=user_id, template=key),
            private={"locale": locale, "subject": mail.subject, "html": mail.html, "text": mail.text},
        )

    async def _tried(self, key: str, locale: str, body: TemplatePreview) -> RenderedMail:
        self._check(key, locale)
        sample = sample_of(key)
        if strange := sorted(body.variables.keys() - sample.keys()):
            faults = [
                FieldError("/variables", "unknown_variable", f"There is no variable {name}.")
                for name in strange
            ]
            raise Invalid("template_invalid", "Name only variables of this mail.", errors=faults)
        # Read outside of the request's transaction, which must not be open while the mail is rendered.
        async with self.database.owner(self.principal, autocommit=True) as reading:
            own = await written(reading, self.organization_id, key, locale)
        sent = {name: value for name, value in body.model_dump(exclude={"variables"}).items() if value}
        return await self._judged(
            key, locale, replace(own or from_files(key, locale), **sent), {**sample, **body.variables}
        )

    async def _judged(self, key: str, locale: str, texts: Texts, variables: dict[str, str]) -> RenderedMail:
        """The mail by these texts; 422 `template_invalid` with the part and the line that are wrong."""
        whose = self.organization_id or self.principal.user_id
        try:
            return await render_written(key, locale, texts, variables, whose=whose)
        except TextRefused as refusal:
            where = f"Line {refusal.line}: " if refusal.line is not None else ""
            raise Invalid(
                "template_invalid",
                "The texts cannot be used; mend what is named and send them again.",
                errors=[FieldError(f"/{refusal.part}", refusal.code, f"{where}{refusal.why}.")],
                line=refusal.line,
            ) from None

    async def _in_use(self, key: str | None, locale: str | None) -> Rows:
        """The owner's rows over the platform's."""
        rows: Rows = {}
        for owner in (None,) if self.organization_id is None else (None, self.organization_id):
            for row in await self.templates.in_use(owner, key=key, locale=locale):
                rows[row.key, row.locale] = row
        return rows

    async def _put_aside(self, key: str, locale: str) -> bool:
        """Take the owner's own text out of use; whether there was one."""
        rows = await self.templates.in_use(self.organization_id, key=key, locale=locale)
        for row in rows:
            row.is_active = False
        await self.session.flush()
        return bool(rows)

    def _check(self, key: str, locale: str) -> None:
        if key not in VARIABLES or locale not in LOCALES:
            raise NotFound()
        if key not in self.keys:
            raise Forbidden(
                "template_not_overridable",
                "The texts of this mail are the platform's; GET /api/notifications/templates lists yours.",
            )

    def _summary(self, rows: Rows, key: str, locale: str) -> TemplateSummary:
        row = rows.get((key, locale))
        texts = from_files(key, locale) if row is None else from_row(row)
        return TemplateSummary(
            key=key,
            locale=locale,  # type: ignore[arg-type]  # one of LOCALES
            subject=texts.subject.strip(),
            version=texts.version,
            is_overridden=row is not None and row.organization_id == self.organization_id,
            created_at=row.created_at if row is not None else None,
        )

    def _read(self, rows: Rows, key: str, locale: str) -> TemplateRead:
        row = rows.get((key, locale))
        texts = from_files(key, locale) if row is None else from_row(row)
        summary = self._summary(rows, key, locale)
        return TemplateRead(
            **summary.model_dump(), html=texts.html, text=texts.text, variables=sample_of(key)
        )


def _of_organization(session: Owner, database: DatabaseOf, principal: CurrentPrincipal) -> TemplateService:
    return TemplateService(session, database, principal, organization_id=principal.organization_id)


def _of_platform(session: Unscoped, database: DatabaseOf, principal: CurrentPrincipal) -> TemplateService:
    return TemplateService(session, database, principal, organization_id=None)


OwnTemplates = Annotated[TemplateService, Depends(_of_organization)]
PlatformTemplates = Annotated[TemplateService, Depends(_of_platform)]
