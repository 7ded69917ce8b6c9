"""What the routes of magic links take and answer."""

from typing import Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from app.core.mail_addresses import MailAddressText
from app.schemas.auth.signing import Challenge, Code, TokenText, Verifier
from app.schemas.base import Input, Output, Text

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
"""The pair of RFC 7636, appendix B."""


class MagicLink(Input):
    """The address to sign in with, and the challenge of the browser that asks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "email": "camille@maison.example",
                    "code_challenge": CHALLENGE,
                    "code_challenge_method": "S256",
                    "redirect_to": "/orders",
                }
            ]
        }
    )

    email: MailAddressText
    code_challenge: Challenge
    code_challenge_method: Literal["S256"]
    redirect_to: Text | None = Field(
        None, max_length=2048, description="A path of the app, or an address on an origin that it knows."
    )
    remember: bool = Field(False, strict=True, description="Seven idle days instead of one, thirty in all.")
    create_user: bool = Field(False, strict=True, description="Make an account if nobody has the address.")


class MagicLinkSent(Output):
    """The same answer whether or not the address has an account."""

    request_id: UUID = Field(description="Send it with the mail's code if the mail is opened elsewhere.")


class MagicLinkVerify(Input):
    """The link's token, or the request and the code of its mail; always with the verifier."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request_id": "0198c0de-0000-7000-8000-000000000001",
                    "code": "123456",
                    "code_verifier": VERIFIER,
                }
            ]
        }
    )

    token: TokenText | None = None
    request_id: UUID | None = None
    code: Code | None = None
    code_verifier: Verifier

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        parts = (self.request_id is not None) + (self.code is not None)
        if parts == (2 if self.token is None else 0):
            return self
        raise ValueError("send `token`, or `request_id` and `code`")
