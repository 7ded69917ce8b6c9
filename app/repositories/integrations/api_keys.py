"""Owns the questions to API keys; the access check's own statement is in `core/key_access`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, literal, or_, select, update

from app.core.permissions import Permission, permissions_of
from app.models.auth import User
from app.models.integrations import ApiKey
from app.models.team import Organization, TeamMember, TeamRole
from app.repositories.base import Repository


class ApiKeyRepository(Repository[ApiKey]):
    """API keys, for any session: where it may see more than one organisation, the question names it."""

    model: ClassVar[type[ApiKey]] = ApiKey

    def matching(self, *, is_active: bool | None) -> Select[tuple[ApiKey]]:
        """The statement of a list."""
        statement = self.select().select_from(ApiKey)
        return statement if is_active is None else statement.where(ApiKey.is_active.is_(is_active))

    async def lock_organization(self, organization_id: UUID) -> None:
        """Let nobody else add keys to the organisation until the transaction ends."""
        statement = (
            select(Organization.id).where(Organization.id == organization_id).with_for_update(key_share=True)
        )
        await self.session.execute(statement)

    async def count_live(
        self, organization_id: UUID, now: datetime, *, is_overlap_counted: bool = False
    ) -> int:
        """How many keys are neither revoked nor expired, nor (unless they count) replaced by a newer one.

        The caller holds the lock of the organisation, under which they are added.
        """
        overlap = or_(ApiKey.grace_until.is_(None), literal(is_overlap_counted) & (ApiKey.grace_until > now))
        statement = (
            select(func.count())
            .select_from(ApiKey)
            .where(
                ApiKey.organization_id == organization_id,
                ApiKey.revoked_at.is_(None),
                overlap,
                or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now),
            )
        )
        return int(await self.session.scalar(statement) or 0)

    async def change(self, key_id: UUID, values: Mapping[str, Any]) -> ApiKey:
        """Change a key that the caller has locked."""
        statement = (
            update(ApiKey)
            .where(ApiKey.id == key_id)
            .values(**values, updated_at=func.clock_timestamp())
            .returning(ApiKey)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        changed: ApiKey = (await self.session.execute(statement)).scalar_one()
        return changed

    async def was_rotated(self, key_id: UUID) -> bool:
        """Whether a newer key took this one's place; the caller has locked it."""
        newer = select(ApiKey.id).select_from(ApiKey).where(ApiKey.rotated_from == key_id)
        return bool(await self.session.scalar(select(newer.exists())))

    async def revoke_of(
        self, organization_id: UUID, user_id: UUID, reason: str, now: datetime, *, by: UUID | None
    ) -> Sequence[ApiKey]:
        """Revoke every key that a person made in an organisation and that is not revoked yet."""
        made = and_(ApiKey.organization_id == organization_id, ApiKey.created_by == user_id)
        return await self._revoke(made, revoked_at=now, revoked_by=by, revoke_reason=reason)

    async def end_graces(self, now: datetime, *, limit: int) -> Sequence[ApiKey]:
        """Revoke up to `limit` keys, of whatever organisation, that were replaced and whose grace is over."""
        some = (
            select(ApiKey.organization_id, ApiKey.id)
            .where(ApiKey.revoked_at.is_(None), ApiKey.grace_until <= now)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte()
        )
        ended = and_(ApiKey.organization_id == some.c.organization_id, ApiKey.id == some.c.id)
        return await self._revoke(ended, revoked_at=ApiKey.grace_until, revoke_reason="rotated")

    async def note_expiring(self, now: datetime, days: int) -> Sequence[ApiKey]:
        """The keys in use, of every organisation, that expire within `days` and were not told of so late yet.

        They are marked as told.
        """
        statement = (
            update(ApiKey)
            .where(
                ApiKey.revoked_at.is_(None),
                ApiKey.grace_until.is_(None),
                ApiKey.is_active,
                ApiKey.expires_at > now,
                ApiKey.expires_at <= now + timedelta(days=days),
                or_(ApiKey.notified_days.is_(None), ApiKey.notified_days > days),
            )
            .values(notified_days=days, updated_at=ApiKey.updated_at)
            .returning(ApiKey)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def rights_of(
        self, organization_id: UUID, user_ids: Iterable[UUID]
    ) -> dict[UUID, frozenset[Permission]]:
        """What these people may do in the organisation now; whoever may not act there is left out."""
        found = await self._members(organization_id, TeamMember.user_id.in_(set(user_ids)))
        return {user_id: rights for user_id, rights in found if rights}

    async def organization_name(self, organization_id: UUID) -> str:
        """What the organisation is called; empty for one that is gone."""
        found = await self.session.scalar(select(Organization.name).where(Organization.id == organization_id))
        return found or ""

    async def keepers(self, organization_id: UUID) -> list[UUID]:
        """Who may manage the keys of the organisation now."""
        found = await self._members(organization_id, TeamMember.role != "viewer")
        return [user_id for user_id, rights in found if Permission.api_keys_manage in rights]

    async def _members(
        self, organization_id: UUID, condition: ColumnElement[bool]
    ) -> list[tuple[UUID, frozenset[Permission]]]:
        role = and_(
            TeamRole.organization_id == TeamMember.organization_id, TeamRole.id == TeamMember.team_role_id
        )
        statement = (
            select(TeamMember.user_id, TeamMember.role, TeamRole.permissions)
            .select_from(TeamMember)
            .join(User, User.id == TeamMember.user_id)
            .outerjoin(TeamRole, role)
            .where(
                TeamMember.organization_id == organization_id,
                TeamMember.status == "active",
                User.status == "active",
                condition,
            )
            .order_by(TeamMember.id)
        )
        rows = await self.session.execute(statement)
        return [(row.user_id, permissions_of(row.role, row.permissions)) for row in rows]

    async def _revoke(self, condition: ColumnElement[bool], **values: Any) -> Sequence[ApiKey]:
        statement = (
            update(ApiKey)
            .where(condition, ApiKey.revoked_at.is_(None))
            .values(**values, is_active=False, updated_at=func.clock_timestamp())
            .returning(ApiKey)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        return (await self.session.execute(statement)).scalars().all()
