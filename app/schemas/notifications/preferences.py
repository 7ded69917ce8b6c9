"""What the routes of preferences take and answer."""

from pydantic import ConfigDict, Field

from app.schemas.base import Input, Output, Text
from app.schemas.notifications.words import Category, Channel, Digest


class PreferenceRead(Output):
    """One channel of one category."""

    category: Category
    channel: Channel
    is_enabled: bool
    is_locked: bool = Field(description="It cannot be switched off.")
    digest: Digest
    default: bool = Field(description="Whether it is on unless the person says otherwise.")


class PreferenceMatrix(Output):
    """Every category with every channel."""

    items: list[PreferenceRead]
    next_cursor: None = None
    total: None = None


class PreferenceChange(Input):
    """A wish for one channel of one category."""

    category: Text = Field(max_length=24, examples=["orders"])
    channel: Channel = Field(examples=["email"])
    is_enabled: bool = Field(strict=True, examples=[True])
    digest: Digest | None = Field(None, description="How often they are gathered; unsaid: as it is.")


class PreferencesChange(Input):
    """Wishes; what is not named stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"preferences": [{"category": "orders", "channel": "email", "is_enabled": True}]}]
        }
    )

    preferences: list[PreferenceChange] = Field(min_length=1, max_length=100)


class SubscriptionRead(Output):
    """What a link of a mail is about."""

    category: Category
    email_masked: str = Field(examples=["a•••@example.com"])
    is_subscribed: bool = Field(description="Whether mails of this category are still sent.")
