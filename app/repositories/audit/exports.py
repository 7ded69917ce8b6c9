"""Files of entries, and the entries that go into them."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from sqlalchemy import Row, and_, func, or_, select

from app.core.database import ScopedSession
from app.models.audit import AuditExport, AuditLog
from app.models.files import StoredFile
from app.repositories.audit.chain import ENTRY
from app.repositories.audit.reading import EntryFilter
from app.repositories.base import Repository

UNFINISHED = ("queued", "running")


class Extent(NamedTuple):
    """How many entries a file has, and the first and the last place among them."""

    rows: int
    first_seq: int | None
    last_seq: int | None


class ExportRepository(Repository[AuditExport]):
    """Exports; a job names the organisation."""

    model: ClassVar[type[AuditExport]] = AuditExport

    async def files(self, file_ids: Collection[UUID]) -> Mapping[UUID, StoredFile]:
        """The files of exports, by their ids."""
        found = await self.session.scalars(select(StoredFile).where(StoredFile.id.in_(file_ids)))
        return {file.id: file for file in found}

    async def is_running(self) -> bool:
        """Whether the caller's organisation has an export that is not finished yet."""
        unfinished = select(AuditExport.id).where(AuditExport.status.in_(UNFINISHED)).limit(1)
        return await self.session.scalar(unfinished) is not None

    async def working(self, organization_id: UUID, export_id: UUID) -> AuditExport | None:
        """An export that is not finished yet, locked; None for every other."""
        return await self.one(
            AuditExport.organization_id == organization_id,
            AuditExport.id == export_id,
            AuditExport.status.in_(UNFINISHED),
            lock=True,
        )

    async def over(self, now: datetime, stuck_before: datetime, limit: int) -> Sequence[AuditExport]:
        """Exports whose file is to go, and those that nobody works on any more; locked."""
        statement = (
            select(AuditExport)
            .where(
                or_(
                    and_(AuditExport.status == "ready", AuditExport.expires_at <= now),
                    and_(AuditExport.status.in_(UNFINISHED), AuditExport.updated_at < stuck_before),
                )
            )
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return (await self.session.scalars(statement)).all()


class ExportedEntries:
    """The entries of one file: those of one chain that fit a filter, up to a place."""

    def __init__(
        self, session: ScopedSession, organization_id: UUID, wanted: EntryFilter, up_to: int
    ) -> None:
        self.session = session
        self._conditions = (
            AuditLog.organization_id == organization_id,
            AuditLog.seq <= up_to,
            *wanted.conditions(),
        )

    async def extent(self) -> Extent:
        """How many there are, and where."""
        statement = select(func.count(), func.min(AuditLog.seq), func.max(AuditLog.seq))
        row = (await self.session.execute(statement.select_from(AuditLog).where(*self._conditions))).one()
        return Extent(*row)

    async def prev_hash(self, seq: int) -> bytes | None:
        """What the entry at a place links to."""
        statement = select(AuditLog.prev_hash).where(*self._conditions, AuditLog.seq == seq)
        found: bytes | None = await self.session.scalar(statement)
        return found

    async def parts(self, size: int) -> AsyncIterator[Sequence[Row[Any]]]:
        """All of them in the chain's order, by a cursor of the server, `size` at a time."""
        statement = select(*ENTRY).where(*self._conditions).order_by(AuditLog.seq)
        result = await self.session.stream(statement.execution_options(yield_per=size))
        async for part in result.partitions():
            yield part
