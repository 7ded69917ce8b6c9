"""What the routes of members take and answer."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from app.core.mail_addresses import MailAddressText
from app.core.paging import PageQuery
from app.schemas.base import Input, Output, Patch, Text, Timestamp, absent

RoleKey = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_-]{1,31}$",
        description="A built-in role, or the key of a custom one.",
        examples=["designer"],
    ),
]
MemberSort = Literal[
    "-joined_at", "joined_at", "full_name", "-full_name", "last_active_at", "-last_active_at"
]
MemberStatus = Literal["active", "suspended", "pending"]


class MemberQuery(PageQuery):
    """Filters of the list of members."""

    q: Annotated[Text, Field(min_length=1, max_length=120)] | None = Field(
        None, description="How the name or the address begins, in any case."
    )
    role: RoleKey | None = Field(None, description="The key of a role.")
    status: MemberStatus | None = Field(None, description="`pending` are invitations, with `include`.")
    include: Literal["invitations"] | None = Field(None, description="List open invitations too.")
    sort: MemberSort = Field(
        "-joined_at", description="Order of the list; `-` means descending. A cursor goes with `joined_at`."
    )


class Member(Output):
    """A member, or somebody who is invited."""

    type: Literal["member", "invitation"]
    id: UUID
    user_id: UUID | None
    email: str
    full_name: str | None
    avatar_url: str | None
    role: str = Field(description="The key of the role.")
    role_name: str
    status: MemberStatus
    mfa_enabled: bool | None = Field(description="Null for callers without `members:update`.")
    last_active_at: Timestamp | None = Field(description="Exact to ten minutes.")
    joined_at: Timestamp | None
    invited_by: UUID | None


class MemberUpdate(Patch):
    """Another role, or another status."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "designer"}]})

    role: RoleKey = Field(default_factory=absent)
    status: Literal["active", "suspended"] = Field(default_factory=absent)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("send `role` or `status`")
        return self


class MemberRoleUpdate(Input):
    """Another role for a member, as older clients send it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"member_id": "0197a5c2-7d3e-7b1a-9c4f-2e8d6a1b5c3f", "role": "designer"}]
        }
    )

    member_id: UUID
    role: RoleKey


class MemberReference(Input):
    """A member, by one of three names."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"member_id": "0197a5c2-7d3e-7b1a-9c4f-2e8d6a1b5c3f"}]}
    )

    member_id: UUID | None = None
    user_id: UUID | None = None
    email: MailAddressText | None = None

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if sum(name is not None for name in (self.member_id, self.user_id, self.email)) != 1:
            raise ValueError("send one of `member_id`, `user_id` and `email`")
        return self


class Removal(Output):
    """What went with a membership."""

    member_id: UUID
    sessions: int = Field(description="Sessions that left the organisation, or were ended.")
    api_keys: int = Field(description="Keys of theirs that were revoked.")
    invitations: int = Field(description="Open invitations of theirs that were cancelled.")
    identities: int = Field(description="Identities of the organisation's single sign-on that were deleted.")
    integrations: int = Field(description="Connections that lost whoever had authorised them.")


class Removed(Output):
    """The receipt of a removal."""

    removed: Removal
