"""Owns what people see of their sessions, and who they are in the present one."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends
from sqlalchemy import Row

from app.core import clock
from app.core.access import CurrentPrincipal, blocked_by, refusal_for
from app.core.config import get_settings
from app.core.database import Unscoped
from app.core.errors import NotFound
from app.core.paging import Keyset, PageQuery, Pager, Rows, Sort
from app.core.permissions import permissions_of
from app.models.auth import UserSession
from app.models.settings import Profile
from app.repositories.auth import PeopleRepository, SessionRepository
from app.schemas.auth import (
    ActiveOrganization,
    Me,
    Membership,
    OAuthProvider,
    OwnProfile,
    Person,
    Providers,
    SessionOrganization,
    SessionRead,
    SwitchedOrganization,
)
from app.services.auth.external.providers import offered
from app.services.billing.entitlements import entitlements
from app.services.files.addresses import avatar_url
from app.services.privacy.consents import required_of

NEWEST_FIRST = "-last_activity_at"

PAGER = Pager(
    "sessions",
    Keyset(UserSession.last_activity_at, UserSession.id),
    {NEWEST_FIRST: Sort(UserSession.last_activity_at, is_descending=True, has_cursor=True)},
)


class SessionService:
    """Shows the caller's own account and sessions; what it reads is bound to the caller's id."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        assert principal.session_id is not None  # noqa: S101 - as above
        self.user_id: UUID = principal.user_id
        self.session_id: UUID = principal.session_id

    async def list(self, query: PageQuery) -> Rows[SessionRead]:
        """The caller's live sessions, newest activity first."""
        statement = SessionRepository(self.session).live_of(self.user_id, clock.now())
        rows = await PAGER.rows(self.session, statement, query, NEWEST_FIRST, is_scalar=False)
        return rows.map(lambda row: self._read(row[0], row[1]))

    async def me(self) -> Me:
        """Who the caller is, in which session, in which organisations."""
        people = PeopleRepository(self.session)
        user = await people.one(people.model.id == self.user_id)
        assert user is not None  # noqa: S101 - a session cannot outlive its person
        profile = await people.profile(self.user_id)
        row, organization_name = await SessionRepository(self.session).with_organization(self.session_id)
        memberships = await people.memberships(self.user_id, self.session_id)
        active = [
            membership for membership in memberships if membership.asked_id == self.principal.organization_id
        ]
        return Me(
            user=Person(
                id=user.id,
                email=user.email,
                email_confirmed_at=user.email_confirmed_at,
                status=user.status,
                mfa_enabled=user.mfa_enabled_at is not None,
                created_at=user.created_at,
            ),
            profile=_profile(profile),
            session=self._read(row, organization_name),
            organizations=[_membership(membership) for membership in memberships],
            organization=await self._active(active[0]) if active else None,
            consents_required=await required_of(self.session, self.user_id),
        )

    async def switch_organization(self, organization_id: UUID) -> SwitchedOrganization:
        """Work in another organisation from now on; 404 when it is not one of the caller's.

        The refusals of points 4 to 8 of the access check apply, because entering would meet them.
        """
        people = PeopleRepository(self.session)
        membership = await people.membership(self.user_id, self.session_id, organization_id)
        if membership is None:
            raise NotFound(detail="There is no such organisation for you.")
        if (blocked := blocked_by(membership, clock.now())) is not None:
            raise refusal_for(blocked, get_settings())
        user = await people.get(self.user_id, lock=True)
        assert user is not None  # noqa: S101 - a session cannot outlive its person
        user.last_organization_id = organization_id
        await SessionRepository(self.session).enter(self.session_id, organization_id)
        return SwitchedOrganization(organization=await self._active(membership))

    async def _active(self, row: Row[Any]) -> ActiveOrganization:
        return _active(row, (await entitlements(self.session, row.asked_id)).plan)

    def _read(self, row: UserSession, organization_name: str) -> SessionRead:
        return SessionRead(
            id=row.id,
            is_current=row.id == self.session_id,
            device_name=row.device_name,
            device_type=row.device_type,
            browser=row.browser,
            os=row.os,
            ip_address=str(row.ip_address) if row.ip_address else None,
            location=row.location,
            auth_method=row.auth_method,
            aal=row.aal,
            organization=SessionOrganization(id=row.organization_id, name=organization_name),
            created_at=row.created_at,
            last_activity_at=row.last_activity_at,
            last_activity=row.last_activity_at,
            expires_at=row.expires_at,
        )


def providers() -> Providers:
    """The ways to sign in that this service offers."""
    settings = get_settings()
    return Providers(
        password=True,
        magic_link=True,
        signup=settings.signups == "open",
        oauth=[OAuthProvider(provider=name, name=title) for name, title in offered(settings)],
        sso=False,
    )


def _profile(profile: Profile | None) -> OwnProfile | None:
    if profile is None:
        return None
    return OwnProfile(
        full_name=profile.full_name,
        company=profile.company,
        bio=profile.bio,
        city=profile.city,
        locale=profile.locale,
        timezone=profile.timezone,
        avatar_url=avatar_url(profile.avatar_file_id),
        version=profile.version,
    )


def _membership(row: Row[Any]) -> Membership:
    return Membership(
        id=row.asked_id,
        name=row.name,
        slug=row.slug,
        kind=row.kind,
        role=row.role_key or row.role,
        blocked_by=blocked_by(row, clock.now()),
    )


def _active(row: Row[Any], plan: str) -> ActiveOrganization:
    return ActiveOrganization(
        id=row.asked_id,
        name=row.name,
        slug=row.slug,
        plan=plan,
        role=row.role_key or row.role,
        permissions=sorted(permissions_of(row.role, row.permissions)),
    )


Sessions = Annotated[SessionService, Depends()]
