"""What streams, the long poll and the pull API take and give."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.core.paging import PageQuery
from app.schemas.base import Output, QueryInt, Text, Timestamp

Types = Annotated[
    Text | None,
    Field(
        min_length=1,
        max_length=2000,
        description="Comma list of event types, such as `order.paid`; `order.*` names all of a kind.",
    ),
]

MOST_TOPICS = 20


def _few(topics: str) -> str:
    if topics.count(",") >= MOST_TOPICS:
        raise ValueError(f"name at most {MOST_TOPICS} topics")
    return topics


Topics = Annotated[
    Annotated[str, AfterValidator(_few)] | None,
    Field(
        max_length=2000,
        description=f"Comma list of up to {MOST_TOPICS} topics to follow besides your own.",
    ),
]


class ResumeQuery(BaseModel):
    """Where to go on. A bad cursor is never refused, because browsers do not reconnect after a refusal."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    cursor: str | None = Field(None, description="Go on after this cursor; without one: from now on.")
    types: Types = None
    topics: Topics = None


class StreamQuery(ResumeQuery):
    """What a stream is asked for."""

    last_event_id: str | None = Field(None, description="The same as `cursor`.")
    ticket: str | None = Field(
        None, description="A ticket instead of `Authorization`, for clients that cannot send headers."
    )


class PollQuery(ResumeQuery):
    """What a poll is asked for."""

    wait: QueryInt = Field(0, ge=0, le=25, description="How many seconds to wait for the first event.")
    limit: QueryInt = Field(20, ge=1, le=100, description="Events of one answer.")


class Actor(Output):
    """Who did it."""

    type: str = Field(description="`user`, `api_key`, `system` and others.")
    id: UUID | None = Field(description="The person or the key.")


class Subject(Output):
    """What it is about."""

    type: str
    id: str


class EventEnvelope(Output):
    """An event, as webhooks carry it too."""

    id: UUID
    type: str = Field(examples=["order.paid"])
    timestamp: Timestamp
    api_version: str
    livemode: bool = Field(description="Whether it happened in production.")
    organization_id: UUID | None = Field(description="Null for events that are a person's own.")
    actor: Actor
    object: Subject | None
    data: dict[str, Any] = Field(
        description="As the type's schema says; see GET /api/events/types. Streams and polls add the thing"
        " itself where people wrote it, such as `notification`."
    )


class EventPoll(Output):
    """What follows a cursor."""

    items: list[EventEnvelope]
    next_cursor: str = Field(
        description="Send it as `cursor` of the next poll; the log has no end, so it is never null."
    )
    total: int | None = Field(description="Always null: nobody counts a log that has no end.")
    mode: Literal["live", "replay", "reset"] = Field(
        description="`replay`: the items were missed; `reset`: the cursor was no good, so load afresh."
    )
    reason: Literal["malformed", "unknown_epoch", "ahead", "expired", "too_many"] | None = Field(
        description="Why the cursor was no good."
    )


class TicketRead(Output):
    """Lets whoever sends it open one stream."""

    ticket: str | None = Field(
        description="Null in a repeated answer.", examples=["luneo_st_AZelwn0-exqcTy6NahtcPw"]
    )
    expires_in: int = Field(description="Seconds.")


class EventQuery(PageQuery):
    """Which events, and in which order."""

    after: UUID | None = Field(
        None, description="The id of an event: what follows it, oldest first; without `sort` and `cursor`."
    )
    types: Types = None
    object_type: Text | None = Field(None, max_length=64, description="The kind of thing it is about.")
    object_id: Text | None = Field(None, max_length=200, description="The id of the thing it is about.")
    since: Timestamp | None = Field(None, description="Not before this moment.")
    until: Timestamp | None = Field(None, description="Before this moment.")
    sort: Literal["-position", "position"] | None = Field(
        None, description="By the position in the log; newest first unless `after` is sent."
    )

    @model_validator(mode="after")
    def _one_beginning(self) -> "EventQuery":
        if self.after is not None and (self.sort or self.cursor or self.page):
            raise ValueError("`after` goes with neither `sort` nor `cursor` nor `page`")
        return self


class EventTypeQuery(PageQuery):
    """Which types."""

    webhook: bool | None = Field(None, description="Only types that webhooks may carry, or may not.")


class EventTypeRead(Output):
    """A type of event."""

    type: str
    description: str
    audience: Literal["organization", "personal", "topic"] = Field(
        description="Who hears of it: members who may read it, one person, or followers of a topic."
    )
    read_permission: str | None = Field(description="What a member must hold to read it.")
    webhook: bool = Field(description="Whether webhooks may carry it.")
    data_schema: dict[str, Any] = Field(
        serialization_alias="schema", description="JSON Schema of the event's `data`."
    )
    sample: dict[str, Any] = Field(description="A whole event of this type.")
