"""What an area asks for when an event should mail somebody."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from app.core.events import Event
from app.schemas.notifications.words import Category

if TYPE_CHECKING:
    from app.core.database import SystemSession


@dataclass(frozen=True, slots=True)
class MailLink:
    """A one-time token that the mail carries: derived while rendering, never stored.

    `purpose` is that of the row in `one_time_tokens` (and the `use` of the derivation), `path` is on APP_URL.
    """

    purpose: str
    token_id: UUID
    path: str


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A token without a row that the mail carries: it is made of `facts` while rendering, never stored.

    `use` is the use of the signature, `path` is on APP_URL.
    """

    use: str
    facts: bytes
    path: str


@dataclass(frozen=True, slots=True)
class MailRequest:
    """One mail to one address, in the words of a template.

    `variables` are facts (a name, a device, a time), all of them strings. `category` decides about limits and
    preferences. After `expires_at` the mail would be useless and is not sent any more.
    """

    template: str
    to: str
    locale: str
    category: Category
    expires_at: datetime
    user_id: UUID | None = None
    organization_id: UUID | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    link: MailLink | SignedLink | None = None
    texts: Mapping[str, str] | None = None
    """`subject`, `text` and `html` of a mail that was rendered before, as the test of a text is."""


Composer = Callable[["SystemSession", str, dict[str, Any], dict[str, Any]], Awaitable[list[MailRequest]]]
"""Makes the mails of an event from its type, its payload (and `organization_id`) and its private part."""

COMPOSERS: dict[str, Composer] = {}
"""Who makes the mails of an event, by its type."""


def mails_for(*classes: type[Event]) -> Callable[[Composer], Composer]:
    """Register the composer of these events, which name the handler `mail`; it stands in a module `mails`."""

    def register(composer: Composer) -> Composer:
        for kind in classes:
            if kind.type in COMPOSERS:
                raise TypeError(f"two composers mail {kind.type}")
            COMPOSERS[kind.type] = composer
        return composer

    return register
