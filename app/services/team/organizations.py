"""Owns organisations: one's own ones, making, changing and deleting them, bringing one back."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal, blocked_by
from app.core.changes import told
from app.core.config import get_settings
from app.core.database import Unscoped
from app.core.errors import (
    Conflict,
    FieldError,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    translate_constraint,
    version_mismatch,
)
from app.core.etags import is_stale
from app.core.events import emit
from app.core.ids import uuid7
from app.core.paging import Keyset, Page, Pager, Sort
from app.core.permissions import Permission, Role
from app.models.team import Organization, TeamMember
from app.repositories.team import OrganizationRepository, TeamRepository, TeamSessionRepository
from app.schemas.team.organizations import (
    MyOrganization,
    OrganizationCreate,
    OrganizationQuery,
    OrganizationRead,
    OrganizationUpdate,
)
from app.services.billing.entitlements import entitlements, entitlements_of
from app.services.billing.paying.cancelling import cancel_for_deletion
from app.services.team.desk import active_organization, enter_team, person_of
from app.services.team.events.organizations import (
    OrganizationCreated,
    OrganizationDeleted,
    OrganizationRestored,
    OrganizationUpdated,
)
from app.services.team.sessions import send_home
from app.services.team.slugs import candidates

NEWEST_FIRST = "-joined_at"

PAGER = Pager(
    "organizations",
    Keyset(TeamMember.joined_at, Organization.id),
    {NEWEST_FIRST: Sort(TeamMember.joined_at, True, has_cursor=True)},
)


def slug_taken() -> Conflict:
    """409 for a slug that another organisation has, or had until it is purged."""
    return Conflict("slug_taken", "Another organisation has this slug; choose another one.")


translate_constraint("organizations_slug_key", slug_taken())


class OrganizationService:
    """What people do with their organisations. What it reads is bound to the caller, or to the active one."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.organizations = OrganizationRepository(session)

    async def list(self, query: OrganizationQuery) -> Page[MyOrganization]:
        """The caller's organisations; `blocked_by` is what their session would be refused with."""
        session_id = self.principal.session_id
        assert session_id is not None  # noqa: S101 - the route is for signed-in people
        now = clock.now()
        statement = self.organizations.of_session(person_of(self.principal), session_id)
        rows = await PAGER.rows(self.session, statement, query, NEWEST_FIRST, is_scalar=False)
        plans = await entitlements_of(self.session, [row.id for row in rows.items])
        return Page[MyOrganization].model_validate(rows.map(lambda row: _mine(row, plans[row.id].plan, now)))

    async def get(self, organization_id: UUID) -> OrganizationRead:
        """The active organisation. 404 for any other."""
        organization = await self.organizations.live(self._active(organization_id))
        if organization is None:
            raise _missing()
        return await self._read(organization)

    async def create(self, body: OrganizationCreate) -> OrganizationRead:
        """Make an organisation that the caller owns; without a slug it is made from the name.

        403 `session_limited_to_organization`; 409 `too_many_organizations`, `slug_taken`.
        """
        user_id, session_id = person_of(self.principal), self.principal.session_id
        assert session_id is not None  # noqa: S101 - the route is for signed-in people
        if await TeamSessionRepository(self.session).scope(session_id) is not None:
            raise Forbidden(
                "session_limited_to_organization",
                "This session belongs to the single sign-on of one organisation; sign in without it.",
            )
        await self._refuse_too_many(user_id)
        organization_id = await self._insert(body, user_id)
        self.session.add(
            TeamMember(
                organization_id=organization_id,
                id=uuid7(),
                user_id=user_id,
                role=Role.owner.value,
                source="creation",
                joined_at=clock.now(),
            )
        )
        await self.session.flush()
        await emit(
            self.session,
            OrganizationCreated(organization_id=organization_id),
            organization_id=organization_id,
        )
        return await self._read(await self._find(organization_id))

    async def update(
        self, organization_id: UUID, body: OrganizationUpdate, etags: Collection[int] | None
    ) -> OrganizationRead:
        """Change name or slug. `etags` are the versions of `If-Match`. 404; 412; 409 `slug_taken`."""
        self._active(organization_id)
        actor = await enter_team(self.session, self.principal, Permission.organization_update)
        organization = actor.organization
        if is_stale(organization.version, body.version, etags):
            raise version_mismatch(organization.version)
        sent = body.changes(without=frozenset({"version"}))
        changed = {name: value for name, value in sent.items() if value != getattr(organization, name)}
        if changed:
            before = {name: getattr(organization, name) for name in changed}
            await self._write(organization, changed)
            # A personal organisation is called by its person, and so is its slug.
            public, private = told(
                {name: [before[name], changed[name]] for name in changed}, personal=changed
            )
            event = OrganizationUpdated(
                organization_id=organization.id, fields=sorted(changed), changes=public
            )
            await emit(self.session, event, private=private)
        return await self._read(organization)

    async def delete(self, organization_id: UUID, confirm: str | None) -> None:
        """Mark the organisation as deleted: at once nobody enters it, and every session in it goes home.

        404; 409 `personal_organization`; 422 `confirmation_mismatch` unless `confirm` is its slug.
        """
        self._active(organization_id)
        actor = await enter_team(self.session, self.principal, Permission.organization_delete)
        organization = actor.organization
        if organization.kind == "personal":
            raise Conflict("personal_organization", "A personal organisation goes only with its person.")
        if confirm != organization.slug:
            detail = "Send the organisation's slug as `confirm`."
            error = FieldError("/confirm", "confirmation_mismatch", detail)
            raise Invalid("confirmation_mismatch", detail, errors=[error])
        now = clock.now()
        grace = timedelta(days=get_settings().organization_grace_days)
        await self._write(organization, {"deleted_at": now, "purge_after": now + grace})
        # Whoever restores it begins on the free plan.
        await self.organizations.end_grants(organization.id, now)
        await cancel_for_deletion(self.session, organization.id)
        await send_home(self.session, organization.id, None, now)
        await emit(self.session, OrganizationDeleted(organization_id=organization.id))

    async def restore(self, organization_id: UUID) -> OrganizationRead:
        """Bring a deleted organisation of the caller's back; one that is not deleted stays as it is.

        404 unless the caller owns it; 410 `organization_purged`; 409 `too_many_organizations`.
        """
        user_id = person_of(self.principal)
        standing = await TeamRepository(self.session).standing(organization_id, user_id=user_id)
        if standing is None or standing.member.role != Role.owner:
            raise _missing()
        organization = await self.organizations.lock_any(organization_id)
        if organization is None:
            raise _missing()
        if organization.deleted_at is not None:
            if organization.purge_after is not None and organization.purge_after <= clock.now():
                raise Gone("organization_purged", "The time to restore this organisation is over.")
            await self._refuse_too_many(user_id)
            await self._write(organization, {"deleted_at": None, "purge_after": None})
            await emit(
                self.session,
                OrganizationRestored(organization_id=organization_id),
                organization_id=organization_id,
            )
        return await self._read(organization)

    def _active(self, organization_id: UUID) -> UUID:
        if organization_id != active_organization(self.principal):
            raise _missing()
        return organization_id

    async def _find(self, organization_id: UUID) -> Organization:
        organization = await self.organizations.live(organization_id)
        if organization is None:
            raise _missing()
        return organization

    async def _refuse_too_many(self, user_id: UUID) -> None:
        """409 `too_many_organizations`, judged under the lock of the person."""
        await self.organizations.lock_person(user_id)
        limit = get_settings().max_owned_organizations
        if await self.organizations.count_owned(user_id) >= limit:
            raise Conflict(
                "too_many_organizations",
                f"A person owns {limit} organisations at most; delete or transfer one.",
                limit=limit,
            )

    async def _insert(self, body: OrganizationCreate, user_id: UUID) -> UUID:
        organization_id = uuid7()
        values = {"id": organization_id, "name": body.name, "kind": "team", "created_by": user_id}
        for slug in (body.slug,) if body.slug is not None else candidates(body.name):
            if await self.organizations.insert_unless_taken({**values, "slug": slug}):
                return organization_id
        raise slug_taken()

    async def _write(self, organization: Organization, values: dict[str, Any]) -> None:
        """Write into the organisation that is locked, and count its version on."""
        for name, value in values.items():
            setattr(organization, name, value)
        organization.version += 1
        await self.session.flush()
        await self.session.refresh(organization)

    async def _read(self, organization: Organization) -> OrganizationRead:
        standing = await TeamRepository(self.session).standing(
            organization.id, user_id=person_of(self.principal)
        )
        if standing is None:
            raise _missing()
        plan = await entitlements(self.session, organization.id)
        return OrganizationRead(
            id=organization.id,
            name=organization.name,
            slug=organization.slug,
            kind="personal" if organization.kind == "personal" else "team",
            plan=plan.plan,
            role=standing.role_key,
            require_mfa=organization.require_mfa,
            sso_enforced=organization.sso_enforced,
            session_max_seconds=organization.session_max_seconds,
            session_idle_seconds=organization.session_idle_seconds,
            members_count=await self.organizations.count_members(organization.id),
            version=organization.version,
            created_at=organization.created_at,
            updated_at=organization.updated_at,
        )


def _missing() -> NotFound:
    return NotFound(detail="There is no such organisation for you.")


def _mine(row: Any, plan: str, now: datetime) -> MyOrganization:
    return MyOrganization(
        id=row.id,
        name=row.name,
        slug=row.slug,
        kind=row.kind,
        plan=plan,
        role=row.role_key or row.role,
        status=row.member_status,
        blocked_by=blocked_by(row, now),
        members_count=row.members_count,
        joined_at=row.created_at,
    )


Organizations = Annotated[OrganizationService, Depends()]
