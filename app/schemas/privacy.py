"""What the routes of privacy take and answer."""

from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.core.paging import PageQuery
from app.schemas.base import Output, Query, Timestamp
from app.schemas.purposes import ConsentChoice, Purpose

PolicyLocale = Literal["fr", "en"]


class ConsentQuery(PageQuery):
    """What of the history is wanted."""

    purpose: Purpose | None = Field(None, description="Only this purpose.")


class ConsentCreate(ConsentChoice):
    """What a signed-in person says to one purpose."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"purpose": "analytics", "is_granted": True, "policy_version": "2026-01-15"}]
        }
    )

    source: Literal["settings", "banner"] = Field("settings", description="Where the person was asked.")


class ConsentRead(Output):
    """One row of the ledger."""

    id: UUID
    purpose: Purpose
    is_granted: bool
    policy_version: str
    policy_sha256: str = Field(description="Of the text that was shown, in hexadecimal digits.")
    source: Literal["signup", "settings", "banner", "unsubscribe", "import", "erasure"]
    created_at: Timestamp


class CurrentConsent(Output):
    """How one purpose stands; nothing is granted until a person grants it."""

    purpose: Purpose
    is_granted: bool
    policy_version: str | None = Field(description="The version that was decided about; null: never asked.")
    latest_version: str
    is_required: bool = Field(description="The service cannot be used without it.")
    is_outdated: bool = Field(description="A material version was published since.")
    decided_at: Timestamp | None


class CurrentConsents(Output):
    """Every purpose once."""

    items: list[CurrentConsent]
    next_cursor: None = None
    total: None = None


class PolicyQuery(PageQuery):
    """Which texts are wanted."""

    name: Purpose | None = Field(None, description="Only texts of this name.")
    locale: PolicyLocale | None = Field(None, description="Only texts in this language.")


class PolicyLanguage(Query):
    """The language of a text."""

    locale: PolicyLocale = Field("fr", description="The language of the text.")


class PolicyRead(Output):
    """A version of a text, without the text."""

    name: Purpose
    version: str
    locale: PolicyLocale
    title: str
    sha256: str = Field(description="Of the body in UTF-8, in hexadecimal digits.")
    is_material: bool = Field(description="Whoever agreed before is asked again.")
    published_at: Timestamp


class PolicyText(PolicyRead):
    """A version of a text."""

    body: str = Field(description="Markdown.")
