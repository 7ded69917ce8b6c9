"""Owns which texts a mail has: the organisation's, the platform's, or those of the files; and judges them."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from app.core.config import get_settings
from app.core.database import ScopedSession
from app.core.isolation import TaskFailed, run_isolated
from app.models.notifications import EmailTemplate
from app.repositories.notifications import EmailTemplateRepository
from app.services.notifications.samples import OVERRIDABLE, essential_of
from app.services.notifications.templates import (
    PARTS,
    RenderedMail,
    TemplateError,
    declared,
    language,
    layouts,
    source,
)

CPU_SECONDS = 2
"""A text has one second; to start the process that renders it takes some of the rest."""

MANAGE_PATH = "/settings/notifications"
"""The page of the application on which people say what they want to be told."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The parts of a mail before anything is filled in. `version` is 0 for the files.

    `organization_id` is whose texts they are; None where they are the platform's.
    """

    subject: str
    html: str
    text: str
    version: int = 0
    organization_id: UUID | None = None


class TextRefused(TemplateError):
    """A written text cannot be used; what `app.core.isolated.mail_texts` says of it."""

    def __init__(self, part: str, line: int | None, code: str, why: str) -> None:
        super().__init__(f"{part}: {why}")
        self.part, self.line, self.code, self.why = part, line, code, why


def manage_url() -> str:
    """Where people say what they want to be told."""
    return f"{get_settings().app_url}{MANAGE_PATH}"


def from_files(template: str, locale: str) -> Texts:
    """The texts of the repository."""
    files = {part: source(template, language(locale), ending) for part, ending in PARTS.items()}
    return Texts(subject=files["subject"], html=files["html"], text=files["text"])


def from_row(row: EmailTemplate) -> Texts:
    """The texts that somebody wrote."""
    return Texts(
        subject=row.subject,
        html=row.html,
        text=row.text,
        version=row.version,
        organization_id=row.organization_id,
    )


async def written(
    session: ScopedSession, organization_id: UUID | None, template: str, locale: str
) -> Texts | None:
    """The organisation's own texts, or the platform's; None where the files count."""
    templates = EmailTemplateRepository(session)
    may_differ = organization_id is not None and template in OVERRIDABLE
    for owner in (organization_id, None) if may_differ else (None,):
        rows = await templates.in_use(owner, key=template, locale=language(locale))
        if rows:
            return from_row(rows[0])
    return None


async def render_written(
    template: str,
    locale: str,
    texts: Texts,
    variables: Mapping[str, str],
    *,
    manage: str = "",
    whose: UUID | None = None,
    patience: float | None = None,
) -> RenderedMail:
    """The mail by texts that somebody wrote, in a process of its own; TextRefused. Never in a transaction.

    Of one `whose`, an organisation or a member of the staff, one is rendered at a time, so that slow texts
    hold up nobody else's. 503 when there is no place for it within `patience` seconds.
    """
    try:
        report = await run_isolated(
            "mails.render",
            Path(tempfile.gettempdir()),
            {
                "parts": {part: getattr(texts, part) for part in PARTS},
                "variables": declared(template, variables),
                "essential": essential_of(template),
                "layouts": dict(layouts()),
                "frame": {"locale": language(locale), "manage_url": manage},
            },
            cpu_seconds=CPU_SECONDS,
            whose=str(whose) if whose is not None else None,
            patience=patience,
        )
    except TaskFailed:
        raise TextRefused("html", None, "too_slow", "rendering takes too long, or too much memory") from None
    if refused := report.get("refused"):
        raise TextRefused(refused["part"], refused["line"], refused["code"], refused["why"])
    return RenderedMail(**report)
