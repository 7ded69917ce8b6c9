"""What the routes of the second factor and of step-up take and answer."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from app.schemas.auth.signing import Code, PasswordText, TokenText
from app.schemas.base import Input, Output, Timestamp

AppCode = Annotated[str, Field(pattern=r"^[0-9]{6}$", description="The 6 digits of the authenticator app.")]
BackupCode = Annotated[
    str,
    Field(
        pattern=r"^[0-9A-Za-z]{4}-?[0-9A-Za-z]{4}-?[0-9A-Za-z]{4}$",
        description="One of the codes that were shown when the second factor was set up.",
    ),
]


class SecondFactor(Input):
    """A code of the app, or a backup code."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "123456"}]})

    code: AppCode | None = None
    backup_code: BackupCode | None = None

    @model_validator(mode="after")
    def _one_code(self) -> Self:
        if (self.code is None) == (self.backup_code is None):
            raise ValueError("send `code` or `backup_code`")
        return self


class VerifyMfa(SecondFactor):
    """The token of the first factor's answer, with a code of the app or a backup code."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"mfa_token": "luneo_mfa_…", "code": "123456"}]}
    )

    mfa_token: TokenText


class StepUp(Input):
    """What proves that it is still the same person: exactly one of these."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "correct horse battery staple"}]})

    password: PasswordText | None = None
    code: AppCode | None = None
    backup_code: BackupCode | None = None
    email_code: Code | None = None

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        given = (self.password, self.code, self.backup_code, self.email_code)
        if sum(proof is not None for proof in given) != 1:
            raise ValueError("send one of `password`, `code`, `backup_code` and `email_code`")
        return self


class SteppedUp(Output):
    """The session counts as freshly checked; `aal` is 2 from the first right second factor on."""

    step_up_at: Timestamp
    valid_for: int = Field(description="Seconds.")
    aal: int


class StepUpCodeSent(Output):
    """A code is on its way."""

    status: Literal["code_sent"] = "code_sent"
