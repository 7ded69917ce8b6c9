"""Owns the queue of mails: each is queued once per event and recipient, with all that is personal sealed."""

import hashlib
import json
from email.utils import parseaddr
from uuid import UUID

from app.core import clock
from app.core.config import get_settings
from app.core.crypto import every_mac, key_ring, mac, seal, unseal
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.core.mail_addresses import parse_address
from app.models.notifications import Email
from app.repositories.notifications import EmailRepository
from app.services.notifications.categories import is_switchable
from app.services.notifications.inbox.history import mail_queued, mail_skipped
from app.services.notifications.preferences.deciding import is_wanted
from app.services.notifications.requests import MailLink, MailRequest, SignedLink

ADDRESS_USE = "mail-address"
TO = "to_address_sealed"
VARIABLES = "variables_sealed"


def address_hash(address: str) -> bytes:
    """How an address is known where it must not stand in clear."""
    return mac(key_ring(), ADDRESS_USE, parse_address(address).canonical.encode())


def address_hashes(address: str) -> list[bytes]:
    """Every hash that the address may have: a key that was rotated out made another one."""
    return every_mac(key_ring(), ADDRESS_USE, parse_address(address).canonical.encode())


async def enqueue(session: SystemSession, event_id: UUID, request: MailRequest) -> UUID | None:
    """Queue a mail in the handler's transaction; None when this event already mailed this recipient, or when
    the recipient does not want mails of the category.
    """
    if not await is_still_wanted(session, request.user_id, request.category):
        await mail_skipped(session, event_id=event_id, request=request, reason="preference_off")
        return None
    email_id = uuid7()
    to_hash = address_hash(request.to)
    host = parseaddr(get_settings().mail_from)[1].rpartition("@")[2]
    digest = hashlib.sha256(to_hash).hexdigest()[:32]
    queued = await EmailRepository(session).enqueue(
        {
            "id": email_id,
            "event_id": event_id,
            "user_id": request.user_id,
            "organization_id": request.organization_id,
            "to_address_sealed": _sealed(request.to, TO, email_id),
            "to_hash": to_hash,
            "template_key": request.template,
            "locale": request.locale,
            "category": request.category,
            "variables_sealed": _sealed(json.dumps(_contents(request)), VARIABLES, email_id),
            "message_id": f"{email_id}@{host}",
            "expires_at": request.expires_at,
            "next_attempt_at": clock.now(),
            "dedupe_key": f"{event_id}:{request.template}:{digest}",
        }
    )
    if queued is not None:
        await mail_queued(session, email_id=queued, event_id=event_id, request=request)
    return queued


async def is_still_wanted(session: SystemSession, user_id: UUID | None, category: str) -> bool:
    """Whether the person takes mails of the category; a mail to an address of nobody is always wanted."""
    if user_id is None or not is_switchable(category, "email"):
        return True
    return await is_wanted(session, user_id, category, "email")


def address_of(email: Email) -> str:
    """To whom the mail goes."""
    return _opened(email.to_address_sealed, TO, email.id)


def contents_of(email: Email) -> dict[str, object]:
    """What `enqueue` kept: `variables`, `link`, and the `texts` of a mail that was rendered before."""
    if email.variables_sealed is None:
        return {"variables": {}, "link": None, "texts": None}
    contents: dict[str, object] = json.loads(_opened(email.variables_sealed, VARIABLES, email.id))
    return contents


def _contents(request: MailRequest) -> dict[str, object]:
    return {
        "variables": dict(request.variables),
        "link": _link_as_json(request.link),
        "texts": dict(request.texts) if request.texts is not None else None,
    }


def _link_as_json(link: MailLink | SignedLink | None) -> dict[str, str] | None:
    match link:
        case MailLink():
            return {"purpose": link.purpose, "token_id": str(link.token_id), "path": link.path}
        case SignedLink():
            return {"use": link.use, "facts": link.facts.hex(), "path": link.path}
        case None:
            return None


def _sealed(value: str, column: str, email_id: UUID) -> bytes:
    return seal(key_ring(), value.encode(), context=f"emails.{column}:{email_id}")


def _opened(sealed: bytes, column: str, email_id: UUID) -> str:
    return unseal(key_ring(), sealed, context=f"emails.{column}:{email_id}").decode()
