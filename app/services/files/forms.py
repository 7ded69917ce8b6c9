"""Owns the reading of an uploaded form: one file, piece by piece, and nothing else."""

import hashlib
from typing import TYPE_CHECKING, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.core.errors import AppError, BadRequest, BodyTooLarge, FieldError, Invalid
from app.services.files.recognising import HEAD_BYTES

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks  # It exists for type checkers only.

FILE_FIELD = "file"

FORM_BYTES = 64 * 1024
"""What a form may have around its file."""

WRITE_AT_ONCE = 256 * 1024


def malformed() -> BadRequest:
    """400: what was sent is no form, or not all of one."""
    return BadRequest("multipart_malformed", "The body is not a whole form; send it again.")


def too_large(limit: int) -> BodyTooLarge:
    """413: the file is larger than its bucket takes."""
    return BodyTooLarge("file_too_large", f"The file is larger than {limit} bytes.", limit_bytes=limit)


def refused(code: str, detail: str, name: str = FILE_FIELD) -> Invalid:
    """422: there is no file in the form, or more than one, or an empty one."""
    return Invalid(code, detail, errors=[FieldError(f"/{name}", code, detail)])


class UploadForm:
    """Takes the pieces of a `multipart/form-data` body, and writes its file to `target`.

    `feed` parses at once and keeps what it finds; `write`, which may wait for the disk, is for a thread.
    """

    def __init__(self, boundary: bytes, target: BinaryIO, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.head = b""
        self.digest = hashlib.sha256()
        self._target = target
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._total = 0
        self._files = 0
        self._is_complete = False
        self._refusal: AppError | None = None
        self._header = b""
        self._value = b""
        self._disposition = b""
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._name_header,
            "on_header_value": self._fill_header,
            "on_header_end": self._end_header,
            "on_headers_finished": self._judge_part,
            "on_part_data": self._take,
            "on_end": self._complete,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError:
            raise malformed() from None

    @property
    def is_due(self) -> bool:
        """Whether enough is waiting to be written."""
        return self._waiting_bytes >= WRITE_AT_ONCE

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body. 400, 413, 422 as soon as it is clear."""
        self._total += len(piece)
        try:
            self._parser.write(piece)
        except FormParserError:
            raise malformed() from None
        # Raised here, because the parser's callbacks run in the middle of a piece.
        if self._refusal is not None:
            raise self._refusal
        if self._total - self.size > FORM_BYTES:
            raise malformed()

    def write(self) -> None:
        """Write and hash what is waiting."""
        piece = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        self.digest.update(piece)
        self._target.write(piece)

    def finish(self) -> None:
        """Judge the whole. 400 when the body ended before the form; 422 without a file, or an empty one."""
        self._parser.finalize()
        if not self._is_complete:
            raise malformed()
        if self._files == 0:
            raise refused("file_missing", "Send the file as the part `file`.")
        if self.size == 0:
            raise refused("file_empty", "The file is empty.")

    def _begin(self) -> None:
        self._disposition = b""

    def _name_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _fill_header(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _judge_part(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            self._refuse(malformed())
        elif name != FILE_FIELD.encode():
            shown = name.decode("utf-8", "replace")[:100].replace("~", "~0").replace("/", "~1")
            detail = "The form takes the part `file` and nothing else."
            fault = FieldError(f"/{shown}", "extra_forbidden", detail)
            self._refuse(Invalid("validation_error", detail, errors=[fault]))
        else:
            self._files += 1
            if self._files > 1:
                self._refuse(refused("file_count", "Send one file."))

    def _take(self, data: bytes, start: int, end: int) -> None:
        self.size += end - start
        if self.size > self.limit:
            self._refuse(too_large(self.limit))
        if self._refusal is not None:
            return
        piece = data[start:end]
        if len(self.head) < HEAD_BYTES:
            self.head = (self.head + piece)[:HEAD_BYTES]
        self._waiting.append(piece)
        self._waiting_bytes += len(piece)

    def _complete(self) -> None:
        self._is_complete = True

    def _refuse(self, refusal: AppError) -> None:
        self._refusal = self._refusal or refusal
