"""What the routes of roles take and answer."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.core.paging import PageQuery
from app.core.permissions import Permission, Role
from app.schemas.base import Input, Line, Output, Patch, PublicProfile, Text, absent
from app.schemas.team.organizations import Version

TAKEN_KEYS = frozenset({*Role, "custom"})


def _custom_key(value: str) -> str:
    if value in TAKEN_KEYS:
        raise PydanticCustomError("key_reserved", "this is the name of a built-in role; choose another one")
    return value


CustomKey = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_-]{1,31}$", description="Never changes.", examples=["print-shop"]),
    AfterValidator(_custom_key),
]
RoleName = Annotated[Line, Field(min_length=1, max_length=60, examples=["Print shop"])]
RoleText = Annotated[Text, Field(max_length=300, examples=["Prints what was ordered."])]
PermissionNames = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(
        max_length=len(Permission) + 50,
        description="Names of permissions; `organization:read` always belongs to them.",
        examples=[["products:read", "orders:read"]],
    ),
]


class RoleQuery(PageQuery):
    """The list of roles: the built-in ones from the owner down, then the custom ones, oldest first."""


class RoleCreate(Input):
    """A custom role."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"key": "print-shop", "name": "Print shop", "permissions": ["products:read", "orders:read"]}
            ]
        }
    )

    key: CustomKey
    name: RoleName
    description: RoleText | None = None
    permissions: PermissionNames


class RoleUpdate(Patch):
    """The fields to change; `key` stays as it was made."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Print room", "version": 1}]})

    name: RoleName = Field(default_factory=absent)
    description: RoleText | None = None
    permissions: PermissionNames = Field(default_factory=list)
    version: Version | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set - {"version"}:
            raise ValueError("send `name`, `description` or `permissions`")
        return self


class RolePreview(Input):
    """The permissions that a role might have."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"permissions": ["products:read"]}]})

    permissions: PermissionNames


class RoleRead(Output):
    """A role."""

    id: UUID | None = Field(description="Null for built-in roles, which nobody changes.")
    key: str
    name: str
    description: str | None
    permissions: list[str]
    is_builtin: bool
    members_count: int
    version: int


class RoleEffects(Output):
    """What a change of a role's permissions would do."""

    gains: list[str]
    losses: list[str]
    members: list[PublicProfile] = Field(description="Who has the role; a hundred at most.")
