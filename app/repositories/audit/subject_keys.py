"""The keys under which people's data stand in entries."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
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

    async def destroy(self, subject_id: UUID, now: datetime) -> None:
        """Forget a key for good; the row stays, also for a person who never had one."""
        statement = insert(SubjectKey).values(subject_id=subject_id, key_sealed=None, destroyed_at=now)
        await self.session.execute(
            statement.on_conflict_do_update(
                index_elements=[SubjectKey.subject_id],
                set_={"key_sealed": None, "destroyed_at": func.coalesce(SubjectKey.destroyed_at, now)},
            )
        )
