"""The local store: a directory that the processes of one machine share."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import structlog
from obstore.store import LocalStore

from app.clients.storage import StorageUnavailable
from app.clients.storage.objects import Objects

logger = structlog.get_logger(__name__)


class DirectoryStore(Objects):
    """Keeps each object as a file whose path is its key."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        super().__init__(LocalStore(root.absolute()))
        self._root = root.absolute()

    async def put(self, key: str, source: Path | AsyncIterator[bytes], media_type: str) -> None:  # noqa: ARG002 - a file has none
        """Store a local file, or what an iterator yields; returns when it is durable."""
        await self._put(key, source, None)
        try:
            await asyncio.to_thread(self._sync, self._root / key)
        except OSError as error:
            logger.error("storage_failed", key=key, error=repr(error))
            raise StorageUnavailable from error

    async def tidy(self, before: datetime) -> None:
        """Remove what writes that were interrupted before this moment have left behind."""
        await asyncio.to_thread(self._remove_drafts, before.timestamp())

    def presign_get(self, key: str, seconds: int, *, file_name: str, media_type: str) -> str | None:  # noqa: ARG002 - see below
        """None: a directory has no addresses."""
        return None

    def _remove_drafts(self, before: float) -> None:
        # The library writes to `<key>#<number>` first; no key of ours has that sign.
        for draft in self._root.rglob("*#*"):
            with contextlib.suppress(FileNotFoundError):
                if draft.stat().st_mtime < before:
                    draft.unlink()

    def _sync(self, path: Path) -> None:
        """Bring a file, and the directories that lead to it, to the disk."""
        for place in (path, *path.parents):
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if place == self._root:
                return
