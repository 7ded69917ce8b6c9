"""`Range` of a request: which bytes of a file are asked for (RFC 9110, 14)."""

import re
from typing import ClassVar

from app.core.errors import AppError

ONE_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.ASCII | re.IGNORECASE)


class RangeNotSatisfiable(AppError):
    """416: the file has none of the bytes that were asked for."""

    status: ClassVar[int] = 416

    def __init__(self, size: int) -> None:
        super().__init__(
            "range_not_satisfiable",
            "The file ends before the range that you asked for; see `Content-Range`.",
            headers={"Content-Range": f"bytes */{size}"},
        )


def range_of(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last, or None for the whole file. RangeNotSatisfiable.

    What is no single range of bytes is passed over, as the standard allows: several ones, or another unit.
    """
    match = ONE_RANGE.fullmatch(header or "")
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, end = max(size - int(match[2]), 0), size
    else:
        start = int(match[1])
        end = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= end:
        raise RangeNotSatisfiable(size)
    return start, end
