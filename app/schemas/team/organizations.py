"""What the routes of organisations take and answer."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from app.core.paging import PageQuery
from app.schemas.base import Input, Line, Output, Patch, StrictInt, Timestamp, absent

RESERVED_SLUGS = frozenset(
    {
        *("about", "account", "admin", "api", "app", "auth", "billing", "blog", "cdn", "dashboard", "dev"),
        *("docs", "help", "login", "logout", "luneo", "mail", "media", "new", "null", "openapi", "public"),
        *("organizations", "root", "sandbox", "settings", "signup", "staging", "static", "status"),
        *("support", "team", "undefined", "www"),
    }
)
"""Words that addresses of the service use, or that would pass for its own."""


def _free_word(value: str) -> str:
    if value in RESERVED_SLUGS:
        raise PydanticCustomError("slug_reserved", "this word is reserved; choose another one")
    return value


OrganizationName = Annotated[Line, Field(min_length=1, max_length=120, examples=["Maison Martin"])]
Slug = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9-]{1,46}[a-z0-9]$",
        description="The organisation's part of addresses; nobody else has it.",
        examples=["maison-martin"],
    ),
    AfterValidator(_free_word),
]
Version = Annotated[StrictInt, Field(ge=1, le=2_147_483_647, description="The `version` that was read.")]
MaxSeconds = Annotated[
    StrictInt,
    Field(
        ge=3600, le=2_592_000, description="A session must be confirmed again after this long; null: never."
    ),
]
IdleSeconds = Annotated[
    StrictInt,
    Field(ge=300, le=604_800, description="So long a session may do nothing; null: as everywhere."),
]


class OrganizationQuery(PageQuery):
    """The list of one's organisations, those first that one joined last."""


class OrganizationCreate(Input):
    """A new organisation."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Maison Martin"}]})

    name: OrganizationName
    slug: Slug | None = Field(None, description="Made from the name when it is left out.")


class OrganizationUpdate(Patch):
    """The fields to change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Maison Martin Paris"}]})

    name: OrganizationName = Field(default_factory=absent)
    slug: Slug = Field(default_factory=absent)
    version: Version | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set - {"version"}:
            raise ValueError("send `name` or `slug`")
        return self


class SecurityUpdate(Patch):
    """What the organisation demands of its members' sessions; only what is sent changes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"session_max_seconds": 86400}]})

    require_mfa: StrictBool = Field(default=False, description="Nobody enters without a second factor.")
    session_max_seconds: MaxSeconds | None = None
    session_idle_seconds: IdleSeconds | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("send at least one field")
        return self


class MyOrganization(Output):
    """One of the caller's organisations; `blocked_by` is the code that entering it would answer now."""

    id: UUID
    name: str
    slug: str
    kind: Literal["personal", "team"]
    plan: str
    role: str
    status: Literal["active", "suspended"]
    blocked_by: str | None
    members_count: int
    joined_at: Timestamp


class OrganizationRead(Output):
    """An organisation."""

    id: UUID
    name: str
    slug: str
    kind: Literal["personal", "team"]
    plan: str
    role: str = Field(description="The caller's role in it.")
    require_mfa: bool
    sso_enforced: bool
    session_max_seconds: int | None
    session_idle_seconds: int | None
    members_count: int
    version: int
    created_at: Timestamp
    updated_at: Timestamp


class OrganizationSecurity(Output):
    """What the organisation demands of its members' sessions."""

    require_mfa: bool
    sso_enforced: bool
    session_max_seconds: int | None
    session_idle_seconds: int | None
    members_without_mfa: int = Field(description="Members who have no second factor.")
    version: int
