"""Owns how files come into the store and leave it: lease, put, row.

A lease protects the key, the object is put, and the row takes the lease over in the transaction of its cause.
Whatever stops in between leaves a lease that falls due, and then the collector deletes the object.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.clients.storage import ObjectStore
from app.clients.storage.opening import object_store
from app.core import clock
from app.core.database import DatabaseOf, ScopedSession
from app.core.errors import Unavailable
from app.models.files import StoredFile
from app.repositories.files import DeletionRepository, FileRepository, KeyBusyError
from app.services.files.buckets import Bucket, FileOwner

LEASE_SECONDS = 24 * 3600
PATIENCE = 3.0
PAUSE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An object that is in the store and leased, and has no row yet."""

    bucket: Bucket
    owner: FileOwner
    key: str
    sha256: str
    size_bytes: int
    media_type: str
    width: int | None = None
    height: int | None = None


class FileService:
    """Stores and releases files; `serving.bytes_of` reads them.

    Only `record` and `release` are called inside a transaction.
    """

    def __init__(self, database: DatabaseOf) -> None:
        self.database = database

    @property
    def store(self) -> ObjectStore:
        """The store of objects."""
        return object_store()

    async def place(
        self,
        source: Path,
        *,
        bucket: Bucket,
        owner: FileOwner,
        extension: str,
        media_type: str,
        width: int | None = None,
        height: int | None = None,
    ) -> Placed:
        """Put a local file into the store; its key is made of its content.

        503 `storage_unavailable`, `storage_busy`.
        """
        size, digest = await asyncio.to_thread(_measure, source)
        placed = Placed(
            bucket=bucket,
            owner=owner,
            key=f"{bucket.name}/{owner.key_part}/{digest[:2]}/{digest}.{extension}",
            sha256=digest,
            size_bytes=size,
            media_type=media_type,
            width=width,
            height=height,
        )
        await self._lease(placed.key)
        await self.store.put(placed.key, source, media_type)
        return placed

    async def record(
        self, session: ScopedSession, placed: Placed, *, file_name: str, uploaded_by: UUID | None = None
    ) -> StoredFile:
        """Write the row of a placed object, in the caller's transaction: committed, it is a file.

        503 `storage_busy` when the lease fell due meanwhile.
        """
        row = StoredFile(
            organization_id=placed.owner.organization_id,
            user_id=placed.owner.user_id,
            bucket=placed.bucket.name,
            storage_key=placed.key,
            sha256=placed.sha256,
            size_bytes=placed.size_bytes,
            media_type=placed.media_type,
            file_name=file_name,
            width=placed.width,
            height=placed.height,
            is_public=placed.bucket.is_public,
            uploaded_by=uploaded_by,
            attached_at=clock.now(),
        )
        try:
            return await FileRepository(session).add(row)
        except KeyBusyError:
            raise storage_busy() from None

    async def release(self, session: ScopedSession, file_id: UUID) -> bool:
        """Delete a file's row in the caller's transaction; its object follows a day later. False: no such."""
        files = FileRepository(session)
        row = await files.get(file_id)
        if row is None:
            return False
        await files.remove(row)
        return True

    async def _lease(self, key: str) -> None:
        """Protect a key in a transaction of its own; waits while its last object is being deleted."""
        for _ in range(int(PATIENCE / PAUSE)):
            async with self.database.transaction() as session:
                if await DeletionRepository(session).lease(key, LEASE_SECONDS):
                    return
            await asyncio.sleep(PAUSE)
        raise storage_busy()


def storage_busy() -> Unavailable:
    """503: an object is being deleted whose key is needed."""
    return Unavailable(
        "storage_busy", "The same file is being deleted at this moment; repeat.", headers={"Retry-After": "2"}
    )


def _measure(source: Path) -> tuple[int, str]:
    with source.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256")
        return opened.tell(), digest.hexdigest()


Files = Annotated[FileService, Depends()]
