"""The routes of the profile."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.etags import IfMatch, etag, versions_of
from app.core.requests import StrictRoute
from app.schemas.settings.profile import ProfileRead, ProfileUpdate
from app.services.settings.profile import Profiles

router = APIRouter(route_class=StrictRoute, prefix="/api", tags=["settings"])

SignedIn = Annotated[Principal, Depends(allow())]

UPDATE_PROBLEMS = problems({412: ["version_mismatch"], 422: ["field_not_writable"]})


def with_etag(response: Response, profile: ProfileRead) -> ProfileRead:
    """The profile, whose version goes out as the answer's `ETag` too."""
    response.headers["ETag"] = etag(profile.version)
    return profile


@router.get("/settings/profile")
async def get_profile(_: SignedIn, profiles: Profiles, response: Response) -> ProfileRead:
    """Get your profile.

    `ETag` is its version.
    """
    return with_etag(response, await profiles.get())


@router.patch("/settings/profile", responses=UPDATE_PROBLEMS)
@router.put("/settings/profile", responses=UPDATE_PROBLEMS)
async def update_profile(
    _: SignedIn,
    profiles: Profiles,
    body: ProfileUpdate,
    response: Response,
    if_match: IfMatch = None,
) -> ProfileRead:
    """Change your profile.

    Only the fields that are sent change; null clears one, and so does blank text. With `version` or
    `If-Match`, what was changed meanwhile is not overwritten; without either the last write wins. Your
    address changes at `/api/settings/email`, by proof.
    """
    return with_etag(response, await profiles.update(body, versions_of(if_match)))


@router.post("/profile/ensure")
async def ensure_profile(_: SignedIn, profiles: Profiles, response: Response) -> ProfileRead:
    """Get your profile, made if there is none.

    Signing up makes it already; this is for clients that ask first.
    """
    return with_etag(response, await profiles.ensure())
