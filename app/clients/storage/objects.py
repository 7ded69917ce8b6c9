"""What both stores share: the calls of the port on obstore, whose objects and errors stay in this package."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from app.clients.storage import CHUNK, ObjectMissing, StorageUnavailable, StoredObject

PART = 8 * 1024 * 1024
PARTS_AT_ONCE = 4

logger = structlog.get_logger(__name__)


class Objects:
    """The port's calls over a store of the library."""

    def __init__(self, inner: LocalStore | S3Store) -> None:
        self._inner = inner

    async def stat(self, key: str) -> int | None:
        """The size of an object in bytes; None when there is none."""
        try:
            with _translated(key):
                return (await obstore.head_async(self._inner, key))["size"]
        except ObjectMissing:
            return None

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end` (not included) in pieces of up to CHUNK."""
        with _translated(key):
            found = await obstore.get_async(self._inner, key, options={"range": (start, end)})
            # The library gathers at least so much, and passes on whatever has arrived by then.
            async for piece in found.stream(min_chunk_size=CHUNK):
                data = bytes(piece)
                for at in range(0, len(data), CHUNK):
                    yield data[at : at + CHUNK]

    async def copy(self, source: str, target: str) -> None:
        """Give the bytes of one object to another key as well."""
        with _translated(source):
            await obstore.copy_async(self._inner, source, target)

    async def delete(self, key: str) -> None:
        """Delete an object; that there is none is no error."""
        try:
            with _translated(key):
                await obstore.delete_async(self._inner, key)
        except ObjectMissing:
            return

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """The objects below a prefix."""
        with _translated(prefix):
            async for batch in obstore.list(self._inner, prefix or None, chunk_size=500):
                for item in batch:
                    yield StoredObject(item["path"], item["size"], item["last_modified"])

    async def _put(
        self, key: str, source: Path | AsyncIterator[bytes], attributes: dict[str, str] | None
    ) -> None:
        with _translated(key):
            await obstore.put_async(
                self._inner,
                key,
                source,
                attributes=attributes,
                chunk_size=PART,
                max_concurrency=PARTS_AT_ONCE,
            )


@contextmanager
def _translated(key: str) -> Iterator[None]:
    """The library's errors as those of the port."""
    try:
        yield
    except FileNotFoundError:
        raise ObjectMissing(key) from None
    except BaseError as error:
        # Its text may hold addresses and credentials' names, which only the log may know.
        logger.error("storage_failed", key=key, error=str(error)[:500])
        raise StorageUnavailable from error
