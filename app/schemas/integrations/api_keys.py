"""What callers send and get about API keys."""

from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from app.core.paging import PageQuery
from app.core.permissions import Permission
from app.schemas.base import Input, Line, Output, Patch, StrictInt, Timestamp, absent, once

LAST_YEAR = 9998
"""The driver takes the last moment of all for infinity."""

DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def _network(value: object) -> IPv4Network | IPv6Network:
    """An address or a network, as a caller writes it; an IPv4 address inside IPv6 is one of IPv4."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        if not isinstance(value, str) or len(value) > 64 or "%" in value:
            raise ValueError
        network = ip_network(value)
    except ValueError:
        raise PydanticCustomError(
            "address_invalid", "send an address, or a network such as 203.0.113.0/24"
        ) from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _written(network: IPv4Network | IPv6Network) -> str:
    """A single address without its length."""
    is_single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if is_single else str(network)


def _without_default_port(origin: str) -> str:
    """As browsers send it."""
    return origin.removesuffix(DEFAULT_PORTS[origin.partition(":")[0]])


def _keepable(moment: datetime) -> datetime:
    if moment.year > LAST_YEAR:
        raise PydanticCustomError("out_of_range", "there is no need for so late a moment: leave it out")
    return moment


Name = Annotated[Line, Field(min_length=1, max_length=100, examples=["Warehouse"])]
Scopes = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(
        max_length=100,
        description="Scopes by name, or the words `read`, `write`, `admin`; without any it may do nothing.",
        examples=[["orders:read", "products:read"]],
    ),
    AfterValidator(once),
]
RateLimit = Annotated[
    StrictInt, Field(ge=1, le=100_000, description="Requests in any hour.", examples=[1000])
]
Network = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(_network),
    PlainSerializer(_written, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "maxLength": 64, "examples": ["203.0.113.0/24"]}),
]
Networks = Annotated[
    list[Network],
    Field(
        max_length=50,
        description="Addresses and networks (CIDR) that it may be used from; none: any.",
    ),
    AfterValidator(once),
]
Origin = Annotated[
    str,
    Field(
        max_length=255,
        pattern=r"^https?://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:[0-9]{1,5})?$",
        examples=["https://shop.example.com"],
    ),
    AfterValidator(_without_default_port),
]
Origins = Annotated[
    list[Origin],
    Field(max_length=10, description="Origins of other pages that it may be used by; none: no page."),
    AfterValidator(once),
]
Expiry = Annotated[
    Timestamp, AfterValidator(_keepable), Field(description="When it ends; null: when it is revoked.")
]


class ApiKeyQuery(PageQuery):
    """Filters of the list of keys."""

    is_active: bool | None = Field(None, description="Whether it is switched on; revoked ones are not.")


class ApiKeyCreate(Input):
    """A new key: its name, what it may do, and from where."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Warehouse", "permissions": ["orders:read"]}]}
    )

    name: Name
    permissions: Scopes = Field(default_factory=lambda: ["read"])
    rate_limit: RateLimit = 1000
    expires_at: Expiry | None = None
    allowed_ips: Networks = Field(default_factory=list)
    allowed_origins: Origins = Field(default_factory=list)


class ApiKeyUpdate(Patch):
    """The fields to change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rate_limit": 5000}]})

    name: Name = Field(default_factory=absent)
    permissions: Scopes = Field(default_factory=absent)
    rate_limit: RateLimit = Field(default_factory=absent)
    allowed_ips: Networks = Field(default_factory=absent)
    allowed_origins: Origins = Field(default_factory=absent)
    expires_at: Expiry | None = None
    is_active: StrictBool = Field(default_factory=absent)


class ApiKeyRotate(Input):
    """For how long the older key goes on beside the new one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"grace_seconds": 86400}]})

    grace_seconds: Annotated[StrictInt, Field(ge=0, le=2_592_000)] = Field(
        0, description="Seconds until the older key ends; 0: at once."
    )


class ApiKeyRead(Output):
    """A key, without the key itself."""

    id: UUID
    name: str
    key_prefix: str = Field(description="How the key begins.", examples=["luneo_live_8f2K"])
    last4: str = Field(description="How it ends.", examples=["q9Zx"])
    permissions: list[str] = Field(description="What it was given.")
    scopes: list[Permission] = Field(
        description="What it may do now: its scopes, cut by the role of the person who made it."
    )
    rate_limit: int
    allowed_ips: list[Network]
    allowed_origins: list[str]
    expires_at: Timestamp | None
    is_active: bool
    last_used_at: Timestamp | None = Field(description="To the minute.")
    last_used_ip: str | None
    created_by: UUID
    rotated_from: UUID | None = Field(description="The key whose place it took.")
    grace_until: Timestamp | None = Field(description="When it ends, because a newer one took its place.")
    revoked_at: Timestamp | None
    revoke_reason: Literal["manual", "rotated", "member_removed", "leaked"] | None
    created_at: Timestamp
    updated_at: Timestamp


class ApiKeyIssued(ApiKeyRead):
    """A new key, with the key itself, which is shown here and never again."""

    key: str | None = Field(
        description="Keep it like a password. Null when the request is repeated.", examples=["luneo_live_…"]
    )


class ApiKeySelf(Output):
    """What a key may know of itself."""

    id: UUID
    organization_id: UUID
    scopes: list[Permission] = Field(description="What it may do now.")
    rate_limit: int
    expires_at: Timestamp | None


class ScopeRead(Output):
    """A scope that a key may have."""

    scope: Permission
    description: str
    grantable: bool = Field(description="Whether you may give it: you hold that permission yourself.")


class ScopeList(Output):
    """Every scope, and what the older words stand for."""

    items: list[ScopeRead]
    next_cursor: None = None
    total: None = None
    legacy: dict[Literal["read", "write", "admin"], list[Permission]]
