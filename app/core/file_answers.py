"""Answers that are files: entity tags, ranges, HEAD, and the headers that keep them from being a page."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from app.core.byte_ranges import range_of
from app.core.content_disposition import attachment

NEVER_A_PAGE = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
"""Pictures show all the same; what somebody opens in a window of its own runs nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What an answer says about a file. `cache_control` is the whole value of that header."""

    sha256: str
    size_bytes: int
    media_type: str
    file_name: str
    cache_control: str


async def file_answer(
    request: Request, facts: FileFacts, read: Callable[[int, int], AsyncIterator[bytes]]
) -> Response:
    """The whole file, one range of it (206), nothing new (304), or for HEAD the headers alone.

    `read(start, end)` yields the bytes from `start` up to `end`, not included. What its first piece raises is
    still answered as a problem. RangeNotSatisfiable (416).
    """
    tag = f'"{facts.sha256}"'
    headers = {"ETag": tag, "Cache-Control": facts.cache_control, **NEVER_A_PAGE}
    if _names(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    size = facts.size_bytes
    headers |= {
        "Accept-Ranges": "bytes",
        "Content-Disposition": attachment(facts.file_name),
        "Content-Length": str(size),
        # A plain key: Starlette would add a charset to the type of a text.
        "Content-Type": facts.media_type,
    }
    if request.method == "HEAD":
        return Response(headers=headers)
    asked = range_of(request.headers.get("range"), size) if _may_be_part(request, tag) else None
    start, end = asked or (0, size)
    if asked is not None:
        headers |= {"Content-Range": f"bytes {start}-{end - 1}/{size}", "Content-Length": str(end - start)}
    pieces = read(start, end)
    first = await anext(pieces)

    async def all_pieces() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return StreamingResponse(all_pieces(), 200 if asked is None else 206, headers)


def file_success(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that answers files of these types."""
    content = {name: {"schema": {"type": "string", "format": "binary"}} for name in media_types}
    tag = {"ETag": {"description": "The hash of the file.", "schema": {"type": "string"}}}
    part = {"Content-Range": {"description": "Which bytes of how many.", "schema": {"type": "string"}}}
    return {
        200: {"description": "The file.", "headers": dict(tag), "content": dict(content)},
        206: {"description": "The part that `Range` asks for.", "headers": tag | part, "content": content},
        304: {"description": "You have it already: `If-None-Match` names it."},
    }


def _names(header: str | None, tag: str) -> bool:
    """Whether a list of entity tags names this one; whether they are weak does not matter for a read."""
    tags = [part.strip().removeprefix("W/") for part in (header or "").split(",")]
    return tag in tags or tags == ["*"]


def _may_be_part(request: Request, tag: str) -> bool:
    """Whether a part is good: `If-Range` names the file that the caller has the other parts of."""
    condition = request.headers.get("if-range")
    return condition is None or condition.strip() == tag
