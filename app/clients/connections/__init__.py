"""The port to connected services: what they are asked, what they answer, and how they fail."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from app.clients.outbound import OutboundAnswer

DownCode = Literal["provider_unavailable", "provider_rate_limited"]
RefusedCode = Literal["exchange_failed", "refresh_rejected", "credentials_rejected"]


class Caller(Protocol):
    """Sends requests to services: the outbound client, or the sandbox in its place."""

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        timeout_seconds: float = ...,
        max_body: int = ...,
        is_fixed: bool = False,
    ) -> OutboundAnswer:
        """As OutboundClient.send."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """What a service knows this one by."""

    client_id: str
    client_secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a service is asked. `is_fixed` is False where a customer chose any part of the host."""

    authorize: str
    token: str
    refresh: str = ""
    identify: str = ""
    test: str = ""
    revoke: str = ""
    is_fixed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """What the browser carries to a service. `challenge` is of PKCE (RFC 7636, 4.2)."""

    state: str
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token address answered. `scopes` is None where it says nothing of them.

    `expires_in` is seconds, None when the service does not say; `answer` is the whole document.
    """

    access_token: str
    refresh_token: str | None
    token_type: str | None
    expires_in: int | None
    scopes: tuple[str, ...] | None
    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose grant it is, as the service says it. The id never changes; the label is for people."""

    id: str
    label: str
    scopes: tuple[str, ...] | None = None


class ServiceDown(Exception):
    """The service is down, slow or wants fewer requests: nothing is known about the grant."""

    def __init__(
        self, code: DownCode, reason: str, *, status: int | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(f"{code}: {reason}")
        self.code: DownCode = code
        self.reason = reason
        self.status = status
        self.retry_after_s = retry_after_s


class ServiceRefused(Exception):
    """The service refused, or answered what nobody understands.

    `is_grant_gone`: it says that the grant does not exist any more.
    """

    def __init__(
        self, code: RefusedCode, reason: str, *, status: int | None = None, is_grant_gone: bool = False
    ) -> None:
        super().__init__(f"{code}: {reason}")
        self.code: RefusedCode = code
        self.reason = reason
        self.status = status
        self.is_grant_gone = is_grant_gone
