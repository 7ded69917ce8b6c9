"""Owns the transfer of ownership in two steps: the owner offers, the other accepts, both under one lock."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from app.core import clock
from app.core.access import CurrentPrincipal, blocked_by, refusal_for
from app.core.config import get_settings
from app.core.database import Owner, Unscoped
from app.core.errors import (
    Conflict,
    FieldError,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    translate_constraint,
)
from app.core.ids import uuid7
from app.core.limits import enforce
from app.core.permissions import Permission
from app.models.auth import User
from app.models.team import Organization, OwnershipTransfer, TeamMember
from app.repositories.team import TeamRepository
from app.repositories.team.transfers import TransferCard, TransferRepository
from app.schemas.base import PublicProfile
from app.schemas.team.invitations import Joined
from app.schemas.team.transfers import OfferOwnership, TransferRead
from app.services.auth.founding import PERSONAL_NAMES, give_home
from app.services.files.addresses import avatar_url
from app.services.team.events.transfers import OwnershipRequested, OwnershipTransferred
from app.services.team.invitations.views import joined
from app.services.team.transfers.closing import close_for, expire_late, tell
from app.services.team.transfers.eligibility import refuse_if_owns_most, refuse_ineligible

NONE_OPEN = "There is no open transfer of this organisation for you."


def one_open() -> Conflict:
    """409 for a second offer while there is one."""
    return Conflict("transfer_pending", "There is an open transfer already; cancel it first.")


translate_constraint("ownership_transfers_pending_key", one_open())


class TransferReader:
    """Shows the open offer of the caller's organisation."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        assert principal.organization_id is not None  # noqa: S101 - the route asks for a permission there
        self.organization_id: UUID = principal.organization_id

    async def get(self) -> TransferRead:
        """The open offer. 404 without one."""
        card = await TransferRepository(self.session).card(self.organization_id, clock.now())
        if card is None:
            raise NotFound(detail=NONE_OPEN)
        return _read(card)


class TransferService:
    """Moves the ownership of the organisation in which the caller works."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal, request: Request) -> None:
        self.session = session
        self.request = request
        self.principal = principal
        self.team = TeamRepository(session)
        self.transfers = TransferRepository(session)
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        self.user_id: UUID = principal.user_id

    async def offer(self, body: OfferOwnership) -> TransferRead:
        """Offer the organisation to another member, who has some days to accept.

        404; 409 `target_not_eligible` with a `reason`, `transfer_pending`; 422 `target_is_owner`; 429.
        """
        now = clock.now()
        await enforce(self.request, "transfer", key=str(self.principal.organization_id))
        organization = await self._enter()
        standing = await self.team.standing(organization.id, member_id=body.member_id)
        if standing is None:
            raise NotFound(detail="There is no such member.")
        people = await self._people(self.user_id, standing.member.user_id)
        owner, target = await self._both(organization.id, self.user_id, standing.member.user_id)
        if owner is None or owner.role != "owner":
            raise Forbidden(
                "permission_denied",
                "Only the owner can give the organisation away.",
                permission=Permission.organization_transfer,
            )
        if target is None or target.id == owner.id:
            detail = "This member owns the organisation already."
            raise Invalid(
                "target_is_owner", detail, errors=[FieldError("/member_id", "target_is_owner", detail)]
            )
        await refuse_ineligible(self.session, organization, target, people[target.user_id])
        await expire_late(self.session, organization.id, now)
        if await self.transfers.pending(organization.id) is not None:
            raise one_open()
        transfer = OwnershipTransfer(
            organization_id=organization.id,
            id=uuid7(),
            from_user_id=owner.user_id,
            to_user_id=target.user_id,
            status="pending",
            expires_at=now + timedelta(seconds=get_settings().transfer_seconds),
            created_at=now,
        )
        await self.transfers.add(transfer)
        await tell(self.session, OwnershipRequested, transfer)
        card = await self.transfers.card(organization.id, now)
        assert card is not None  # noqa: S101 - added just now
        return _read(card)

    async def accept(self) -> Joined:
        """Become the owner; the former one is an admin from now on.

        404 without an offer to the caller; 409 `target_not_eligible` with a `reason`; 410 `transfer_expired`.
        """
        now = clock.now()
        organization = await self._enter()
        await self._refuse_blocked(organization.id, now)
        transfer = await self._offer_to_me(organization.id, now)
        people = await self._people(transfer.from_user_id, self.user_id)
        owner, target = await self._both(organization.id, transfer.from_user_id, self.user_id)
        if owner is None or owner.role != "owner" or target is None:
            raise NotFound(detail=NONE_OPEN)
        await refuse_ineligible(self.session, organization, target, people[target.user_id])
        await refuse_if_owns_most(self.session, people[target.user_id])
        was_personal = organization.kind == "personal"
        closed = await self.transfers.close(
            OwnershipTransfer.organization_id == organization.id,
            OwnershipTransfer.id == transfer.id,
            status="accepted",
            now=now,
        )
        if not closed:
            raise NotFound(detail=NONE_OPEN)
        await self.transfers.exchange(organization, owner, target)
        if was_personal:
            await self._new_home(people[owner.user_id], now)
        await tell(self.session, OwnershipTransferred, transfer)
        return joined(organization, "owner")

    async def close(self) -> None:
        """End the open offer: its owner takes it back, its target declines. 404 for everybody else."""
        now = clock.now()
        organization = await self._enter()
        transfer = await self.transfers.pending(organization.id)
        if transfer is None or transfer.expires_at <= now:
            raise NotFound(detail=NONE_OPEN)
        standing = await self.team.standing(organization.id, user_id=self.user_id)
        is_target = transfer.to_user_id == self.user_id
        is_owner = standing is not None and standing.member.role == "owner"
        if not is_target and not is_owner:
            raise NotFound(detail=NONE_OPEN)
        await close_for(self.session, transfer, is_target=is_target, now=now)

    async def _enter(self) -> Organization:
        """Lock the organisation in which the caller works. 404 for a caller who works in none."""
        organization_id = self.principal.organization_id
        found = await self.team.lock_organization(organization_id) if organization_id else None
        if found is None:
            raise NotFound(detail=NONE_OPEN)
        return found

    async def _people(self, *ids: UUID) -> dict[UUID, User]:
        """These people, locked after the organisation and before its members, as everywhere."""
        return {user.id: user for user in await self.transfers.lock_people(list(set(ids)))}

    async def _both(
        self, organization_id: UUID, owner_id: UUID, target_id: UUID
    ) -> tuple[TeamMember | None, TeamMember | None]:
        """The memberships of two people, locked in the order of their ids."""
        found = [await self.team.member_of(organization_id, user_id) for user_id in (owner_id, target_id)]
        ids = [member.id for member in found if member is not None]
        locked = {member.user_id: member for member in await self.team.lock_members(organization_id, ids)}
        return locked.get(owner_id), locked.get(target_id)

    async def _offer_to_me(self, organization_id: UUID, now: datetime) -> OwnershipTransfer:
        transfer = await self.transfers.latest_to(organization_id, self.user_id)
        if transfer is not None and transfer.status in ("pending", "expired") and transfer.expires_at <= now:
            raise Gone("transfer_expired", "This offer was not accepted in time; ask for a new one.")
        if transfer is None or transfer.status != "pending":
            raise NotFound(detail=NONE_OPEN)
        return transfer

    async def _refuse_blocked(self, organization_id: UUID, now: datetime) -> None:
        """What keeps a session out of the organisation keeps it from owning it."""
        session_id = self.principal.session_id
        assert session_id is not None  # noqa: S101 - the route is for signed-in people
        facts = await self.transfers.entry_of(organization_id, self.user_id, session_id)
        if facts is None:
            raise NotFound(detail=NONE_OPEN)
        if (blocked := blocked_by(facts, now)) is not None:
            raise refusal_for(blocked, get_settings())

    async def _new_home(self, user: User, now: datetime) -> None:
        """A personal organisation for somebody who gave theirs away."""
        profile = await self.transfers.profile(user.id)
        locale = profile.locale if profile else "fr"
        name = (profile.full_name if profile else None) or PERSONAL_NAMES[locale]
        await give_home(self.session, user, name, now, source="transfer")


def _read(card: TransferCard) -> TransferRead:
    transfer = card.transfer
    return TransferRead.model_validate(
        {
            "id": transfer.id,
            "status": transfer.status,
            "member_id": card.member_id,
            "from_user": PublicProfile(
                id=transfer.from_user_id,
                full_name=card.from_name,
                avatar_url=avatar_url(card.from_avatar_id),
            ),
            "to_user": PublicProfile(
                id=transfer.to_user_id, full_name=card.to_name, avatar_url=avatar_url(card.to_avatar_id)
            ),
            "expires_at": transfer.expires_at,
            "created_at": transfer.created_at,
        }
    )


ReadTransfers = Annotated[TransferReader, Depends()]
Transfers = Annotated[TransferService, Depends()]
