"""What the routes of a person's own second factor take and answer."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.auth.second_factor import AppCode
from app.schemas.auth.signing import SessionOpened
from app.schemas.base import Input, Line, Output, Timestamp

FactorName = Annotated[Line, Field(min_length=1, max_length=60)]


class StartTwoFactor(Input):
    """How the authenticator is to be called."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "My phone"}]})

    name: FactorName | None = None


class TwoFactorStarted(Output):
    """The secret of the authenticator, shown this once; it counts from its first code on."""

    factor_id: UUID
    secret: str | None = Field(
        description="Base 32, to be typed in where no camera reads the picture. Null in a repeated answer."
    )
    otpauth_uri: str | None = Field(description="The same as an address. Null in a repeated answer.")
    qr_svg: str | None = Field(description="The address as a picture. Null in a repeated answer.")


class VerifyTwoFactor(Input):
    """The first code of the authenticator."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "123456"}]})

    factor_id: UUID | None = None
    code: AppCode


class TwoFactorEnabled(Output):
    """The second factor is on. The backup codes are shown this once; the tokens replace the old ones."""

    enabled: Literal[True] = True
    backup_codes: list[str] | None = Field(description="Null in a repeated answer.")
    sessions_revoked: int = Field(description="How many other sessions were ended.")
    session: SessionOpened


class RenewBackupCodes(Input):
    """A code of the app."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "123456"}]})

    code: AppCode


class BackupCodes(Output):
    """New backup codes, shown this once; the old ones are void."""

    backup_codes: list[str] | None = Field(description="Null in a repeated answer.")


class FactorRead(Output):
    """An authenticator, without its secret."""

    id: UUID
    type: str
    name: str
    created_at: Timestamp
    last_used_at: Timestamp | None


class DemandingOrganization(Output):
    """An organisation that demands a second factor."""

    id: UUID
    name: str


class TwoFactor(Output):
    """How a person's second factor stands. With three backup codes or fewer it is time for new ones."""

    enabled: bool
    factors: list[FactorRead]
    pending: bool = Field(description="An authenticator waits for its first code.")
    backup_codes_remaining: int
    required_by: list[DemandingOrganization]
