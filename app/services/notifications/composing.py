"""Owns what a queued mail says when its turn has come: the texts, the links made now, the headers."""

from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any
from uuid import UUID

import structlog

from app.clients.mailer import OutgoingMail
from app.core.config import get_settings
from app.core.crypto import EMAIL_TOKEN_PREFIX, derive_code, derive_token, key_ring, sign_facts
from app.core.database import SystemSession
from app.models.notifications import Email
from app.repositories.notifications import ReaderRepository
from app.services.notifications.categories import is_switchable
from app.services.notifications.mailing import address_of, contents_of
from app.services.notifications.templates import RenderedMail, TemplateError, render
from app.services.notifications.texts import Texts, manage_url, render_written, written
from app.services.notifications.unsubscribing import unsubscribe_url

logger = structlog.get_logger(__name__)

PATIENCE = 10.0
"""Seconds that a mail waits for a process which renders written texts: its lease runs, and others need its
place in the worker.
"""


@dataclass(frozen=True, slots=True)
class Wording:
    """What the database says of how a mail is worded. `texts` is None where the files count."""

    texts: Texts | None
    from_address: str


async def wording_of(session: SystemSession, email: Email) -> Wording:
    """Which texts the mail has, and in whose name it comes: to buyers in that of the shop."""
    texts = await written(session, email.organization_id, email.template_key, email.locale)
    shop = ""
    if email.category == "order_customer" and email.organization_id is not None:
        shop, _ = await ReaderRepository(session).names(email.organization_id, [])
    return Wording(texts, _from_address(shop))


def _from_address(name: str) -> str:
    """The service's own address, under this name if there is one."""
    ours = get_settings().mail_from
    line = "".join(character if character.isprintable() else " " for character in name).strip()
    if not line:
        return ours
    quoted = line.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{parseaddr(ours)[1]}>'


async def compose(email: Email, wording: Wording) -> tuple[int, OutgoingMail]:
    """The version of the texts, and the mail; TemplateError. Never in a transaction."""
    version, mail = await _rendered(email, wording.texts)
    return version, OutgoingMail(
        message_id=email.message_id,
        to_address=address_of(email),
        from_address=wording.from_address,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        template=email.template_key,
        locale=email.locale,
        headers=_headers(email),
    )


async def _rendered(email: Email, texts: Texts | None) -> tuple[int, RenderedMail]:
    contents: dict[str, Any] = contents_of(email)
    if contents["texts"] is not None:
        return 0, RenderedMail(**contents["texts"])
    variables = {**_pages(), **contents["variables"]}
    if contents["link"] is not None:
        variables |= _link_variables(contents["link"])
    manage = manage_url() if _may_unsubscribe(email) else ""
    if texts is not None:
        try:
            mail = await render_written(
                email.template_key,
                email.locale,
                texts,
                variables,
                manage=manage,
                whose=texts.organization_id,
                patience=PATIENCE,
            )
        except TemplateError as error:
            # They were judged by a sample; a mail that somebody waits for is sent with our own words then.
            logger.warning(
                "mail_text_refused", template=email.template_key, email_id=str(email.id), why=str(error)
            )
        else:
            return texts.version, mail
    return 0, render(email.template_key, email.locale, variables, manage)


def _headers(email: Email) -> dict[str, str]:
    """What lets people switch a category off without signing in (RFC 8058)."""
    if email.user_id is None or not _may_unsubscribe(email):
        return {}
    return {
        "List-Unsubscribe": f"<{unsubscribe_url(email.user_id, email.category)}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def _may_unsubscribe(email: Email) -> bool:
    return email.user_id is not None and is_switchable(email.category, "email")


def _pages() -> dict[str, str]:
    """Pages of the application that every mail may link to."""
    app_url = get_settings().app_url
    return {
        "app_url": app_url,
        "sign_in_url": f"{app_url}/login",
        "reset_url": f"{app_url}/forgot-password",
        "security_url": f"{app_url}/settings/security",
    }


def _link_variables(link: dict[str, str]) -> dict[str, str]:
    """The token, and the code of one that has a row, made now; the fragment keeps it out of servers' logs."""
    if "facts" in link:
        token = sign_facts(key_ring(), EMAIL_TOKEN_PREFIX, link["use"], bytes.fromhex(link["facts"]))
        return {"action_url": _action_url(link["path"], token)}
    token_id = UUID(link["token_id"])
    token = derive_token(key_ring(), EMAIL_TOKEN_PREFIX, link["purpose"], token_id)
    return {
        "action_url": _action_url(link["path"], token),
        "code": derive_code(key_ring(), link["purpose"], token_id),
    }


def _action_url(path: str, token: str) -> str:
    return f"{get_settings().app_url}{path}#token={token}"
