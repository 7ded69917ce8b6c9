"""Answers that are CSV files of any length: begun when their first part is there, sent part by part."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

from app.core import clock


class CsvAnswer(StreamingResponse):
    """A CSV file (RFC 4180): UTF-8 without a byte order mark, since programs read it too."""

    media_type = "text/csv"


async def csv_answer(parts: AsyncIterator[bytes], name: str) -> CsvAnswer:
    """The file `<name>-<today>.csv` of these parts, of which there is at least one.

    What the first part raises is still answered as a problem; a later error breaks the connection off, so
    that nobody takes half a file for a whole one.
    """
    first = await anext(parts)

    async def all_parts() -> AsyncIterator[bytes]:
        yield first
        async for part in parts:
            yield part

    disposition = f'attachment; filename="{name}-{clock.now():%Y-%m-%d}.csv"'
    return CsvAnswer(all_parts(), headers={"Content-Disposition": disposition})


def csv_success(example: str) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that answers a CSV file, which begins like `example`."""
    return {
        200: {
            "description": "The file. Its first line names the columns.",
            "headers": {
                "Content-Disposition": {
                    "description": "`attachment`, with the name of the file.",
                    "schema": {"type": "string"},
                }
            },
            "content": {"text/csv": {"schema": {"type": "string"}, "example": example}},
        }
    }
