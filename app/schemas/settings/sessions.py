"""What the routes of personal settings take and answer."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from app.schemas.base import Query


class SessionsToEnd(Query):
    """Which of the caller's sessions are to be ended."""

    scope: Literal["others", "all"] | None = Field(None, description="All but this one, or all.")
    id: UUID | None = Field(None, description="One of them.", json_schema_extra={"deprecated": True})
