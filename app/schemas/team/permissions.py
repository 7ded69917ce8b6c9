"""What the routes of permissions and limits take and answer."""

from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.base import Input, Output


class PermissionRead(Output):
    """A permission."""

    name: str
    description: str
    resource: str
    action: str


class RolePermissions(Output):
    """What a role allows."""

    key: str
    permissions: list[str]


class PermissionMatrix(Output):
    """Every permission, which roles have it, and the caller's own."""

    permissions: list[PermissionRead]
    roles: list[RolePermissions]
    mine: list[str]


class Explain(Input):
    """Who may do what?"""

    model_config = ConfigDict(json_schema_extra={"examples": [{"permission": "orders:refund"}]})

    permission: Annotated[str, Field(min_length=1, max_length=64, examples=["orders:refund"])]
    user_id: UUID | None = Field(None, description="A member; the caller when it is left out.")


class Reason(Output):
    """One reason for an answer."""

    code: str
    detail: str


class Explanation(Output):
    """Whether somebody may do something, and why."""

    allowed: bool
    reasons: list[Reason]


class Gauge(Output):
    """How much of a limit is used."""

    limit: int | None = Field(description="Null: there is none.")
    used: int
    pending: int | None = Field(None, description="What open invitations hold, of `team_members` only.")


class TeamLimits(Output):
    """What the plan of the organisation has room for."""

    plan: str
    limits: dict[str, Gauge]
    features: list[str]
