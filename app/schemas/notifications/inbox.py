"""What the routes of notices take and answer."""

from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from app.core.paging import Page, PageQuery
from app.schemas.base import Input, Output, Timestamp
from app.schemas.notifications.words import Category, Channel, DeliveryState, Level


class NotificationQuery(PageQuery):
    """Which notices are wanted."""

    is_read: bool | None = Field(None, description="Only read ones, or only unread ones.")
    unread: bool | None = Field(
        None,
        description="The opposite of `is_read`, which older clients send.",
        json_schema_extra={"deprecated": True},
    )
    type: Level | None = Field(None, description="Only of this level.")
    category: Category | None = Field(None, description="Only of this category.")
    organization_id: UUID | None = Field(None, description="Only about this organisation.")
    sort: Literal["-created_at"] = Field("-created_at", description="Newest first.")

    @model_validator(mode="after")
    def _one_word(self) -> "NotificationQuery":
        if self.is_read is not None and self.unread is not None:
            raise ValueError("send `is_read` or `unread`, not both")
        return self

    @property
    def wanted_read(self) -> bool | None:
        """Whether read or unread ones are wanted, whichever word said so."""
        return self.is_read if self.unread is None else not self.unread


class NotificationRead(Output):
    """Something that the caller has been told."""

    id: UUID
    user_id: UUID
    type: Level
    category: Category
    event_type: str | None = Field(description="The type of the event that it tells of.")
    title: str
    message: str
    action_url: str | None = Field(description="Where to go: a path of the application.")
    action_label: str | None
    is_read: bool
    read_at: Timestamp | None
    organization_id: UUID | None
    metadata: dict[str, Any] = Field(validation_alias="metadata_", description="Ids of what it is about.")
    created_at: Timestamp


class NotificationPage(Page[NotificationRead]):
    """A page of notices, and how many unread ones there are in all."""

    unread_count: int = Field(description="Of all the caller's notices, whatever the filters are.")


class UnreadCount(Output):
    """How many notices are unread."""

    unread_count: int
    by_category: dict[str, int] = Field(
        description="Categories with unread notices.", examples=[{"orders": 2}]
    )


class NotificationChange(Input):
    """The one thing about a notice that its reader may change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"is_read": True}]})

    is_read: bool = Field(strict=True, description="Whether it was read.")


class ReadAll(Input):
    """Which notices have been read."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    before: UUID | None = Field(
        None, description="The newest one that was seen; what came after it stays unread."
    )
    category: Category | None = Field(None, description="Only those of this category.")


class ReadAllResult(Output):
    """What became of it."""

    updated: int = Field(description="How many were unread until now.")
    unread_count: int


class HistoryQuery(PageQuery):
    """Which deliveries are wanted."""

    channel: Channel | None = Field(None, description="Only by this channel.")
    state: DeliveryState | None = Field(None, description="Only in this state.")
    category: Category | None = Field(None, description="Only of this category.")


class DeliveryRead(Output):
    """One way in which the caller was told something, or was not."""

    id: UUID
    channel: Channel
    category: Category
    title: str
    state: DeliveryState
    reason: str | None = Field(description="Why it was skipped or failed; a code.")
    provider: str | None = Field(description="Who carried it.")
    created_at: Timestamp
    completed_at: Timestamp | None


class TestNotice(Input):
    """By which way a test is wanted."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"channel": "in_app"}]})

    channel: Channel


class TestNoticeAccepted(Output):
    """The test is under way; the history tells how it ended."""

    delivery_id: UUID
