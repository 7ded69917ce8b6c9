"""Owns the mails about the transfer of ownership."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from app.core import clock
from app.core.config import get_settings
from app.core.database import SystemSession
from app.repositories.team import TeamRepository
from app.repositories.team.transfers import TransferRepository
from app.services.auth.recipients import USEFUL_FOR, mail_to, moment, recipients_of
from app.services.notifications.requests import MailRequest, mails_for
from app.services.team.events.transfers import (
    OwnershipCancelled,
    OwnershipDeclined,
    OwnershipRequested,
    OwnershipTransferred,
)
from app.services.team.invitations.mails import line

TEMPLATES = {
    OwnershipRequested.type: "ownership_request",
    OwnershipCancelled.type: "ownership_closed",
    OwnershipDeclined.type: "ownership_closed",
    OwnershipTransferred.type: "ownership_transferred",
}

OUTCOMES = {
    "fr": {OwnershipCancelled.type: "annulée", OwnershipDeclined.type: "refusée"},
    "en": {OwnershipCancelled.type: "cancelled", OwnershipDeclined.type: "declined"},
}


@mails_for(OwnershipRequested, OwnershipCancelled, OwnershipDeclined, OwnershipTransferred)
async def ownership_mails(
    session: SystemSession, event_type: str, data: dict[str, Any], private: dict[str, Any]
) -> list[MailRequest]:
    """The news to both people, and of a new owner to the admins, too."""
    organization_id = UUID(private["organization_id"])
    giver, taker = UUID(data["from_user_id"]), UUID(data["to_user_id"])
    organization, names = await TransferRepository(session).names(organization_id, giver, taker)
    people: Sequence[UUID] = [giver, taker]
    if event_type == OwnershipTransferred.type:
        admins = await TeamRepository(session).people_in(organization_id, ["owner", "admin"])
        people = list(dict.fromkeys([*people, *admins]))
    requests = []
    for recipient in await recipients_of(session, people):
        facts = {
            "organization": line(organization),
            "giver": line(names.get(giver, "")),
            "taker": line(names.get(taker, "")),
            "until": moment(datetime.fromisoformat(private["expires_at"])),
            "transfer_url": f"{get_settings().app_url}/settings/team/transfer",
            "outcome": OUTCOMES[recipient.locale].get(event_type, ""),
        }
        requests.append(
            mail_to(
                recipient,
                TEMPLATES[event_type],
                "security",
                facts,
                expires_at=clock.now() + USEFUL_FOR,
            )
        )
    return requests
