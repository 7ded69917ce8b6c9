"""Owns plans by contract: the platform's staff gives them and ends them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Unscoped
from app.core.errors import FieldError, Invalid, NotFound
from app.core.events import emit
from app.core.ids import uuid7
from app.core.paging import Keyset, Page, Pager, Sort
from app.models.billing import PlanGrant
from app.repositories.billing.plans import GrantRepository, PlanRepository
from app.schemas.billing.plans import GrantCreate, GrantQuery, GrantRead
from app.services.billing.paying.events import GrantCreated, GrantEnded

NEWEST_FIRST = "-created_at"

PAGER = Pager(
    "plan_grants",
    Keyset(PlanGrant.created_at, PlanGrant.id),
    {NEWEST_FIRST: Sort(PlanGrant.created_at, is_descending=True, has_cursor=True)},
)


class GrantService:
    """Gives plans, to whatever organisation."""

    def __init__(self, session: Unscoped, principal: CurrentPrincipal) -> None:
        self.session = session
        self.principal = principal
        self.grants = GrantRepository(session)

    async def list(self, query: GrantQuery) -> Page[GrantRead]:
        """A page of grants, newest first."""
        statement = self.grants.matching(query.organization_id)
        rows = await PAGER.rows(self.session, statement, query, NEWEST_FIRST)
        return Page[GrantRead].model_validate(rows.map(_read))

    async def create(self, body: GrantCreate) -> GrantRead:
        """Give a plan. 404 for an unknown organisation; 422 `plan_unknown`, `span_invalid`."""
        if not await self.grants.organization_exists(body.organization_id):
            raise NotFound()
        if await PlanRepository(self.session).by_code(body.plan) is None:
            raise _fault("/plan", "plan_unknown", "There is no such plan.")
        if body.ends_at is not None and body.ends_at <= body.starts_at:
            raise _fault("/ends_at", "span_invalid", "It ends after it begins.")
        grant = await self.grants.add(
            PlanGrant(
                organization_id=body.organization_id,
                id=uuid7(),
                plan_code=body.plan,
                starts_at=body.starts_at,
                ends_at=body.ends_at,
                note=body.note,
                granted_by=str(self.principal.user_id),
            )
        )
        await self.session.refresh(grant)
        await emit(self.session, GrantCreated(**_facts(grant)), organization_id=grant.organization_id)
        return _read(grant)

    async def end(self, grant_id: UUID) -> None:
        """Let a grant end now; one that has ended stays as it is. 404."""
        grant = await self.grants.get(grant_id, lock=True)
        if grant is None:
            raise NotFound()
        now = await self.session.now()
        if grant.ends_at is not None and grant.ends_at <= now:
            return
        facts = {**_facts(grant), "ends_at": now}
        await self.grants.end(grant, now)
        await emit(self.session, GrantEnded(**facts), organization_id=grant.organization_id)


def _facts(grant: PlanGrant) -> dict[str, Any]:
    return {
        "grant_id": grant.id,
        "plan": grant.plan_code,
        "starts_at": grant.starts_at,
        "ends_at": grant.ends_at,
    }


def _read(grant: PlanGrant) -> GrantRead:
    return GrantRead(
        id=grant.id,
        organization_id=grant.organization_id,
        plan=grant.plan_code,
        starts_at=grant.starts_at,
        ends_at=grant.ends_at,
        note=grant.note,
        granted_by=grant.granted_by,
        created_at=grant.created_at,
    )


def _fault(pointer: str, code: str, detail: str) -> Invalid:
    return Invalid(code, detail, errors=[FieldError(pointer, code, detail)])


Grants = Annotated[GrantService, Depends()]
