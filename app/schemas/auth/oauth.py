"""What the routes of sign-in with other providers take and answer."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.auth.links import CHALLENGE, VERIFIER
from app.schemas.auth.signing import Challenge, TokenText, Verifier
from app.schemas.base import Input, Output, Query, Timestamp

ProviderName = Literal["google", "github"]
RedirectTo = Annotated[
    str | None,
    Field(
        max_length=2048,
        description="A path of the app, or an address on one of its origins; unset: the app itself.",
    ),
]


class OAuthStart(Query):
    """How the app begins a sign-in: with the challenge of a verifier that it keeps."""

    code_challenge: Challenge = Field(examples=[CHALLENGE])
    code_challenge_method: Literal["S256"] = Field(description="The only method (RFC 7636).")
    redirect_to: RedirectTo = None
    remember: bool = Field(False, description="Seven idle days instead of one, thirty in all.")


class OAuthCallback(Query):
    """What a provider sends a person back with; what else it sends is not read."""

    model_config = ConfigDict(extra="ignore")

    state: str = Field("", max_length=1024, description="The state of the trip.")
    code: str | None = Field(None, min_length=1, max_length=2048, description="Proof of the approval.")
    error: str | None = Field(None, max_length=256, description="Why there is none (RFC 6749, 4.1.2.1).")
    iss: str | None = Field(None, max_length=512, description="The provider's own name (RFC 9207).")


class AuthCodeExchange(Input):
    """The code of the callback, and the verifier of the challenge that the sign-in began with."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"auth_code": "luneo_ac_…", "code_verifier": VERIFIER}]}
    )

    auth_code: TokenText
    code_verifier: Verifier


class IdentityToStart(Input):
    """The provider to link, and the challenge of a verifier that the app keeps."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "provider": "google",
                    "code_challenge": CHALLENGE,
                    "code_challenge_method": "S256",
                    "redirect_to": "/settings/security",
                }
            ]
        }
    )

    provider: ProviderName
    code_challenge: Challenge
    code_challenge_method: Literal["S256"]
    redirect_to: RedirectTo = None


class IdentityStarted(Output):
    """Where the browser goes to approve."""

    authorize_url: str | None = Field(description="Null in the repeated answer of an `Idempotency-Key`.")


class IdentityRead(Output):
    """An account at a provider that opens the caller's account."""

    id: UUID
    provider: str
    email: str | None
    is_email_verified: bool
    created_at: Timestamp
    last_sign_in_at: Timestamp | None
