"""What callers send and get about the transfer of ownership."""

from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.base import Input, Output, PublicProfile, Timestamp

TransferStatus = Literal["pending", "accepted", "declined", "cancelled", "expired"]


class OfferOwnership(Input):
    """The member who shall own the organisation."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"member_id": "0198c0de-0000-7000-8000-000000000001"}]}
    )

    member_id: UUID


class TransferRead(Output):
    """An offer of ownership."""

    id: UUID
    status: TransferStatus
    member_id: UUID | None = Field(description="The membership of the one who may accept.")
    from_user: PublicProfile
    to_user: PublicProfile
    expires_at: Timestamp
    created_at: Timestamp
