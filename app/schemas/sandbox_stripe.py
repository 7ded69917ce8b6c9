"""What the pages of the sandbox send."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PortalForm(BaseModel):
    """A button of the portal."""

    model_config = ConfigDict(extra="forbid")

    act: Literal["cancel", "resume", "update_method"]
    subscription: str = Field("", max_length=255)
    method: str = Field("pm_card_visa", max_length=255)
