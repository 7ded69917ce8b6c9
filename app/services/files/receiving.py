"""Owns the receiving of files: streamed to the disk within limits, counted, hashed and recognised."""

import asyncio
import errno
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from python_multipart.multipart import parse_options_header

from app.core.config import get_settings
from app.core.errors import AppError, BadRequest, Unavailable, UnsupportedMediaType
from app.core.http import body_up_to, take_in
from app.core.idempotency import claim_of
from app.core.ids import uuid7
from app.services.files.buckets import Bucket
from app.services.files.forms import FORM_BYTES, UploadForm, malformed, too_large
from app.services.files.recognising import recognise

SECONDS_IN_ALL = 15 * 60

MAX_FORGOTTEN = 32 * 1024 * 1024
FORGET_SECONDS = 30.0
"""Of a refused upload that says its length: a photograph straight from a camera gets its 413."""

MAX_FORGOTTEN_UNDECLARED = 4 * 1024 * 1024
FORGET_SECONDS_UNDECLARED = 5.0
"""Of one that does not."""

KEPT_SECONDS = 3600
SWEEP_SECONDS = 600

MEBIBYTE = 1024 * 1024

_swept: dict[Path, float] = {}


@dataclass(frozen=True, slots=True)
class Received:
    """A file on the disk of this machine, in a folder of its own that is removed with the request."""

    folder: Path
    path: Path
    size_bytes: int
    sha256: str
    media_type: str


def uploads_folder() -> Path:
    """Where files are received."""
    return get_settings().data_dir.absolute() / "tmp" / "uploads"


def received(bucket: Bucket) -> Callable[[Request], AsyncIterator[Received]]:
    """A dependency that receives the form's file for a bucket, and removes it when the handler has ended.

    It stands behind the marker, so that nothing is read for strangers, and before the service, whose session
    asks whether this upload was answered already.
    """

    async def receive_file(request: Request) -> AsyncIterator[Received]:
        folder = uploads_folder() / f"{uuid7()}.part"
        try:
            yield await _receive(request, bucket, folder)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    return receive_file


async def _receive(request: Request, bucket: Bucket, folder: Path) -> Received:
    boundary = _boundary(request)
    # The form says more exactly what is too much; it sees whole pieces.
    await body_up_to(bucket.limit + MEBIBYTE)(request)
    body = _Body(request)
    if body.declared > bucket.limit + FORM_BYTES:
        raise await body.refused(too_large(bucket.limit))
    await asyncio.to_thread(_make_room, folder, bucket.limit)
    path = folder / "source"
    target = await asyncio.to_thread(path.open, "xb")
    try:
        form = UploadForm(boundary, target, bucket.limit)
        await _read(body, form)
    finally:
        await asyncio.to_thread(target.close)
    form.finish()
    media_type = recognise(form.head)
    if media_type not in bucket.accepted:
        raise UnsupportedMediaType(
            "file_type_refused",
            "A file of this kind is not taken here; see `accepted`.",
            accepted=list(bucket.accepted),
        )
    digest = form.digest.digest()
    claim = claim_of(request.scope)
    if claim is not None:
        claim.count_by(digest)
    return Received(folder, path, form.size, digest.hex(), media_type)


class _Body:
    """The body of a request as it arrives, and what is left of it when it is refused."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._has_more = True
        declared = request.headers.get("content-length", "")
        self.declared = int(declared[:18]) if declared.isdecimal() else 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """One piece after the other; TimeoutError when none comes for UPLOAD_STALL_S."""
        patience = get_settings().upload_stall_s
        while self._has_more:
            async with asyncio.timeout(patience):
                message = await self._request.receive()
            self._has_more = message.get("more_body", False)
            if message["type"] == "http.disconnect":
                raise malformed()
            yield message.get("body", b"")

    async def refused(self, refusal: AppError, *, is_read_on: bool = True) -> AppError:
        """The refusal; when something is left, the connection cannot serve another request."""
        if not self._has_more:
            return refusal
        if is_read_on:
            # What is forgotten is bounded by itself; the refusal is told already.
            await body_up_to(sys.maxsize)(self._request)
            await self._take_in()
        refusal.headers["Connection"] = "close"
        return refusal

    async def _take_in(self) -> None:
        """Read on before the refusal, unless there is too much to come."""
        most, seconds = MAX_FORGOTTEN, FORGET_SECONDS
        if not self.declared:
            most, seconds = MAX_FORGOTTEN_UNDECLARED, FORGET_SECONDS_UNDECLARED
        if self.declared <= most:
            await take_in(self._request.scope, self._request.receive, most=most, seconds=seconds)


async def _read(body: _Body, form: UploadForm) -> None:
    """Read the body to its end."""
    try:
        async with asyncio.timeout(SECONDS_IN_ALL):
            async for piece in body.pieces():
                form.feed(piece)
                if form.is_due:
                    await _write(form)
        await _write(form)
    except TimeoutError:
        raise await body.refused(_stalled(), is_read_on=False) from None
    except AppError as refusal:
        raise await body.refused(refusal) from None


async def _write(form: UploadForm) -> None:
    try:
        await asyncio.to_thread(form.write)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise _full() from error


def _boundary(request: Request) -> bytes:
    """What separates the parts of the form. 415 for anything else than a form; 400 without a boundary."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if kind != b"multipart/form-data" or encoding not in ("", "identity"):
        detail = "Send a form as `multipart/form-data`, without `Content-Encoding`."
        raise UnsupportedMediaType("unsupported_media_type", detail)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise malformed()
    return boundary


def _make_room(folder: Path, limit: int) -> None:
    """Make the folder of an upload. 503 `storage_full` when the disk would run full with it."""
    parent = folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    if shutil.disk_usage(parent).free < limit + get_settings().storage_min_free_mb * MEBIBYTE:
        raise _full()
    folder.mkdir()


def sweep_uploads() -> None:
    """Remove what earlier processes have left; called when one starts."""
    parent = uploads_folder()
    if parent.exists():
        sweep(parent)


def sweep(parent: Path) -> None:
    """Remove what killed processes have left here, at most every ten minutes; a request takes minutes."""
    now = time.monotonic()
    if now - _swept.get(parent, -SWEEP_SECONDS) < SWEEP_SECONDS:
        return
    _swept[parent] = now
    youngest = _file_time(parent) - KEPT_SECONDS
    for folder in parent.glob("*.part"):
        try:
            is_old = folder.stat().st_mtime < youngest
        except FileNotFoundError:
            continue
        if is_old:
            shutil.rmtree(folder, ignore_errors=True)


def _file_time(parent: Path) -> float:
    """The time by the clock of the file system, which may be another machine's."""
    probe = parent / f"{uuid7()}.time"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _stalled() -> BadRequest:
    return BadRequest("upload_stalled", "Nothing came for too long; send the file again.")


def _full() -> Unavailable:
    return Unavailable(
        "storage_full", "There is no room for files at the moment; try later.", headers={"Retry-After": "60"}
    )
