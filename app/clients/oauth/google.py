"""Sign-in with Google: OpenID Connect, whose id_token says who somebody is."""

import hmac
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from app.clients.oauth import ExternalPerson, ProviderRefused, ProviderUnavailable
from app.clients.oauth.asking import asking, json_of, text_of
from app.clients.oauth.id_tokens import KeySet, verified_claims
from app.core.crypto import TripSecrets


@dataclass(frozen=True, slots=True)
class GoogleEndpoints:
    """Where Google is asked, what it calls itself, how it signs. Others than Google's are for the sandbox."""

    authorize: str = "https://accounts.google.com/o/oauth2/v2/auth"
    token: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    keys: str = "https://www.googleapis.com/oauth2/v3/certs"
    issuers: tuple[str, ...] = ("https://accounts.google.com", "accounts.google.com")
    algorithm: str = "RS256"


class GoogleProvider:
    """Google, or whoever speaks like it at other endpoints."""

    name = "google"
    title = "Google"

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        *,
        endpoints: GoogleEndpoints | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self.endpoints = endpoints or GoogleEndpoints()
        self.issuer = self.endpoints.issuers[0]
        self._transport = transport

    def authorize_url(self, secrets: TripSecrets, redirect_uri: str) -> str:
        """Where the browser is sent, so that the person approves."""
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid email profile",
            "state": secrets.state,
            "nonce": secrets.nonce,
            "code_challenge": secrets.challenge,
            "code_challenge_method": "S256",
            "prompt": "select_account",
        }
        return f"{self.endpoints.authorize}?{urlencode(asked)}"

    async def identify(self, code: str, secrets: TripSecrets, redirect_uri: str) -> ExternalPerson:
        """Exchange the code for an id_token, and verify that."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "redirect_uri": redirect_uri,
            "code_verifier": secrets.verifier,
        }
        async with asking(self._transport) as http:
            status, answer = await json_of(http, self.endpoints.token, form=form)
            if status != 200:
                raise refusal(answer)
            token = text_of(answer, "id_token", longest=16_384)
            if token is None:
                raise ProviderUnavailable("the answer has no id_token")
            keys = KeySet(self.endpoints.keys, http)
            claims = await verified_claims(
                token,
                keys,
                algorithm=self.endpoints.algorithm,
                issuers=self.endpoints.issuers,
                audience=self.client_id,
            )
        nonce = text_of(claims, "nonce")
        if nonce is None or not hmac.compare_digest(nonce.encode(), secrets.nonce.encode()):
            raise ProviderRefused("nonce")
        return _person(claims)


def refusal(answer: Any) -> ProviderRefused | ProviderUnavailable:
    """What an error of a token endpoint (RFC 6749, 5.2) means: the code is not good, or we are at fault."""
    error = text_of(answer, "error", longest=64) or "unknown"
    if error in ("invalid_grant", "bad_verification_code"):
        return ProviderRefused(error)
    return ProviderUnavailable(error)


def _person(claims: dict[str, Any]) -> ExternalPerson:
    subject = text_of(claims, "sub", longest=255)
    if subject is None:
        raise ProviderRefused("sub")
    return ExternalPerson(
        provider=GoogleProvider.name,
        subject=subject,
        email=text_of(claims, "email", longest=320),
        # The type is compared exactly: the text "false" is true to Python.
        is_email_verified=claims.get("email_verified") is True,
        name=text_of(claims, "name", longest=120),
        locale=text_of(claims, "locale", longest=35),
    )
