"""Owns which providers of identity there are, and who plays them."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request

from app.clients.oauth import IdentityProvider
from app.clients.oauth.github import GitHubEndpoints, GitHubProvider
from app.clients.oauth.google import GoogleEndpoints, GoogleProvider
from app.clients.oauth.local import OwnApplication
from app.core.config import Settings, get_settings
from app.core.errors import NotFound, Unavailable

TITLES = {"google": "Google", "github": "GitHub"}

SANDBOX_CLIENT = "luneo-sandbox"
SANDBOX_ALGORITHM = "ES256"
"""A key for it is derived from the key ring, so that every process of a service signs alike."""


class IdentityProviders:
    """The providers by name: the real ones where they are configured, elsewhere the sandbox."""

    def __init__(self, request: Request) -> None:
        self._app: FastAPI = request.app

    def get(self, name: str) -> IdentityProvider:
        """The provider of this name; 404 for any other, 503 `provider_not_configured` in production."""
        settings = get_settings()
        if name not in TITLES:
            raise NotFound()
        if plays_sandbox(settings, name):
            return self._sandbox(settings, name)
        client_id, client_secret = _credentials(settings, name)
        if client_id is None or client_secret is None:
            raise Unavailable(
                "provider_not_configured",
                f"This service offers no sign-in with {TITLES[name]}; see GET /api/auth/providers.",
            )
        if name == "google":
            return GoogleProvider(client_id, client_secret)
        return GitHubProvider(client_id, client_secret)

    def _sandbox(self, settings: Settings, name: str) -> IdentityProvider:
        base = sandbox_address(settings, name)
        transport = OwnApplication(self._app)
        if name == "google":
            google = GoogleEndpoints(
                authorize=f"{base}/authorize",
                token=f"{base}/token",
                keys=f"{base}/keys",
                issuers=(base,),
                algorithm=SANDBOX_ALGORITHM,
            )
            return GoogleProvider(SANDBOX_CLIENT, SANDBOX_CLIENT, endpoints=google, transport=transport)
        github = GitHubEndpoints(
            authorize=f"{base}/authorize",
            token=f"{base}/token",
            user=f"{base}/user",
            emails=f"{base}/user/emails",
            issuer=base,
        )
        return GitHubProvider(SANDBOX_CLIENT, SANDBOX_CLIENT, endpoints=github, transport=transport)


Providers = Annotated[IdentityProviders, Depends()]


def offered(settings: Settings) -> list[tuple[str, str]]:
    """Name and title of the providers that people can sign in with now."""
    return [
        (name, title)
        for name, title in TITLES.items()
        if plays_sandbox(settings, name) or None not in _credentials(settings, name)
    ]


def plays_sandbox(settings: Settings, name: str) -> bool:
    """Whether the pages under `/sandbox/idp` stand in for this provider: never in production."""
    return settings.has_sandbox and _credentials(settings, name)[0] is None


def sandbox_address(settings: Settings, name: str) -> str:
    """Where the sandbox plays this provider; also what it calls itself there."""
    return f"{settings.api_url}/sandbox/idp/{name}"


def callback_address(settings: Settings, name: str) -> str:
    """The one address that a provider may send people back to."""
    return f"{settings.api_url}/api/auth/oauth/{name}/callback"


def _credentials(settings: Settings, name: str) -> tuple[str | None, str | None]:
    if name == "google":
        return settings.google_client_id, settings.google_client_secret
    return settings.github_client_id, settings.github_client_secret
