"""The routes of the portrait."""

from typing import Annotated

from fastapi import APIRouter, Depends

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.limits import limited
from app.core.requests import StrictRoute
from app.schemas.settings.avatar import AvatarRead
from app.services.files.buckets import AVATARS
from app.services.files.receiving import Received, received
from app.services.settings.avatar import Avatars

router = APIRouter(route_class=StrictRoute, prefix="/api/settings", tags=["settings"])

SignedIn = Annotated[Principal, Depends(allow())]
Upload = Annotated[Received, Depends(received(AVATARS), scope="function")]

LIMITS = [Depends(limited("avatar", by="principal"))]

UPLOAD_PROBLEMS = problems(
    {
        400: ["multipart_malformed", "upload_stalled"],
        413: ["file_too_large"],
        415: ["file_type_refused"],
        422: ["file_missing", "file_count", "file_empty", "image_damaged", "image_too_large"],
        503: ["storage_unavailable", "storage_busy", "storage_full", "processing_busy"],
    }
)

FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "A PNG, JPEG or WebP of up to 2 MiB and 25 million pixels.",
                        }
                    },
                }
            }
        },
    }
}


@router.post("/avatar", dependencies=LIMITS, responses=UPLOAD_PROBLEMS, openapi_extra=FORM)
@router.put("/avatar", dependencies=LIMITS, responses=UPLOAD_PROBLEMS, openapi_extra=FORM)
async def update_avatar(_: SignedIn, upload: Upload, avatars: Avatars) -> AvatarRead:
    """Set your portrait.

    The middle of the picture is kept as a WebP of 512 by 512 pixels, without the metadata of what you sent
    and without its name. The address is a new one each time, and everybody may read it.

    `file_too_large` says how large it may be in `limit_bytes`, `file_type_refused` what is taken in
    `accepted`.
    """
    return await avatars.replace(upload)


@router.delete("/avatar", status_code=204, dependencies=LIMITS)
async def delete_avatar(_: SignedIn, avatars: Avatars) -> None:
    """Remove your portrait.

    Also when you have none.
    """
    await avatars.remove()
