"""Owns a person's portrait: exactly one file while there is one, replaced with its row."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.events import emit
from app.models.settings import Profile
from app.repositories.settings import ProfileRepository
from app.schemas.settings.avatar import AvatarRead
from app.services.files.addresses import media_url
from app.services.files.buckets import AVATARS, FileOwner
from app.services.files.pictures import portrait
from app.services.files.receiving import Received
from app.services.files.storing import Files
from app.services.settings.events import AvatarRemoved, AvatarUpdated

FILE_NAME = "avatar.webp"
"""The name that was sent is not kept: it may say more than the picture."""


class AvatarService:
    """The caller's own portrait."""

    def __init__(self, session: Owner, principal: CurrentPrincipal, files: Files) -> None:
        self.session = session
        self.files = files
        self.profiles = ProfileRepository(session)
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        self.user_id: UUID = principal.user_id

    async def replace(self, received: Received) -> AvatarRead:
        """Make a portrait of what was received, in place of the present one.

        422 `image_damaged`, `image_too_large`; 503 `storage_unavailable`, `storage_busy`, `processing_busy`.
        """
        # Neither the picture nor the store is worth an open transaction: this one holds nothing but a claim.
        await self.session.rollback()
        picture = await portrait(received)
        placed = await self.files.place(
            picture.path,
            bucket=AVATARS,
            owner=FileOwner(user_id=self.user_id),
            extension="webp",
            media_type="image/webp",
            width=picture.width,
            height=picture.height,
        )
        profile = await self._lock()
        former = profile.avatar_file_id
        file = await self.files.record(self.session, placed, file_name=FILE_NAME, uploaded_by=self.user_id)
        profile.avatar_file_id = file.id
        await self.session.flush()
        if former is not None:
            await self.files.release(self.session, former)
        await emit(self.session, AvatarUpdated(user_id=self.user_id, avatar_id=file.id))
        return AvatarRead(avatar_url=media_url(file.id, "webp"), width=picture.width, height=picture.height)

    async def remove(self) -> None:
        """Take the portrait away; that there is none is no error."""
        profile = await self._lock()
        former = profile.avatar_file_id
        if former is None:
            return
        profile.avatar_file_id = None
        await self.session.flush()
        await self.files.release(self.session, former)
        await emit(self.session, AvatarRemoved(user_id=self.user_id, avatar_id=former))

    async def _lock(self) -> Profile:
        """The profile, made if there is none. It is locked first, so that changes of one portrait queue."""
        profile = await self.profiles.of(self.user_id, lock=True)
        if profile is None:
            await self.profiles.add_unless_there(self.user_id)
            profile = await self.profiles.of(self.user_id, lock=True)
        assert profile is not None  # noqa: S101 - it was just made
        return profile


Avatars = Annotated[AvatarService, Depends()]
