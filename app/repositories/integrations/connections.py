"""Owns the questions to connections and to their log."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, delete, func, or_, select, update

from app.models.integrations import Integration, IntegrationLog
from app.models.team import Organization
from app.repositories.base import Repository

ALIVE = ("connected", "error")
"""States in which a grant is good."""


class IntegrationRepository(Repository[Integration]):
    """Connections; the questions name the organisation, since some sessions see every one."""

    model: ClassVar[type[Integration]] = Integration

    def matching(self, *, service: str | None, status: str | None) -> Select[tuple[Integration]]:
        """The statement of a list."""
        statement = self.select().select_from(Integration)
        if service is not None:
            statement = statement.where(Integration.service == service)
        return statement if status is None else statement.where(Integration.status == status)

    async def find(
        self, organization_id: UUID, integration_id: UUID, *, lock: bool = False
    ) -> Integration | None:
        """The organisation's connection with this id."""
        return await self.one(
            Integration.organization_id == organization_id, Integration.id == integration_id, lock=lock
        )

    async def lock_organization(self, organization_id: UUID) -> None:
        """Let nobody else connect an account to the organisation until the transaction ends."""
        statement = (
            select(Organization.id).where(Organization.id == organization_id).with_for_update(key_share=True)
        )
        await self.session.execute(statement)

    async def of_account(self, organization_id: UUID, service: str, account_id: str) -> Integration | None:
        """The connection to an account: the live one, or else the one that was disconnected last; locked."""
        statement = (
            self.select()
            .where(
                Integration.organization_id == organization_id,
                Integration.service == service,
                Integration.external_account_id == account_id,
            )
            .order_by((Integration.status == "disconnected").asc(), Integration.updated_at.desc())
            .limit(1)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        found: Integration | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def is_alive_anywhere(self, services: Sequence[str], account_id: str) -> bool:
        """Whether any organisation has a live connection to this account at one of these services."""
        alive = select(Integration.id).where(
            Integration.service.in_(services),
            Integration.external_account_id == account_id,
            Integration.status.in_(ALIVE),
        )
        return bool(await self.session.scalar(select(alive.exists())))

    async def change(
        self, organization_id: UUID, integration_id: UUID, values: Mapping[str, Any]
    ) -> Integration:
        """Change a connection that the caller has locked."""
        changed = await self._change(
            and_(Integration.organization_id == organization_id, Integration.id == integration_id), values
        )
        assert changed is not None  # noqa: S101 - a row that is locked is there
        return changed

    async def lease(
        self, row: Integration, *, now: datetime, until: datetime, holder: str
    ) -> Integration | None:
        """Take the right to refresh the tokens that were read; None while somebody has it, or they moved."""
        return await self._change(
            and_(
                Integration.organization_id == row.organization_id,
                Integration.id == row.id,
                Integration.token_version == row.token_version,
                Integration.status.in_(ALIVE),
                or_(Integration.refresh_lease_until.is_(None), Integration.refresh_lease_until < now),
            ),
            {"refresh_lease_until": until, "refresh_lease_by": holder},
        )

    async def change_version(
        self, row: Integration, values: Mapping[str, Any], *, holder: str | None = None
    ) -> Integration | None:
        """Change a live connection unless its tokens have moved since `row` was read: compare and swap.

        With a `holder`, neither when somebody else has taken the lease.
        """
        condition = and_(
            Integration.organization_id == row.organization_id,
            Integration.id == row.id,
            Integration.token_version == row.token_version,
            Integration.status.in_(ALIVE),
        )
        if holder is not None:
            condition = and_(condition, Integration.refresh_lease_by == holder)
        return await self._change(condition, values)

    async def due(self, now: datetime, *, limit: int) -> Sequence[tuple[UUID, UUID]]:
        """Organisation and id of connections, of whatever organisation, whose refresh is due."""
        due = [
            select(Integration.organization_id, Integration.id, Integration.next_refresh_at)
            .where(Integration.status == status, Integration.next_refresh_at <= now)
            .order_by(Integration.next_refresh_at)
            .limit(limit)
            for status in ALIVE
        ]
        rows = [row for statement in due for row in (await self.session.execute(statement)).all()]
        rows.sort(key=lambda row: row.next_refresh_at)
        return [(row.organization_id, row.id) for row in rows[:limit]]

    async def mark_left(
        self, organization_id: UUID, user_id: UUID, *, code: str, message: str
    ) -> Sequence[UUID]:
        """Note on what a person connected that they left; the ids of those connections."""
        statement = (
            update(Integration)
            .where(
                Integration.organization_id == organization_id,
                Integration.created_by == user_id,
                Integration.status != "disconnected",
            )
            .values(
                # What is worse stays to be seen.
                error_code=case((Integration.status == "connected", code), else_=Integration.error_code),
                error_message=case(
                    (Integration.status == "connected", message), else_=Integration.error_message
                ),
                details=Integration.details.op("||")(func.jsonb_build_object(code, True)),
                updated_at=func.clock_timestamp(),
            )
            .returning(Integration.id)
            .execution_options(synchronize_session=False)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def _change(self, condition: ColumnElement[bool], values: Mapping[str, Any]) -> Integration | None:
        statement = (
            update(Integration)
            .where(condition)
            .values(**values, updated_at=func.clock_timestamp())
            .returning(Integration)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        changed: Integration | None = (await self.session.execute(statement)).scalar_one_or_none()
        return changed


class IntegrationLogRepository(Repository[IntegrationLog]):
    """What was done with connections."""

    model: ClassVar[type[IntegrationLog]] = IntegrationLog

    def of_integration(self, integration_id: UUID, *, kind: str | None) -> Select[tuple[IntegrationLog]]:
        """The statement of a connection's log."""
        statement = (
            self.select().select_from(IntegrationLog).where(IntegrationLog.integration_id == integration_id)
        )
        return statement if kind is None else statement.where(IntegrationLog.kind == kind)

    async def prune(self, *, before: datetime, limit: int) -> int:
        """Delete up to `limit` entries, of whatever organisation, from before then; how many those were."""
        old = (
            select(IntegrationLog.organization_id, IntegrationLog.id)
            .where(IntegrationLog.created_at < before)
            .limit(limit)
            .cte()
        )
        gone = await self.session.execute(
            delete(IntegrationLog)
            .where(IntegrationLog.organization_id == old.c.organization_id, IntegrationLog.id == old.c.id)
            .returning(IntegrationLog.id)
            .execution_options(synchronize_session=False)
        )
        return len(gone.scalars().all())
