"""What the routes of authentication take and answer."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from app.core.mail_addresses import MailAddressText
from app.schemas.base import Input, Line, Output, Timestamp, null_if_blank
from app.schemas.purposes import ConsentChoice, ConsentRequired

LONGEST_PASSWORD_TEXT = 1024
"""Longer text is no password of anybody; what is too long for a new one is said by the password rules."""


Name = Annotated[Line, Field(max_length=120), AfterValidator(null_if_blank)]
"""What people call themselves or their company: a line, null when it is blank."""

PasswordText = Annotated[str, Field(max_length=LONGEST_PASSWORD_TEXT)]
TokenText = Annotated[str, Field(min_length=1, max_length=1024)]
Code = Annotated[str, Field(pattern=r"^[0-9]{6}$", description="The 6 digits of the mail.")]
Verifier = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9._~-]{43,128}$", description="PKCE code verifier (RFC 7636, 4.1).")
]
Challenge = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_-]{43}$", description="PKCE S256 challenge of a verifier (RFC 7636, 4.2)."),
]
Locale = Literal["fr", "en"]


class SignUp(Input):
    """An account to be made."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "email": "camille@maison.example",
                    "password": "correct horse battery staple",
                    "full_name": "Camille Martin",
                    "company": "Maison Martin",
                    "locale": "fr",
                }
            ]
        }
    )

    email: MailAddressText
    password: PasswordText
    full_name: Name | None = None
    company: Name | None = None
    locale: Locale = "fr"
    code_challenge: Challenge | None = None
    invitation_token: TokenText | None = Field(
        None, description="The token of an invitation to this address, which also confirms it."
    )
    consents: list[ConsentChoice] = Field(
        default_factory=list, max_length=4, description="What was agreed to, each purpose at most once."
    )

    @field_validator("consents")
    @classmethod
    def _each_purpose_once(cls, choices: list[ConsentChoice]) -> list[ConsentChoice]:
        if len({choice.purpose for choice in choices}) < len(choices):
            raise ValueError("a purpose stands twice")
        return choices


class ConfirmationSent(Output):
    """The same answer whether or not the address had an account."""

    status: Literal["confirmation_sent"] = "confirmation_sent"


class Confirm(Input):
    """The link's token, with or without the verifier of the sign-up; or address and code."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "camille@maison.example", "code": "123456"}]}
    )

    token: TokenText | None = None
    code_verifier: Verifier | None = None
    email: MailAddressText | None = None
    code: Code | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        by_code = self.email is not None and self.code is not None
        has_code_part = self.email is not None or self.code is not None
        if self.token is not None and not has_code_part:
            return self
        if by_code and self.token is None and self.code_verifier is None:
            return self
        raise ValueError("send `token` (and `code_verifier`), or `email` and `code`")


class Address(Input):
    """An address."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "camille@maison.example"}]})

    email: MailAddressText


class SignIn(Input):
    """Address and password."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"email": "camille@maison.example", "password": "correct horse battery staple"}]
        }
    )

    email: MailAddressText
    password: PasswordText
    remember: bool = Field(False, strict=True, description="Seven idle days instead of one, thirty in all.")


class Refresh(Input):
    """The refresh token of the last answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"refresh_token": "luneo_rt_…"}]})

    refresh_token: TokenText


class SwitchOrganization(Input):
    """The organisation to work in."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"organization_id": "0198c0de-0000-7000-8000-000000000001"}]}
    )

    organization_id: UUID


class SessionReference(Input):
    """One of the caller's sessions."""

    session_id: UUID


class SignedInUser(Output):
    """The person of a session."""

    id: UUID
    email: str
    full_name: str | None
    avatar_url: str | None


class SignedInOrganization(Output):
    """The active organisation of a session."""

    id: UUID
    name: str
    slug: str
    role: str


class SessionOpened(Output):
    """A session's tokens. Keep the refresh token where scripts of others cannot read it."""

    status: Literal["ok"] = "ok"
    access_token: str | None = Field(description="Null in the repeated answer of an `Idempotency-Key`.")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a scheme
    expires_in: int = Field(description="Seconds until the access token expires.")
    expires_at: Timestamp
    refresh_token: str | None = Field(description="Null in a repeated answer.")
    refresh_expires_at: Timestamp = Field(description="When the session ends if nothing happens until then.")
    session_id: UUID
    user: SignedInUser
    organization: SignedInOrganization | None


class SessionOpenedByBackupCode(SessionOpened):
    """The same after a backup code: how many are left. With three or fewer it is time for new ones."""

    backup_codes_remaining: int


class MfaRequired(Output):
    """The first factor was right; `POST /api/auth/mfa/verify` takes the second."""

    status: Literal["mfa_required"] = "mfa_required"
    mfa_token: str | None = Field(description="Null in a repeated answer.")
    methods: list[Literal["totp", "backup_code"]]
    expires_in: int = Field(description="Seconds until the sign-in has to begin anew.")


SignInAnswer = SessionOpened | MfaRequired
"""What a right first factor is answered with, whichever it was."""


class Confirmed(Output):
    """The address is confirmed."""

    status: Literal["confirmed"] = "confirmed"
    session: SignInAnswer | None


class SessionOrganization(Output):
    """Where a session works."""

    id: UUID
    name: str


class SessionRead(Output):
    """A signed-in device."""

    id: UUID
    is_current: bool
    device_name: str | None
    device_type: str | None
    browser: str | None
    os: str | None
    ip_address: str | None
    location: dict[str, str] | None
    auth_method: str
    aal: int
    organization: SessionOrganization
    created_at: Timestamp
    last_activity_at: Timestamp
    last_activity: Timestamp
    expires_at: Timestamp


class Person(Output):
    """The signed-in person's account."""

    id: UUID
    email: str
    email_confirmed_at: Timestamp | None
    status: str
    mfa_enabled: bool
    created_at: Timestamp


class OwnProfile(Output):
    """The signed-in person's profile."""

    full_name: str | None
    company: str | None
    bio: str | None
    city: str | None
    locale: str
    timezone: str
    avatar_url: str | None
    version: int


class Membership(Output):
    """One of the person's organisations; `blocked_by` is the code that entering it would answer now."""

    id: UUID
    name: str
    slug: str
    kind: str
    role: str
    blocked_by: str | None


class ActiveOrganization(Output):
    """The organisation that requests are about, and what the person may do there."""

    id: UUID
    name: str
    slug: str
    plan: str
    role: str = Field(description="The key of the role.")
    permissions: list[str]


class Me(Output):
    """The caller: person, profile, session, organisations."""

    user: Person
    profile: OwnProfile | None
    session: SessionRead
    organizations: list[Membership]
    organization: ActiveOrganization | None
    consents_required: list[ConsentRequired] = Field(
        description="What to ask the person, with POST /api/privacy/consents; no route is blocked by it."
    )


class SwitchedOrganization(Output):
    """The organisation that the session works in from now on."""

    organization: ActiveOrganization


class OAuthProvider(Output):
    """A provider that people can sign in with."""

    provider: str
    name: str


class Providers(Output):
    """The ways to sign in that this service offers."""

    password: bool
    magic_link: bool
    signup: bool
    oauth: list[OAuthProvider]
    sso: bool
