"""What people agree to, as sign-up, the account and the routes of privacy write it."""

from typing import Annotated, Literal

from pydantic import Field

from app.schemas.base import Input, Output

Purpose = Literal["terms", "privacy_policy", "marketing_email", "analytics"]

PolicyVersion = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        description="A published version of the text.",
        examples=["2026-01-15"],
    ),
]


class ConsentChoice(Input):
    """What a person says to one purpose."""

    purpose: Purpose
    policy_version: PolicyVersion
    is_granted: bool = Field(strict=True)


class ConsentRequired(Output):
    """What a person has to be asked: the service needs it, or its text has changed since."""

    purpose: Purpose
    latest_version: str
    is_required: bool = Field(description="The service cannot be used without it.")
    is_outdated: bool = Field(description="It was granted before a material version.")
