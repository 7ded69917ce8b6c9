"""What the routes of the change of the address take and answer."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from app.core.mail_addresses import MailAddressText
from app.schemas.base import Input, Output

MailedToken = Annotated[str, Field(min_length=1, max_length=1024, examples=["luneo_ot_…"])]


class ChangeEmail(Input):
    """The address to change to."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"new_email": "camille.martin@maison.example"}]}
    )

    new_email: MailAddressText


class EmailChangePending(Output):
    """The change waits for a proof from the new address."""

    pending_email: str


class EmailToken(Input):
    """The token of a mail's link."""

    token: MailedToken


class EmailChangeDone(Output):
    """The new address counts."""

    status: Literal["changed"] = "changed"
    email: str


class EmailRestored(Output):
    """The old address counts again, and nobody is signed in any more."""

    status: Literal["undone"] = "undone"
