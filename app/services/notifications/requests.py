"""What an area asks for when an event should mail somebody."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID


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
    category: Literal["account", "security"]
    expires_at: datetime
    user_id: UUID | None = None
    organization_id: UUID | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    link: MailLink | SignedLink | None = None
