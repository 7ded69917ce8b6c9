"""The storage port: what a store of objects does, and how it fails."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from app.core.errors import Unavailable

CHUNK = 256 * 1024
"""Bytes of the pieces in which objects are read."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as the store lists it."""

    key: str
    size: int
    modified_at: datetime


class ObjectStore(Protocol):
    """A store of objects under keys that we make ourselves; never called inside a transaction.

    Every call raises StorageUnavailable when the store does not answer, after three tries.
    """

    async def put(self, key: str, source: Path | AsyncIterator[bytes], media_type: str) -> None:
        """Store a local file, or what an iterator yields; returns when it is durable.

        Whoever reads the key meanwhile sees the whole object or none. When the iterator raises, nothing is
        left, and the error goes on to the caller.
        """

    async def stat(self, key: str) -> int | None:
        """The size of an object in bytes; None when there is none."""

    def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end` (not included) in pieces of up to CHUNK. ObjectMissing."""

    async def copy(self, source: str, target: str) -> None:
        """Give the bytes of one object to another key as well. ObjectMissing.

        Part of the port by the storage page; no page of the first wave copies files.
        """

    async def delete(self, key: str) -> None:
        """Delete an object; that there is none is no error."""

    def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """The objects below a prefix, which ends where a `/` stands."""

    async def tidy(self, before: datetime) -> None:
        """Remove what writes that were interrupted before this moment have left behind."""

    def presign_get(self, key: str, seconds: int, *, file_name: str, media_type: str) -> str | None:
        """An address at which anybody may download the object; None where the store has no addresses.

        Part of the port by the storage page; files are served by the application itself until then.
        """


class StorageUnavailable(Unavailable):
    """503: the store does not answer."""

    def __init__(self) -> None:
        super().__init__(
            "storage_unavailable",
            "The store of files does not answer; try again.",
            headers={"Retry-After": "5"},
        )


class ObjectMissing(Exception):
    """There is no object under this key."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key
