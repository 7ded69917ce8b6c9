"""Owns the queue of mails: each is queued once per event and recipient, with all that is personal sealed."""

import hashlib
import json
from collections.abc import Sequence
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
from app.services.notifications.inbox.history import mails_queued, mails_skipped
from app.services.notifications.preferences.deciding import is_wanted, unwilling
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
    """`enqueue_all` of one mail; its id, or None."""
    queued = await enqueue_all(session, event_id, [request])
    return queued[0] if queued else None


async def enqueue_all(
    session: SystemSession, event_id: UUID, requests: Sequence[MailRequest]
) -> Sequence[UUID]:
    """Queue the mails of an event in the handler's transaction: hundreds cost as many statements as one.

    Answers their ids. Left out are those that this event has sent to the same recipient already, and those
    whose recipient does not want mails of the category.
    """
    unwanted = await _unwanted(session, requests)
    skipped = [one for one in requests if (one.user_id, one.category) in unwanted]
    await mails_skipped(session, event_id, skipped, reason="preference_off")
    wanted = {uuid7(): one for one in requests if (one.user_id, one.category) not in unwanted}
    rows = [_row(email_id, event_id, one) for email_id, one in wanted.items()]
    new = await EmailRepository(session).add_all(rows)
    queued = {email_id: one for email_id, one in wanted.items() if email_id in new}
    await mails_queued(session, event_id, queued)
    return list(queued)


async def _unwanted(session: SystemSession, requests: Sequence[MailRequest]) -> set[tuple[UUID | None, str]]:
    """Whom not to write to about what; a mail to an address of nobody is always wanted."""
    unwanted: set[tuple[UUID | None, str]] = set()
    for category in {one.category for one in requests if is_switchable(one.category, "email")}:
        people = {one.user_id for one in requests if one.category == category and one.user_id is not None}
        unwanted |= {(one, category) for one in await unwilling(session, people, category, "email")}
    return unwanted


def _row(email_id: UUID, event_id: UUID, request: MailRequest) -> dict[str, object]:
    to_hash = address_hash(request.to)
    host = parseaddr(get_settings().mail_from)[1].rpartition("@")[2]
    digest = hashlib.sha256(to_hash).hexdigest()[:32]
    return {
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
