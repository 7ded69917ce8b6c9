"""Owns the reading of stored files by their addresses."""

import re
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends

from app.clients.storage import ObjectMissing, StorageUnavailable
from app.clients.storage.opening import object_store
from app.core.database import DatabaseOf
from app.core.errors import NotFound
from app.core.file_answers import FileFacts
from app.models.files import StoredFile
from app.repositories.files import FileRepository

PUBLIC_NAME = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([a-z0-9]{1,8})")
PUBLIC_CACHE = "public, max-age=86400, immutable"

logger = structlog.get_logger(__name__)


class MediaService:
    """The files that everybody may read."""

    def __init__(self, database: DatabaseOf) -> None:
        self.database = database

    async def find(self, file_name: str) -> StoredFile:
        """The public file of this name, `<id>.<extension>`; 404 for every other."""
        match = PUBLIC_NAME.fullmatch(file_name)
        if match is None:
            raise NotFound()
        async with self.database.system(autocommit=True) as session:
            file = await FileRepository(session).public(UUID(match[1]))
        if file is None or not file.storage_key.endswith(f".{match[2]}"):
            raise NotFound()
        return file


async def bytes_of(file: StoredFile, start: int, end: int) -> AsyncIterator[bytes]:
    """A file's bytes from `start` up to `end`, not included. 503 when the store does not have them."""
    try:
        async for piece in object_store().read(file.storage_key, start, end):
            yield piece
    except ObjectMissing:
        logger.error("object_missing", key=file.storage_key)
        raise StorageUnavailable from None


def facts_of(file: StoredFile, *, cache_control: str) -> FileFacts:
    """What an answer says about a file."""
    return FileFacts(
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        media_type=file.media_type,
        file_name=file.file_name,
        cache_control=cache_control,
    )


Media = Annotated[MediaService, Depends()]
