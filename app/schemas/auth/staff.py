"""What staff says when it acts on an account."""

from typing import Annotated

from pydantic import ConfigDict, Field

from app.schemas.base import Input, Line


class StaffReason(Input):
    """Why staff does what it does to an account; the person may be told."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Payment fraud, case 4711"}]})

    reason: Annotated[Line, Field(min_length=1, max_length=500)]
