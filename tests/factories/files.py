"""Stored files for tests, with their objects."""

from collections.abc import AsyncIterator
from typing import Any

from app.clients.storage.opening import object_store
from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.files import StoredFile
from tests.support.personas import Persona


async def make_file(
    db: SystemSession, *, owner: Persona, bucket: str = "avatars", data: bytes = b"x" * 1000, **values: Any
) -> StoredFile:
    """A file in the store: of the person in personal buckets, of their organisation in the others."""
    is_personal = bucket in ("avatars", "covers", "salon-avatars")
    owner_id = owner.user_id if is_personal else owner.organization_id
    file = StoredFile(
        user_id=owner.user_id if is_personal else None,
        organization_id=None if is_personal else owner.organization_id,
        bucket=bucket,
        storage_key=f"{bucket}/{owner_id}/{uuid7()}.webp",
        sha256="0" * 64,
        size_bytes=len(data),
        media_type="image/webp",
        file_name="file.webp",
        is_public=is_personal,
        attached_at=clock.now(),
    )
    for name, value in values.items():
        setattr(file, name, value)

    async def pieces() -> AsyncIterator[bytes]:
        yield data

    await object_store().put(file.storage_key, pieces(), "image/webp")
    db.add(file)
    await db.commit()
    return file
