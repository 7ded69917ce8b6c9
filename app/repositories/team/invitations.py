"""Owns the questions to invitations, to the people around them and to the tokens of their mails."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update

from app.models.auth import OneTimeToken, User
from app.models.notifications import Email
from app.models.settings import Profile
from app.models.team import Invitation, Organization, TeamMember, TeamRole
from app.repositories.auth import OneTimeTokenRepository, PeopleRepository
from app.repositories.base import Repository

TOKEN_PURPOSE = "team_invitation"  # noqa: S105 - a purpose

STAMPS = {"accepted": "accepted_at", "declined": "declined_at", "cancelled": "cancelled_at"}
"""The column that says when an invitation was closed in this way; of expired ones `expires_at` does."""


@dataclass(frozen=True, slots=True)
class Closed:
    """An invitation that was just closed."""

    id: UUID
    email: str
    invited_by: UUID | None


@dataclass(frozen=True, slots=True)
class InvitationCard:
    """An invitation with the names around it, as they are now."""

    invitation: Invitation
    organization: Organization
    role_name: str | None
    inviter_name: str | None


class InvitationRepository(Repository[Invitation]):
    """Invitations. In an unscoped session every question binds the organisation, the address or the id."""

    model = Invitation

    async def of(self, organization_id: UUID, invitation_id: UUID) -> Invitation | None:
        """An invitation of this organisation, as it stands now."""
        statement = (
            select(Invitation)
            .where(Invitation.organization_id == organization_id, Invitation.id == invitation_id)
            .execution_options(populate_existing=True)
        )
        found: Invitation | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def pending_for(self, organization_id: UUID, canonical: str) -> Invitation | None:
        """The open invitation of an address; the caller holds the organisation's lock."""
        return await self.one(
            Invitation.organization_id == organization_id,
            Invitation.email_canonical == canonical,
            Invitation.status == "pending",
        )

    def matching(
        self, organization_id: UUID, *, status: str | None, q: str | None, now: datetime
    ) -> Select[Any]:
        """The statement of an organisation's list: each invitation with the name of a custom role."""
        statement: Select[Any] = _with_role().where(Invitation.organization_id == organization_id)
        if status == "pending":
            statement = statement.where(Invitation.status == "pending", Invitation.expires_at > now)
        elif status == "expired":
            is_late = and_(Invitation.status == "pending", Invitation.expires_at <= now)
            statement = statement.where(or_(Invitation.status == "expired", is_late))
        elif status is not None:
            statement = statement.where(Invitation.status == status)
        if q is not None:
            statement = statement.where(Invitation.email_canonical.startswith(q.lower(), autoescape=True))
        return statement

    async def with_role(
        self, organization_id: UUID, invitation_id: UUID
    ) -> tuple[Invitation, str | None] | None:
        """One invitation with its role's name, if that is custom."""
        statement = _with_role().where(
            Invitation.organization_id == organization_id, Invitation.id == invitation_id
        )
        row = (await self.session.execute(statement)).one_or_none()
        return (row[0], row.role_name) if row else None

    def open_for(self, canonical: str, now: datetime) -> Select[Any]:
        """The statement of the open invitations to an address, with the names around them."""
        statement: Select[Any] = _cards().where(
            Invitation.email_canonical == canonical,
            Invitation.status == "pending",
            Invitation.expires_at > now,
            Organization.deleted_at.is_(None),
        )
        return statement

    async def card(self, organization_id: UUID, invitation_id: UUID) -> InvitationCard | None:
        """One invitation with the names around it."""
        statement = _cards().where(
            Invitation.organization_id == organization_id, Invitation.id == invitation_id
        )
        row = (await self.session.execute(statement)).one_or_none()
        return as_card(row) if row else None

    async def addressed_to(self, invitation_id: UUID, canonical: str) -> Invitation | None:
        """An invitation to this address, in whatever organisation."""
        return await self.one(Invitation.id == invitation_id, Invitation.email_canonical == canonical)

    async def close(
        self,
        *conditions: ColumnElement[bool],
        status: str,
        now: datetime,
        accepted_by: UUID | None = None,
    ) -> Sequence[Closed]:
        """Close the open invitations that meet the conditions, and take their tokens out of use."""
        values: dict[str, Any] = {"status": status, "team_role_id": None, "accepted_by": accepted_by}
        if status in STAMPS:
            values[STAMPS[status]] = now
        statement = (
            update(Invitation)
            .where(*conditions, Invitation.status == "pending")
            .values(**values)
            .returning(Invitation.id, Invitation.email, Invitation.invited_by)
            .execution_options(synchronize_session=False)
        )
        closed = [Closed(*row) for row in (await self.session.execute(statement)).all()]
        await self._end_tokens([one.id for one in closed], now, is_used=status in ("accepted", "declined"))
        return closed

    async def _end_tokens(self, ids: Sequence[UUID], now: datetime, *, is_used: bool) -> None:
        if not ids:
            return
        await self.session.execute(
            update(OneTimeToken)
            .where(
                OneTimeToken.purpose == TOKEN_PURPOSE,
                OneTimeToken.owner_key.in_([str(identifier) for identifier in ids]),
                OneTimeToken.consumed_at.is_(None),
                OneTimeToken.voided_at.is_(None),
            )
            .values({"consumed_at" if is_used else "voided_at": now})
            .execution_options(synchronize_session=False)
        )

    async def token(self, token_id: UUID) -> OneTimeToken | None:
        """The row of a token, as it stands now."""
        return await OneTimeTokenRepository(self.session).of_purpose(token_id, TOKEN_PURPOSE)

    async def due(self, now: datetime, most: int) -> Sequence[UUID]:
        """The organisations with invitations whose time is over."""
        statement = (
            select(Invitation.organization_id)
            .where(Invitation.status == "pending", Invitation.expires_at <= now)
            .distinct()
            .limit(most)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def person(self, user_id: UUID, *, lock: bool = False) -> User | None:
        """A person; `lock` keeps others from changing them, and comes after the organisation's."""
        statement = select(User).where(User.id == user_id, User.status != "erased")
        if lock:
            statement = statement.with_for_update(key_share=True).execution_options(populate_existing=True)
        found: User | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def account(self, canonical: str) -> tuple[User, str | None] | None:
        """The confirmed account of an address, with the language of its profile."""
        statement = (
            select(User, Profile.locale)
            .outerjoin(Profile, Profile.user_id == User.id)
            .where(
                User.email_canonical == canonical,
                User.status != "erased",
                User.email_confirmed_at.is_not(None),
            )
        )
        row = (await self.session.execute(statement)).one_or_none()
        return (row[0], row[1]) if row else None

    async def profile(self, user_id: UUID) -> Profile | None:
        """What a person says about themselves."""
        return await PeopleRepository(self.session).profile(user_id)

    async def add_member(self, member: TeamMember) -> None:
        """Insert a membership; `team_members_user_key` decides between two of the same person."""
        self.session.add(member)
        await self.session.flush()

    async def organization_name(self, organization_id: UUID) -> str | None:
        """What an organisation is called."""
        found: str | None = await self.session.scalar(
            select(Organization.name).where(Organization.id == organization_id)
        )
        return found

    async def was_mailed(self, organization_id: UUID, template: str, since: datetime) -> bool:
        """Whether a mail of this kind was queued for the organisation since then."""
        statement = select(Email.id).where(
            Email.organization_id == organization_id,
            Email.template_key == template,
            Email.created_at > since,
        )
        return (await self.session.execute(statement.limit(1))).first() is not None


def as_card(row: Any) -> InvitationCard:
    """A row of `open_for`."""
    return InvitationCard(row[0], row[1], row.role_name, row.inviter_name)


def _with_role() -> Any:
    # By its key: a closed invitation does not hold its role any more, and built-in keys are no custom ones.
    return (
        select(
            Invitation,
            TeamRole.name.label("role_name"),
            Invitation.created_at.label("created_at"),
            Invitation.id.label("id"),
        )
        .select_from(Invitation)
        .outerjoin(
            TeamRole,
            and_(TeamRole.organization_id == Invitation.organization_id, TeamRole.key == Invitation.role_key),
        )
    )


def _cards() -> Any:
    return (
        select(
            Invitation,
            Organization,
            TeamRole.name.label("role_name"),
            func.nullif(Profile.full_name, "").label("inviter_name"),
            Invitation.created_at.label("created_at"),
            Invitation.id.label("id"),
        )
        .select_from(Invitation)
        .join(Organization, Organization.id == Invitation.organization_id)
        .outerjoin(Profile, Profile.user_id == Invitation.invited_by)
        .outerjoin(
            TeamRole,
            and_(TeamRole.organization_id == Invitation.organization_id, TeamRole.key == Invitation.role_key),
        )
    )
