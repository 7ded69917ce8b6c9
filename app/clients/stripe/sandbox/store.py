"""Where the sandbox keeps its one document: a file that processes share, or memory for a test."""

import asyncio
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic_core import from_json, to_json

from app.core.embedded.locks import lock_exclusive

Document = dict[str, Any]
Result = TypeVar("Result")
Work = Callable[[Document], Result]


class Store(Protocol):
    """Keeps one document and lets one change at a time see it."""

    async def change(self, work: Work[Result]) -> Result:
        """Run `work` on the document, keep what it made of it, and return its result.

        An exception of `work` leaves the document as it was.
        """


class MemoryStore:
    """The document of one test; as with the file, nobody holds a part of it after a change."""

    def __init__(self) -> None:
        self._document: Document = {}
        self._content = b"{}"

    async def change(self, work: Work[Result]) -> Result:
        """Run `work`; nothing else runs meanwhile, since it never waits."""
        try:
            result = work(self._document)
            self._content = to_json(self._document)
        except BaseException:
            self._document = from_json(self._content)
            raise
        return deepcopy(result) if isinstance(result, dict | list | tuple) else result


class FileStore:
    """The document in a file that is replaced by rename, under a lock that all processes share."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def change(self, work: Work[Result]) -> Result:
        """Run `work` in a thread, since it may wait for another process."""
        return await asyncio.to_thread(self._change, work)

    def _change(self, work: Work[Result]) -> Result:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # The lock is a file of its own: the document's is another one after each rename.
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            lock_exclusive(lock)
            before = self._path.read_bytes() if self._path.exists() else b"{}"
            document = from_json(before)
            result = work(document)
            after = to_json(document)
            if after != before:
                draft = self._path.with_suffix(".new")
                draft.touch(mode=0o600)
                draft.write_bytes(after)
                draft.replace(self._path)
            return result
        finally:
            os.close(lock)
