"""What callers send and get about connections."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from app.core.paging import Page, PageQuery
from app.schemas.base import Input, Line, Output, Patch, Query, Text, Timestamp
from app.schemas.metadata import Metadata

ServiceName = Annotated[str, Field(min_length=1, max_length=40, examples=["slack"])]
AuthMode = Literal["oauth2", "api_key", "inbound"]
Status = Literal["connected", "error", "needs_reauth", "disconnected"]
LogKind = Literal["connect", "refresh", "test", "sync", "disconnect", "inbound"]

LONGEST_REDIRECT = 512
LONGEST_STATE = 256


class IntegrationQuery(PageQuery):
    """Which connections are listed."""

    service: str | None = Field(None, min_length=1, max_length=40, description="One service.")
    status: Status | None = Field(None, description="One state.")


class IntegrationLogQuery(PageQuery):
    """Which entries of a connection's log are listed."""

    kind: LogKind | None = Field(None, description="One kind of act.")


class ConnectParams(Input):
    """What a service has to be told beforehand; see `params` of `available`."""

    shop: Text | None = Field(None, max_length=255, examples=["atelier.myshopify.com"])
    store_url: Text | None = Field(None, max_length=2048, examples=["https://shop.example.com"])
    consumer_key: Text | None = Field(None, max_length=100)
    consumer_secret: Text | None = Field(None, max_length=100)


class IntegrationConnect(Input):
    """What is to be connected."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"service": "slack"}]})

    service: ServiceName
    redirect_after: Text | None = Field(
        None,
        max_length=LONGEST_REDIRECT,
        description="Path of the app that the browser comes back to; default `/integrations`.",
        examples=["/settings/integrations"],
    )
    scopes: list[Annotated[Text, Field(min_length=1, max_length=200)]] | None = Field(
        None, min_length=1, max_length=50, description="Rights to ask for, of those in `available`."
    )
    params: ConnectParams | None = None
    integration_id: UUID | None = Field(None, description="A connection that is to be connected again.")


class IntegrationComplete(Input):
    """The token that the app found behind `#integration_completion=`."""

    completion: Text = Field(
        min_length=1, max_length=LONGEST_STATE, examples=["1xO3vJm8cT0hY4wUq7ZbNdRfKsLpAeGi2oCxV6tM5nE"]
    )


class IntegrationUpdate(Patch):
    """What people may change of a connection."""

    config: Metadata | None = Field(
        None,
        description="Settings of the service; they take the place of the former ones.",
        examples=[{"channel_id": "C024BE91L"}],
    )
    account_label: Annotated[Line, Field(min_length=1, max_length=200)] | None = Field(
        None, description="What the connection is called here.", examples=["Atelier"]
    )


class IntegrationRead(Output):
    """A connection; its credentials are never shown."""

    id: UUID
    service: str
    auth_mode: AuthMode
    status: Status
    account_label: str
    external_account_id: str
    scopes: list[str] = Field(description="What was granted, which may be other than what was asked for.")
    config: dict[str, Any]
    token_expires_at: Timestamp | None
    last_sync_at: Timestamp | None
    last_sync: Timestamp | None = Field(
        None, description="The same under its old name.", json_schema_extra={"deprecated": True}
    )
    error_code: str | None
    error_message: str | None
    created_by: UUID | None
    created_at: Timestamp
    updated_at: Timestamp

    @model_validator(mode="after")
    def _old_name(self) -> Self:
        self.last_sync = self.last_sync_at
        return self


class ServiceRead(Output):
    """A service that can be connected."""

    service: str
    auth_mode: AuthMode
    is_configured: bool = Field(description="Whether it can be connected here and now.")
    scopes: list[str] = Field(description="Rights that may be asked for.")
    params: list[str] = Field(description="What it has to be told beforehand.")


class IntegrationPage(Page[IntegrationRead]):
    """A page of connections, with what else can be connected."""

    available: list[ServiceRead]


class AuthorizationRead(Output):
    """Where the browser goes so that a person approves."""

    authorize_url: str | None = Field(
        description="Open it in the browser. Null in a repeated answer.",
        examples=["https://slack.com/oauth/v2/authorize?client_id=…"],
    )
    state_expires_at: Timestamp


class IntegrationTest(Output):
    """How a test went."""

    ok: bool
    latency_ms: int
    error_code: str | None = None


class IntegrationLogRead(Output):
    """What was done with a connection, and how it went."""

    id: UUID
    kind: LogKind
    is_ok: bool
    http_status: int | None
    error_code: str | None
    duration_ms: int
    detail: dict[str, Any]
    created_at: Timestamp


class SandboxQuestion(Query):
    """The question of a client (RFC 6749, 4.1.1), as the sandbox reads it."""

    model_config = ConfigDict(extra="ignore")

    client_id: str = Field(max_length=100)
    redirect_uri: str = Field(max_length=2048)
    scope: str = Field("", max_length=4096)
    state: str = Field("", max_length=LONGEST_STATE)
    code_challenge: str = Field("", max_length=128)


class SandboxDecision(SandboxQuestion):
    """The same with what the person decided, for which account, and how the service is to behave."""

    account: str = Field("atelier", pattern=r"^[a-z0-9-]{1,40}$")
    behaves: str = Field("good", max_length=20)
    decision: Literal["approve", "deny"]
