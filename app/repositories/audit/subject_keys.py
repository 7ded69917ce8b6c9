"""The keys under which people's data stand in entries."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.core.database import ScopedSession
from app.models.audit import SubjectKey


class SubjectKeyRepository:
    """Sealed keys by person."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def live(self, subject_ids: Collection[UUID]) -> Mapping[UUID, bytes]:
        """The sealed keys of those whose key is there."""
        if not subject_ids:
            return {}
        statement = select(SubjectKey.subject_id, SubjectKey.key_sealed).where(
            SubjectKey.subject_id.in_(subject_ids), SubjectKey.key_sealed.is_not(None)
        )
        found = await self.session.execute(statement)
        return {subject_id: key for subject_id, key in found if key is not None}

    async def make(self, subject_id: UUID, key_sealed: bytes) -> None:
        """Keep a key, unless there is or was one."""
        statement = insert(SubjectKey).values(subject_id=subject_id, key_sealed=key_sealed)
        await self.session.execute(statement.on_conflict_do_nothing())

    async def without(self, prefix: bytes, *, after: UUID | None, limit: int) -> Sequence[tuple[UUID, bytes]]:
        """Keys behind `after` whose sealed form does not begin like this, in the order of their ids."""
        is_other = func.substring(SubjectKey.key_sealed, 1, len(prefix)) != prefix
        statement = select(SubjectKey.subject_id, SubjectKey.key_sealed).where(is_other)
        if after is not None:
            statement = statement.where(SubjectKey.subject_id > after)
        statement = statement.order_by(SubjectKey.subject_id).limit(limit)
        found = await self.session.execute(statement)
        return [(subject_id, key) for subject_id, key in found if key is not None]

    async def replace(self, subject_id: UUID, old: bytes, new: bytes) -> None:
        """Keep the same key in its new form, unless it was destroyed meanwhile."""
        await self.session.execute(
            update(SubjectKey)
            .where(SubjectKey.subject_id == subject_id, SubjectKey.key_sealed == old)
            .values(key_sealed=new)
            .execution_options(synchronize_session=False)
        )

    async def destroy(self, subject_id: UUID, now: datetime) -> None:
        """Forget a key for good; the row stays, also for a person who never had one."""
        statement = insert(SubjectKey).values(subject_id=subject_id, key_sealed=None, destroyed_at=now)
        await self.session.execute(
            statement.on_conflict_do_update(
                index_elements=[SubjectKey.subject_id],
                set_={"key_sealed": None, "destroyed_at": func.coalesce(SubjectKey.destroyed_at, now)},
            )
        )
