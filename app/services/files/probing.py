"""Owns the look at whether the store works: one small object is written, read and deleted."""

from collections.abc import AsyncIterator

from app.clients.storage import ObjectMissing, ObjectStore, StorageUnavailable
from app.core.ids import uuid7

PROBE = b"luneo"


async def probe(store: ObjectStore) -> None:
    """Raises StorageUnavailable when the store does not give back what it was given.

    A probe that is not deleted is found by `files.verify`, as every object without a row.
    """
    key = f"probes/{uuid7()}.txt"
    await store.put(key, _once(), "text/plain")
    try:
        read = b"".join([piece async for piece in store.read(key, 0, len(PROBE))])
    except ObjectMissing:
        raise StorageUnavailable from None
    await store.delete(key)
    if read != PROBE:
        raise StorageUnavailable


async def _once() -> AsyncIterator[bytes]:
    yield PROBE
