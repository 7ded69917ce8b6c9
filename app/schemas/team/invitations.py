"""What callers send and get about invitations."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from app.core.mail_addresses import MailAddressText
from app.core.paging import PageQuery
from app.schemas.base import Input, Output, Query, Text, Timestamp

MOST_ADDRESSES = 20
LONGEST_CANDIDATE = 1000

RoleKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=32,
        pattern=r"^[a-z0-9_-]+$",
        description="A built-in role except `owner`, or the key of a custom one.",
        examples=["member"],
    ),
]
Candidate = Annotated[
    str,
    Field(max_length=LONGEST_CANDIDATE, description="An e-mail address.", examples=["nora@atelier.example"]),
]
Message = Annotated[Text, Field(max_length=500, description="A few words that the mail carries.")]
InvitationToken = Annotated[
    str, Field(min_length=1, max_length=1024, description="The token of the mail.", examples=["luneo_ot_…"])
]
InvitationStatus = Literal["pending", "accepted", "declined", "cancelled", "expired"]
Switch = Annotated[
    bool, Field(strict=True, description="Whether this session works in the organisation from now on.")
]


class Invite(Input):
    """One address, or several that all get the same role."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"email": "nora@atelier.example", "role": "designer", "message": "Welcome aboard!"}]
        }
    )

    email: MailAddressText | None = None
    emails: list[Candidate] | None = Field(
        None,
        min_length=1,
        max_length=MOST_ADDRESSES,
        description="One that is no address is refused by itself.",
    )
    role: RoleKey = "member"
    message: Message | None = None
    token: str | None = Field(
        None, max_length=1024, deprecated=True, description="Ignored: the service makes the token."
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.email is None) == (self.emails is None):
            raise ValueError("send `email` or `emails`")
        return self

    @property
    def names_a_token(self) -> bool:
        """Whether a token was sent, as older clients do."""
        return "token" in self.model_fields_set


class InvitationQuery(PageQuery):
    """Filters of the list of invitations."""

    status: InvitationStatus | None = Field(None, description="Only those in this state.")
    q: Annotated[Text, Field(min_length=1, max_length=254)] | None = Field(
        None, description="How the address begins, in any case."
    )


class InvitationRead(Output):
    """An invitation as the team sees it; its token is only in the mail."""

    id: UUID
    email: str
    role: str = Field(description="The key of the role that is offered.")
    role_name: str
    message: str | None
    status: InvitationStatus
    invited_by: UUID | None = Field(description="Who sent it last.")
    expires_at: Timestamp
    send_count: int
    last_sent_at: Timestamp
    created_at: Timestamp


class InvitedOne(Output):
    """What became of one address."""

    email: str
    status: Literal["invited", "already_pending", "refused"]
    code: str | None = Field(
        description="Why it was refused: `email_invalid`, `own_address`, `already_member`,"
        " `invitation_pending`, `plan_limit_reached` or `rate_limited`."
    )
    invitation: InvitationRead | None


class InvitedMany(Output):
    """What became of each address, in the order of the body."""

    items: list[InvitedOne]


class InvitationProof(Input):
    """The token of the mail."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "luneo_ot_…"}]})

    token: InvitationToken


class AcceptInvitation(InvitationProof):
    """The token of the mail, and whether to go there at once."""

    switch: Switch = True


class AcceptMine(Input):
    """Whether to go there at once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"switch": True}]})

    switch: Switch = True


class InvitationPreview(Output):
    """What the holder of a token may see before accepting."""

    organization_name: str
    logo_url: str | None
    inviter_name: str | None
    role_name: str
    email_masked: str
    expires_at: Timestamp
    has_account: bool = Field(description="Whether to sign in, or to sign up with this token.")


class JoinedOrganization(Output):
    """An organisation that the caller belongs to."""

    id: UUID
    name: str
    slug: str
    kind: str


class Joined(Output):
    """The organisation, and the caller's role there."""

    organization: JoinedOrganization
    role: str = Field(description="The key of the role.")


class InvitingOrganization(Output):
    """An organisation that invites."""

    id: UUID
    name: str
    logo_url: str | None


class MyInvitation(Output):
    """An open invitation to the caller's own address."""

    id: UUID
    organization: InvitingOrganization
    inviter_name: str | None
    role: str
    role_name: str
    message: str | None
    expires_at: Timestamp
    created_at: Timestamp


class InvitationReference(Query):
    """The id of an invitation, as older clients send it in the query."""

    id: UUID = Field(description="The invitation.")
