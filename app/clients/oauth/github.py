"""Sign-in with GitHub: OAuth 2.0, and two questions to its API about who approved."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from app.clients.oauth import ExternalPerson, ProviderUnavailable
from app.clients.oauth.asking import asking, json_of, text_of
from app.clients.oauth.google import refusal
from app.core.crypto import TripSecrets

MOST_ADDRESSES = 100


@dataclass(frozen=True, slots=True)
class GitHubEndpoints:
    """Where GitHub is asked and what it calls itself. Others than GitHub's are for the sandbox."""

    authorize: str = "https://github.com/login/oauth/authorize"
    token: str = "https://github.com/login/oauth/access_token"  # noqa: S105 - an address
    user: str = "https://api.github.com/user"
    emails: str = "https://api.github.com/user/emails"
    issuer: str = "https://github.com/login/oauth"


class GitHubProvider:
    """GitHub, or whoever speaks like it at other endpoints."""

    name = "github"
    title = "GitHub"

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        *,
        endpoints: GitHubEndpoints | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self.endpoints = endpoints or GitHubEndpoints()
        self.issuer = self.endpoints.issuer
        self._transport = transport

    def authorize_url(self, secrets: TripSecrets, redirect_uri: str) -> str:
        """Where the browser is sent, so that the person approves."""
        asked = {
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": "read:user user:email",
            "state": secrets.state,
            "code_challenge": secrets.challenge,
            "code_challenge_method": "S256",
        }
        return f"{self.endpoints.authorize}?{urlencode(asked)}"

    async def identify(self, code: str, secrets: TripSecrets, redirect_uri: str) -> ExternalPerson:
        """Exchange the code for a token, ask with it who that is, and forget it."""
        form = {
            "code": code,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "redirect_uri": redirect_uri,
            "code_verifier": secrets.verifier,
        }
        async with asking(self._transport) as http:
            _, answer = await json_of(http, self.endpoints.token, form=form)
            token = text_of(answer, "access_token", longest=1024)
            if token is None or not token.isascii():
                # GitHub answers 200 with `error`, too.
                raise refusal(answer)
            status, user = await json_of(http, self.endpoints.user, token=token)
            if status != 200 or not isinstance(user, dict) or type(user.get("id")) is not int:
                raise ProviderUnavailable("the answer has no id")
            status, listed = await json_of(http, self.endpoints.emails, token=token)
            if status != 200 or not isinstance(listed, list):
                raise ProviderUnavailable("the answer has no addresses")
        email, is_verified = _primary(listed)
        return ExternalPerson(
            provider=self.name,
            subject=str(user["id"]),
            email=email,
            is_email_verified=is_verified,
            name=text_of(user, "name", longest=120),
        )


def _primary(listed: list[Any]) -> tuple[str | None, bool]:
    """The primary address, and whether GitHub says that it is verified."""
    for entry in listed[:MOST_ADDRESSES]:
        if isinstance(entry, dict) and entry.get("primary") is True:
            return text_of(entry, "email", longest=320), entry.get("verified") is True
    return None, False
