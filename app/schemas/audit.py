"""What the audit log takes and gives."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, model_validator

from app.core.paging import PageQuery
from app.schemas.base import Input, Output, PublicProfile, Query, QueryInt, Text, Timestamp

Outcome = Literal["success", "failure", "denied"]
ActorKind = Literal["user", "api_key", "scim", "staff", "stripe", "customer", "anonymous", "system"]

Action = Annotated[
    str,
    Field(max_length=64, pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*(\.\*)?$", examples=["team.*"]),
]
ACTION = "An action such as `team.member_removed`, or all of a kind: `team.*`."
From = Annotated[Timestamp | None, Field(description="Not before this moment.")]
To = Annotated[Timestamp | None, Field(description="Before this moment.")]


class AuditQuery(PageQuery):
    """Which entries; the order is the chain's own, newest first."""

    action: Action | None = Field(None, description=ACTION)
    actor_id: UUID | None = Field(None, description="The person or the key that acted.")
    actor_kind: ActorKind | None = Field(None, description="What kind of actor.")
    target_type: Text | None = Field(None, max_length=64, description="The kind of thing it was about.")
    target_id: Text | None = Field(
        None, max_length=200, description="The id of that thing; needs `target_type`."
    )
    outcome: Outcome | None = Field(None, description="How it ended.")
    since: From = Field(None, alias="from")
    until: To = Field(None, alias="to")

    @model_validator(mode="after")
    def _whole_target(self) -> "AuditQuery":
        if self.target_id is not None and self.target_type is None:
            raise ValueError("`target_id` needs `target_type`")
        return self


class AuditActor(Output):
    """Who acted, called as they were at the time."""

    kind: ActorKind
    id: UUID | None
    name: str | None
    email: str | None
    erased: bool = Field(description="Whether name and address can no longer be read.")


class AuditTarget(Output):
    """What it was about."""

    type: str = Field(examples=["member"])
    id: str
    name: str | None = Field(description="Of a person, as they were called at the time.")
    erased: bool = Field(description="Whether the name can no longer be read.")


class AuditContext(Output):
    """From where, in which session or by which key, in which request."""

    ip_address: str | None
    user_agent: str | None
    country: str | None
    session_id: UUID | None
    api_key_id: UUID | None
    request_id: str | None
    erased: bool = Field(description="Whether the address can no longer be read.")


class AuditEntry(Output):
    """One entry of the audit log."""

    id: UUID = Field(description="The id of the event.")
    seq: int = Field(description="Its place in the organisation's chain, from 1, without gaps.")
    occurred_at: Timestamp
    created_at: Timestamp = Field(description="When it got its place.")
    action: str = Field(examples=["team.member_removed"])
    outcome: Outcome
    actor: AuditActor
    subject_id: UUID | None = Field(description="The person concerned.")
    targets: list[AuditTarget]
    context: AuditContext
    changes: dict[str, Any] | None = Field(
        description="Before and after by field; personal fields show null in place of their values."
    )
    personal: dict[str, Any] | None = Field(
        description='Further personal data of the person concerned; `{"erased": true}` once erased.'
    )
    prev_hash: str = Field(description="The hash of the entry before, in base64.")
    entry_hash: str = Field(description="SHA-256 over the hash before and this entry, in base64.")


class AuditAction(Output):
    """A kind of entry."""

    action: str
    description: str
    outcomes: list[Outcome]
    target_types: list[str]
    personal_fields: list[str] = Field(description="What is sealed under the key of the person concerned.")


class VerifyQuery(Query):
    """From where to verify."""

    from_seq: QueryInt | None = Field(
        None, ge=1, le=2**63 - 1, description="Begin at this entry and trust the one before it."
    )


class CheckpointProof(Output):
    """The newest checkpoint, and whether it is about this chain."""

    seq: int
    signed_at: Timestamp
    matches: bool | None = Field(description="Null when the key that signed it is no longer in use.")


class Verification(Output):
    """What a verification found."""

    ok: bool
    entries: int = Field(description="How many were recomputed.")
    from_seq: int
    to_seq: int = Field(description="The last entry that was right.")
    complete: bool = Field(description="Whether the end of the chain was reached.")
    next_seq: int | None = Field(description="Send it as `from_seq` to go on.")
    first_bad_seq: int | None = Field(description="Where the chain first differs from what it should be.")
    head_hash: str
    head_matches: bool | None = Field(description="Whether the last entry is the chain's head.")
    pending: int = Field(description="Entries that wait for their place.")
    checkpoint: CheckpointProof | None
    checked_at: Timestamp


class CheckpointRead(Output):
    """A signed head of the chain."""

    seq: int
    head_hash: str
    signed_at: Timestamp
    key_id: str
    signature: str = Field(
        description='Ed25519, in base64, over JCS of ["checkpoint.v1", organization_id, seq, head_hash,'
        " signed_at]."
    )


class PublicKeyRead(Output):
    """A key that checkpoints are proved by."""

    key_id: str
    algorithm: Literal["Ed25519"] = "Ed25519"
    public_key: str = Field(description="The 32 bytes of the key, in base64.")


class PublicKeys(Output):
    """The keys of the service, newest first."""

    keys: list[PublicKeyRead]


class AuditExportCreate(Input):
    """Which entries go into a file, and in which form."""

    format: Literal["jsonl", "csv"] = Field(examples=["jsonl"])
    since: Timestamp = Field(alias="from", examples=["2026-01-01T00:00:00Z"])
    until: Timestamp = Field(alias="to", examples=["2026-02-01T00:00:00Z"])
    action: Action | None = Field(None, description=ACTION)
    actor_id: UUID | None = None
    outcome: Outcome | None = None


class AuditExportRead(Output):
    """A file of entries."""

    id: UUID
    format: Literal["jsonl", "csv"]
    filters: dict[str, Any]
    status: Literal["queued", "running", "ready", "failed", "expired"]
    row_count: int | None
    sha256: str | None = Field(description="Of the file, once it is ready.")
    error_code: str | None
    expires_at: Timestamp | None
    download_url: str | None = Field(description="Where to get it with the same credential.")
    created_at: Timestamp


class ActivityQuery(PageQuery):
    """Which acts on the organisation and its team."""

    actor_id: UUID | None = Field(None, description="Who acted.")
    action: Action | None = Field(None, description=ACTION)


class ActivityTarget(Output):
    """What an act was about."""

    type: str
    id: str


class Activity(Output):
    """An act on the organisation or its team."""

    id: UUID
    occurred_at: Timestamp
    actor: PublicProfile | None = Field(description="Null when no person acted.")
    action: str
    summary: str = Field(examples=["Somebody joined the team."])
    targets: list[ActivityTarget]


class SecurityLogQuery(PageQuery):
    """Which of the caller's own entries."""

    action: Action | None = Field(None, description=ACTION)


class SecurityLogEntry(Output):
    """Something that happened to the caller's account."""

    id: UUID
    action: str
    outcome: Outcome
    occurred_at: Timestamp
    ip_address: str | None
    device: str | None = Field(examples=["Firefox 130, Linux"])
    location: dict[str, str] | None = Field(description="The country, when a proxy names it.")
    session_id: UUID | None
