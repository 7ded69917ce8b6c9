"""The routes of stored files."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from app.core.access import public
from app.core.errors import problems
from app.core.file_answers import file_answer, file_success
from app.core.limits import limited
from app.core.requests import StrictRoute
from app.services.files.serving import PUBLIC_CACHE, Media, bytes_of, facts_of

router = APIRouter(route_class=StrictRoute, prefix="/api", tags=["files"])

Visitor = Annotated[None, Depends(public("public buckets of the store"))]

FileName = Annotated[
    str,
    Path(
        max_length=80,
        description="The id of the file, a point and its extension.",
        examples=["0198c0de-0000-7000-8000-000000000001.webp"],
    ),
]

LIMITS = [Depends(limited("media", by="address"))]

ANSWERS = file_success("image/webp") | problems(
    {404: ["not_found"], 416: ["range_not_satisfiable"], 503: ["storage_unavailable"]}
)


@router.get("/public/media/{file_name}", dependencies=LIMITS, response_class=Response, responses=ANSWERS)
@router.head("/public/media/{file_name}", dependencies=LIMITS, response_class=Response, responses=ANSWERS)
async def get_media(_: Visitor, media: Media, file_name: FileName, request: Request) -> Response:
    """Read a public file.

    A portrait, for one. It never changes: a new one has a new address. `Range` asks for a part of it.
    """
    file = await media.find(file_name)
    facts = facts_of(file, cache_control=PUBLIC_CACHE)
    return await file_answer(request, facts, lambda start, end: bytes_of(file, start, end))
