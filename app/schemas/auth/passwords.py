"""What the routes that change a password take and answer."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from app.schemas.auth.second_factor import BackupCode
from app.schemas.auth.signing import Code, PasswordText, SessionOpened, TokenText
from app.schemas.base import Input, Output


class ResetSent(Output):
    """The same answer whether or not the address has an account."""

    status: Literal["reset_sent"] = "reset_sent"


class ResetPassword(Input):
    """The mail's token and the new password; a code where the account has a second factor."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"token": "luneo_ot_…", "new_password": "correct horse battery staple"}]
        }
    )

    token: TokenText
    new_password: PasswordText
    code: Code | None = Field(None, description="The code that the authenticator app shows.")
    backup_code: BackupCode | None = None

    @model_validator(mode="after")
    def _one_code(self) -> Self:
        if self.code is not None and self.backup_code is not None:
            raise ValueError("send `code` or `backup_code`, not both")
        return self


class PasswordWasReset(Output):
    """The new password counts. No session was opened: sign in with it."""

    status: Literal["password_reset"] = "password_reset"
    sessions_revoked: int


class ChangePassword(Input):
    """The password that counts now, and the next one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "current_password": "correct horse battery staple",
                    "new_password": "another horse battery staple",
                }
            ]
        }
    )

    current_password: PasswordText
    new_password: PasswordText


class SetPassword(Input):
    """The first password of an account."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"new_password": "correct horse battery staple"}]}
    )

    new_password: PasswordText


class PasswordChanged(Output):
    """The new password counts, every other session has ended, and this one has new tokens."""

    sessions_revoked: int = Field(description="The other sessions that were ended.")
    session: SessionOpened
