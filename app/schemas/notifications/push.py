"""What the routes of web push take and answer."""

from uuid import UUID

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.core.paging import PageQuery
from app.schemas.base import Input, Output, Query, Text, Timestamp

EXAMPLE: JsonDict = {
    "endpoint": "https://fcm.googleapis.com/fcm/send/dXJ6:APA91bH",
    "keys": {
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    },
}


class PushKeys(Input):
    """The keys of a browser's subscription, in base64url."""

    p256dh: Text = Field(min_length=1, max_length=120, description="The browser's public key.")
    auth: Text = Field(min_length=1, max_length=40, description="The secret between it and the sender.")


class PushSubscriptionCreate(Input):
    """A subscription as the browser's `PushSubscription.toJSON()` gives it."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    endpoint: Text = Field(min_length=1, max_length=2048, description="The address at the push service.")
    keys: PushKeys
    expirationTime: float | None = Field(  # noqa: N815 - the browser's own name
        None,
        ge=0,
        le=1e16,
        strict=True,
        allow_inf_nan=False,
        description="When the browser means to renew it; it is not kept.",
    )


class PushSubscriptionRead(Output):
    """A browser that takes push messages, without what it takes to write to it."""

    id: UUID
    host: str = Field(description="The push service; empty when its address cannot be read any more.")
    user_agent: str | None
    is_current: bool = Field(description="It was subscribed in the session that asks.")
    last_ok_at: Timestamp | None = Field(description="When it last took a message.")
    created_at: Timestamp
    updated_at: Timestamp


class PushSubscriptionQuery(PageQuery):
    """Which subscriptions are wanted: the caller's, newest first."""


class PushEndpoint(Query):
    """A subscription that is named by its address."""

    endpoint: str = Field(
        min_length=1,
        max_length=2048,
        description="The address at the push service.",
        examples=[EXAMPLE["endpoint"]],
    )


class VapidPublicKey(Output):
    """The key that browsers subscribe with (`applicationServerKey`)."""

    public_key: str
