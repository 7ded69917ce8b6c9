"""What the routes of the profile take and answer."""

import unicodedata
from functools import lru_cache
from typing import Annotated, Any, Literal, Self
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.core.mail_addresses import LONGEST_ADDRESS
from app.schemas.base import Line, Output, Patch, StrictInt, Text, Timestamp, null_if_blank

NOT_PLACES = frozenset({"Factory", "localtime"})
"""What stands in the directory of time zones and is none."""


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """The names of IANA's time zone database."""
    return frozenset(available_timezones() - NOT_PLACES)


def _time_zone(value: str) -> str:
    if value not in time_zones():
        raise PydanticCustomError("time_zone_unknown", "a time zone of IANA, as `Europe/Paris`, is due")
    return value


def _lines(value: str) -> str:
    """Text of several lines, trimmed and in NFC."""
    if any(character != "\n" and unicodedata.category(character) == "Cc" for character in value):
        raise PydanticCustomError("control_character", "control characters other than `\\n` are not allowed")
    return unicodedata.normalize("NFC", value.strip())


Locale = Literal["fr", "en"]
Name = Annotated[Line, Field(max_length=120), AfterValidator(null_if_blank)]
TimeZone = Annotated[
    str, Field(max_length=64, description="A name of IANA's database."), AfterValidator(_time_zone)
]
Bio = Annotated[Text, AfterValidator(_lines), Field(max_length=2000), AfterValidator(null_if_blank)]
Fixed = Annotated[Any, Field(json_schema_extra={"readOnly": True})]
"""A field that is shown, or was once, and that nobody writes here (`field_not_writable`)."""


class ProfileUpdate(Patch):
    """What a person says about themselves; only what is sent changes, and null clears."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "full_name": "Camille Martin",
                    "company": "Maison Martin",
                    "city": "Lyon",
                    "locale": "fr",
                    "timezone": "Europe/Paris",
                }
            ]
        }
    )

    full_name: Name | None = None
    name: Name | None = Field(None, json_schema_extra={"deprecated": True}, description="Older `full_name`.")
    company: Name | None = None
    bio: Bio | None = None
    city: Name | None = None
    locale: Locale = "fr"
    timezone: TimeZone = "Europe/Paris"
    version: Annotated[StrictInt, Field(ge=1, le=2**31 - 1)] | None = Field(
        None, description="The version that you read; a newer one is not overwritten (412)."
    )
    email: Annotated[Text, Field(max_length=LONGEST_ADDRESS)] | None = Field(
        None, description="Your present address at most: it changes at `/api/settings/email`."
    )
    id: Fixed = None
    avatar_file_id: Fixed = None
    avatar_url: Fixed = None
    cover_url: Fixed = None
    created_at: Fixed = None
    email_confirmed_at: Fixed = None
    is_platform_admin: Fixed = None
    mfa_enabled: Fixed = None
    pending_email: Fixed = None
    permissions: Fixed = None
    plan: Fixed = None
    role: Fixed = None
    status: Fixed = None
    stripe_customer_id: Fixed = None
    stripe_subscription_id: Fixed = None
    subscription_status: Fixed = None
    subscription_type: Fixed = None
    trial_ends_at: Fixed = None
    updated_at: Fixed = None
    user_id: Fixed = None

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if {"name", "full_name"} <= self.model_fields_set and self.name != self.full_name:
            raise PydanticCustomError("names_differ", "`name` is another word for `full_name`; send one")
        return self


WRITABLE = frozenset({"full_name", "name", "company", "bio", "city", "locale", "timezone"})
NOT_WRITABLE = frozenset(ProfileUpdate.model_fields) - WRITABLE - {"version", "email"}


class ProfileRead(Output):
    """The caller's own profile."""

    id: UUID
    email: str
    email_confirmed_at: Timestamp | None
    pending_email: str | None
    full_name: str | None
    name: str | None = Field(description="The same as `full_name`.")
    company: str | None
    bio: str | None
    city: str | None
    locale: str
    timezone: str
    avatar_url: str | None
    version: int
    created_at: Timestamp
    updated_at: Timestamp
