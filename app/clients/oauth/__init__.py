"""The port to providers of identity: what they are asked, what they answer, and how they fail."""

from dataclasses import dataclass
from typing import Protocol

from app.core.crypto import TripSecrets


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalPerson:
    """A person as a provider vouches for them. `subject` never changes; an address may."""

    provider: str
    subject: str
    email: str | None
    is_email_verified: bool
    name: str | None
    locale: str | None = None


class IdentityProvider(Protocol):
    """One provider of the authorization code flow (RFC 6749, 4.1) with PKCE."""

    name: str
    title: str
    issuer: str
    """What the provider calls itself in the `iss` of its answers (RFC 9207)."""

    def authorize_url(self, secrets: TripSecrets, redirect_uri: str) -> str:
        """Where the browser is sent, so that the person approves."""

    async def identify(self, code: str, secrets: TripSecrets, redirect_uri: str) -> ExternalPerson:
        """Exchange the code of an approval for the person who gave it.

        Raises ProviderUnavailable and ProviderRefused; takes SECONDS at most.
        """


class ProviderUnavailable(Exception):
    """The provider is down, slow, or answers what nobody understands; the text says which of them."""


class ProviderRefused(Exception):
    """The provider does not know the code, or what it answered is not proof of who somebody is."""
