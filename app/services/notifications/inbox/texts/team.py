"""Notices about a team, to whom the team's own mails go; those mails are the team's."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.core.mail_addresses import parse_address
from app.core.permissions import Permission
from app.repositories.notifications import ReaderRepository
from app.schemas.notifications.words import Level
from app.services.notifications.inbox.notices import Fact, Notice, Words, in_both, notices_for
from app.services.team.events.invitations import InvitationDeclined, InvitationResent, MemberInvited
from app.services.team.events.members import (
    MemberJoined,
    MemberRemoved,
    MemberRoleChanged,
    MemberSuspended,
    SessionsEnded,
)
from app.services.team.events.organizations import LimitReached
from app.services.team.events.transfers import (
    OwnershipCancelled,
    OwnershipDeclined,
    OwnershipRequested,
    OwnershipTransferred,
)

PAGE = "/settings/team"


@notices_for(MemberInvited, InvitationResent)
async def invited_notices(session: SystemSession, fact: Fact) -> list[Notice]:
    """To whoever has an account with the invited address, if they have proved it."""
    readers = ReaderRepository(session)
    canonical = parse_address(fact.private["email"]).canonical if fact.private.get("email") else ""
    user_id = await readers.confirmed_holder(canonical)
    if user_id is None:
        return []
    organization, _ = await readers.names(fact.organization, [])
    return [
        Notice(
            category="team",
            level="info",
            words=in_both(
                Words(f"Invitation dans {organization}", "Acceptez-la ou refusez-la.", "Voir l'invitation"),
                Words(f"Invitation to {organization}", "Accept or decline it.", "See the invitation"),
            ),
            people=[user_id],
            is_for_anybody=True,
            path="/invitations",
            key=f"invitation:{fact.data['invitation_id']}",
            ids={"invitation_id": fact.data["invitation_id"]},
        )
    ]


@notices_for(InvitationDeclined, MemberJoined)
async def answered_notices(session: SystemSession, fact: Fact) -> list[Notice]:
    """The answer to an invitation, to whoever sent it."""
    if fact.private.get("invited_by") is None:
        return []
    if fact.type == InvitationDeclined.type:
        words = in_both(
            Words("Invitation refusée", "La personne que vous avez invitée ne viendra pas.", "Voir l'équipe"),
            Words("Invitation declined", "The person whom you invited will not come.", "See the team"),
        )
    else:
        joined = UUID(fact.data["user_id"])
        organization, names = await ReaderRepository(session).names(fact.organization, [joined])
        fr, en = names.get(joined, "Quelqu'un"), names.get(joined, "Somebody")
        words = in_both(
            Words(f"{fr} a rejoint {organization}", "Votre invitation a été acceptée.", "Voir l'équipe"),
            Words(f"{en} joined {organization}", "Your invitation was accepted.", "See the team"),
        )
    return [
        Notice(
            category="team",
            level="info",
            words=words,
            people=[UUID(fact.private["invited_by"])],
            organization_id=fact.organization,
            path=PAGE,
        )
    ]


class Membership(NamedTuple):
    """What becomes of somebody's membership."""

    category: str
    level: Level
    fr: tuple[str, str]
    en: tuple[str, str]
    is_over: bool


MEMBERSHIPS: Mapping[str, Membership] = {
    MemberRoleChanged.type: Membership(
        "team",
        "info",
        ("Votre rôle dans {organization} a changé", "Vous pouvez peut-être plus, ou moins qu'avant."),
        ("Your role in {organization} has changed", "You may be able to do more than before, or less."),
        is_over=False,
    ),
    MemberSuspended.type: Membership(
        "security",
        "warning",
        ("Votre accès à {organization} est suspendu", "Demandez à ceux qui la gèrent."),
        ("Your access to {organization} is suspended", "Ask those who run it."),
        is_over=True,
    ),
    MemberRemoved.type: Membership(
        "security",
        "warning",
        ("Vous ne faites plus partie de {organization}", "Vous n'y avez plus accès."),
        ("You are no longer in {organization}", "You have no access to it any more."),
        is_over=True,
    ),
    SessionsEnded.type: Membership(
        "security",
        "warning",
        ("Vos sessions dans {organization} ont été fermées", "Connectez-vous de nouveau pour y travailler."),
        ("Your sessions in {organization} were ended", "Sign in again to work there."),
        is_over=True,
    ),
}


@notices_for(MemberRoleChanged, MemberSuspended, MemberRemoved, SessionsEnded)
async def membership_notices(session: SystemSession, fact: Fact) -> list[Notice]:
    """To the member. What tells of an end is nobody's organisation any more, so it stays when they left."""
    said = MEMBERSHIPS[fact.type]
    organization, _ = await ReaderRepository(session).names(fact.organization, [])
    return [
        Notice(
            category=said.category,
            level=said.level,
            words=in_both(
                Words(said.fr[0].format(organization=organization), said.fr[1]),
                Words(said.en[0].format(organization=organization), said.en[1]),
            ),
            people=[UUID(fact.data["user_id"])],
            is_for_anybody=said.is_over,
            organization_id=None if said.is_over else fact.organization,
        )
    ]


TRANSFERS: Mapping[str, tuple[Level, str, str]] = {
    OwnershipRequested.type: (
        "info",
        "{giver} propose {organization} à {taker}",
        "{giver} offers {organization} to {taker}",
    ),
    OwnershipCancelled.type: (
        "info",
        "Le transfert de {organization} est annulé",
        "The transfer of {organization} is cancelled",
    ),
    OwnershipDeclined.type: (
        "info",
        "Le transfert de {organization} est refusé",
        "The transfer of {organization} was declined",
    ),
    OwnershipTransferred.type: (
        "success",
        "{organization} a un nouveau propriétaire : {taker}",
        "{organization} has a new owner: {taker}",
    ),
}


@notices_for(OwnershipRequested, OwnershipCancelled, OwnershipDeclined, OwnershipTransferred)
async def ownership_notices(session: SystemSession, fact: Fact) -> list[Notice]:
    """To both people but the one who acted; of a new owner to those who run the organisation, too."""
    level, fr, en = TRANSFERS[fact.type]
    giver, taker = UUID(fact.data["from_user_id"]), UUID(fact.data["to_user_id"])
    organization, names = await ReaderRepository(session).names(fact.organization, [giver, taker])
    values = {"organization": organization, "giver": names.get(giver, "…"), "taker": names.get(taker, "…")}
    return [
        Notice(
            category="team",
            level=level,
            words=in_both(
                Words(fr.format(**values), "Voyez les détails dans les réglages.", "Voir"),
                Words(en.format(**values), "See the details in the settings.", "See"),
            ),
            holders=Permission.security_manage if fact.type == OwnershipTransferred.type else None,
            people=[giver, taker],
            organization_id=fact.organization,
            path=f"{PAGE}/transfer",
            ids={"transfer_id": fact.data["transfer_id"]},
        )
    ]


@notices_for(LimitReached)
async def limit_notices(session: SystemSession, fact: Fact) -> list[Notice]:  # noqa: ARG001 - all is said
    """A limit of the plan stopped something: to the owner, once a day."""
    used, limit = fact.data["used"], fact.data["limit"]
    return [
        Notice(
            category="team",
            level="warning",
            words=in_both(
                Words("Une limite de votre offre est atteinte", f"{used} sur {limit}.", "Voir les offres"),
                Words("A limit of your plan was reached", f"{used} of {limit}.", "See plans"),
            ),
            holders=Permission.organization_transfer,
            is_for_actor=True,
            organization_id=fact.organization,
            path="/billing",
            key=f"limit:{fact.organization}:{fact.data['name']}:{clock.now():%Y-%m-%d}",
            ids={"name": fact.data["name"]},
        )
    ]
