"""Owns the questions to stored files, to the objects that are to be deleted, and to usage."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from sqlalchemy import and_, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from app.core import clock
from app.core.errors import constraint_name
from app.models.files import COUNTED_BUCKETS, StorageDeletion, StorageUsage, StoredFile
from app.repositories.base import Repository


class KeyBusyError(Exception):
    """The object under a row's key is being deleted at this moment."""


class FileRepository(Repository[StoredFile]):
    """Rows of files; through an OwnerSession only those that its principal may see."""

    model: ClassVar[type[StoredFile]] = StoredFile

    async def add(self, row: StoredFile) -> StoredFile:
        """Insert a row, which takes over the lease of its key. KeyBusyError."""
        try:
            return await super().add(row)
        except DBAPIError as error:
            if constraint_name(error) != "stored_files_key_busy":
                raise
            raise KeyBusyError from error

    async def public(self, file_id: UUID) -> StoredFile | None:
        """A file that everybody may read."""
        return await self.one(StoredFile.id == file_id, StoredFile.is_public.is_(True))

    async def keys_in_use(self, keys: Collection[str]) -> set[str]:
        """Those of the keys that a row has."""
        statement = select(StoredFile.storage_key).where(StoredFile.storage_key.in_(keys))
        return set((await self.session.execute(statement)).scalars())

    async def after(self, file_id: UUID | None, limit: int) -> Sequence[tuple[UUID, str, int]]:
        """Id, key and size of files in the order of their ids, those behind `file_id`."""
        statement = select(StoredFile.id, StoredFile.storage_key, StoredFile.size_bytes)
        if file_id is not None:
            statement = statement.where(StoredFile.id > file_id)
        rows = (await self.session.execute(statement.order_by(StoredFile.id).limit(limit))).all()
        return [(row[0], row[1], row[2]) for row in rows]


class DeletionRepository(Repository[StorageDeletion]):
    """Objects that are to be deleted, and leases of those being stored."""

    model: ClassVar[type[StorageDeletion]] = StorageDeletion

    async def lease(self, key: str, seconds: float) -> bool:
        """Protect a key that is about to be written; False while its object is being deleted."""
        due_at = func.now() + clock.offset() + timedelta(seconds=seconds)
        statement = (
            insert(StorageDeletion)
            .values(storage_key=key, due_at=due_at)
            .on_conflict_do_update(
                index_elements=[StorageDeletion.storage_key],
                set_={"due_at": due_at},
                where=StorageDeletion.claimed_at.is_(None),
            )
            .returning(StorageDeletion.storage_key)
        )
        return (await self.session.scalar(statement)) is not None

    async def add_strays(self, keys: Collection[str], due_at: datetime) -> None:
        """Let objects that nobody knows be deleted, unless somebody has leased them meanwhile."""
        rows = [{"storage_key": key, "due_at": due_at} for key in keys]
        await self.session.execute(insert(StorageDeletion).values(rows).on_conflict_do_nothing())

    async def listed(self, keys: Collection[str]) -> set[str]:
        """Those of the keys that are to be deleted or leased."""
        statement = select(StorageDeletion.storage_key).where(StorageDeletion.storage_key.in_(keys))
        return set((await self.session.execute(statement)).scalars())

    async def drop_used(self, now: datetime) -> int:
        """Forget due keys that a row has again; how many."""
        has_row = exists().where(StoredFile.storage_key == StorageDeletion.storage_key)
        statement = (
            delete(StorageDeletion)
            .where(StorageDeletion.due_at <= now, StorageDeletion.claimed_at.is_(None), has_row)
            .returning(StorageDeletion.storage_key)
            .execution_options(synchronize_session=False)
        )
        return len((await self.session.execute(statement)).all())

    async def claim(self, now: datetime, *, abandoned_before: datetime, limit: int) -> Sequence[str]:
        """Take due keys that no row has, and those whose collector has not come back; answers them."""
        has_row = exists().where(StoredFile.storage_key == StorageDeletion.storage_key)
        due = (
            select(StorageDeletion.storage_key)
            .where(
                StorageDeletion.due_at <= now,
                or_(
                    and_(StorageDeletion.claimed_at.is_(None), ~has_row),
                    StorageDeletion.claimed_at < abandoned_before,
                ),
            )
            .order_by(StorageDeletion.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        statement = (
            update(StorageDeletion)
            .where(StorageDeletion.storage_key.in_(due))
            .values(claimed_at=now, attempt_count=StorageDeletion.attempt_count + 1)
            .returning(StorageDeletion.storage_key)
            .execution_options(synchronize_session=False)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def finish(self, key: str) -> None:
        """Forget a claimed key whose object is gone."""
        await self.session.execute(
            delete(StorageDeletion)
            .where(StorageDeletion.storage_key == key, StorageDeletion.claimed_at.is_not(None))
            .execution_options(synchronize_session=False)
        )

    async def note_failure(self, key: str, error: str) -> None:
        """Write down why an object could not be deleted; it stays claimed, and is taken up again."""
        await self.session.execute(
            update(StorageDeletion)
            .where(StorageDeletion.storage_key == key)
            .values(last_error=error[:500])
            .execution_options(synchronize_session=False)
        )


class UsageRepository(Repository[StorageUsage]):
    """How much organisations use."""

    model: ClassVar[type[StorageUsage]] = StorageUsage

    async def differing(self) -> Sequence[UUID]:
        """Organisations whose usage is not what their rows add up to."""
        sums = (
            select(
                StoredFile.organization_id,
                func.sum(StoredFile.size_bytes).label("bytes_used"),
                func.count(StoredFile.id).label("file_count"),
            )
            .where(StoredFile.bucket.in_(COUNTED_BUCKETS), StoredFile.organization_id.is_not(None))
            .group_by(StoredFile.organization_id)
            .subquery()
        )
        known = func.coalesce(StorageUsage.bytes_used, 0), func.coalesce(StorageUsage.file_count, 0)
        right = func.coalesce(sums.c.bytes_used, 0), func.coalesce(sums.c.file_count, 0)
        statement = (
            select(func.coalesce(sums.c.organization_id, StorageUsage.organization_id))
            .select_from(StorageUsage)
            .join(sums, sums.c.organization_id == StorageUsage.organization_id, full=True)
            .where(or_(known[0] != right[0], known[1] != right[1]))
        )
        found: Sequence[UUID] = (await self.session.execute(statement)).scalars().all()
        return found

    async def recount(self, organization_id: UUID) -> None:
        """Set an organisation's usage to what its rows add up to, while nobody else changes it."""
        await self.session.execute(
            insert(StorageUsage)
            .values(organization_id=organization_id)
            .on_conflict_do_update(
                index_elements=[StorageUsage.organization_id], set_={"updated_at": func.now()}
            )
        )
        # The row is locked now, so files that are added or removed meanwhile wait with their triggers.
        mine = and_(StoredFile.organization_id == organization_id, StoredFile.bucket.in_(COUNTED_BUCKETS))
        used = select(func.coalesce(func.sum(StoredFile.size_bytes), 0)).where(mine).scalar_subquery()
        count = select(func.count(StoredFile.id)).where(mine).scalar_subquery()
        await self.session.execute(
            update(StorageUsage)
            .where(StorageUsage.organization_id == organization_id)
            .values(bytes_used=used, file_count=count)
            .execution_options(synchronize_session=False)
        )
