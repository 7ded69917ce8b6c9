"""Owns a person's profile: reading, changing and making it, and telling their organisations."""

from collections.abc import Collection
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner, ScopedSession
from app.core.errors import FieldError, Invalid, NotFound, version_mismatch
from app.core.etags import is_stale
from app.core.events import emit
from app.models.auth import User
from app.models.settings import Profile
from app.repositories.settings import ProfileRepository
from app.schemas.settings.profile import NOT_WRITABLE, ProfileRead, ProfileUpdate
from app.services.files.addresses import avatar_url
from app.services.settings.events import MemberProfileUpdated, ProfileUpdated


class ProfileService:
    """The caller's own profile."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.profiles = ProfileRepository(session)
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        self.user_id: UUID = principal.user_id

    async def get(self) -> ProfileRead:
        """The profile. 404 when there is none, which `ensure` mends."""
        return _read(*await self._find())

    async def ensure(self) -> ProfileRead:
        """The profile, made if there is none; sign-up makes it, so that is for accounts of older times."""
        await self.profiles.add_unless_there(self.user_id)
        return await self.get()

    async def update(self, body: ProfileUpdate, etags: Collection[int] | None) -> ProfileRead:
        """Change the fields that were sent; when nothing differs, nothing is written.

        `etags` are the versions of `If-Match`, None without one. 404; 412 `version_mismatch`; 422
        `field_not_writable`.
        """
        profile = await self.profiles.of(self.user_id, lock=True)
        found = await self.profiles.with_person(self.user_id)
        if profile is None or found is None:
            raise _missing()
        user = found[1]
        _check_writable(body, user)
        if is_stale(profile.version, body.version, etags):
            raise version_mismatch(profile.version)
        changed = _changed(profile, body)
        if changed:
            for name, value in changed.items():
                setattr(profile, name, value)
            profile.version += 1
            await self.session.flush()
            await self.session.refresh(profile)
            await emit(self.session, ProfileUpdated(user_id=self.user_id, fields=sorted(changed)))
        return _read(profile, user)

    async def _find(self) -> tuple[Profile, User]:
        found = await self.profiles.with_person(self.user_id)
        if found is None:
            raise _missing()
        return found


async def tell_organizations(session: ScopedSession, user_id: UUID, fields: list[str]) -> None:
    """Tell every organisation in which a person works that their profile has changed."""
    for organization_id in await ProfileRepository(session).organizations_of(user_id):
        event = MemberProfileUpdated(user_id=user_id, fields=fields)
        await emit(session, event, organization_id=organization_id)


def _missing() -> NotFound:
    return NotFound(detail="You have no profile yet; make it with POST /api/profile/ensure.")


def _check_writable(body: ProfileUpdate, user: User) -> None:
    errors = [
        FieldError(f"/{name}", "field_not_writable", "This cannot be changed here.")
        for name in sorted(body.model_fields_set & NOT_WRITABLE)
    ]
    # An older page sends the address with every change of the profile.
    if "email" in body.model_fields_set and (body.email or "").lower() != user.email_canonical:
        detail = "The address changes at POST /api/settings/email, by proof."
        errors.append(FieldError("/email", "field_not_writable", detail))
    if errors:
        raise Invalid("field_not_writable", "Leave out what cannot be changed here.", errors=errors)


def _changed(profile: Profile, body: ProfileUpdate) -> dict[str, Any]:
    """The fields that were sent with another value than the profile's."""
    sent = body.changes(without=NOT_WRITABLE | {"version", "email"})
    if "name" in sent:
        sent["full_name"] = sent.pop("name")
    return {name: value for name, value in sent.items() if getattr(profile, name) != value}


def _read(profile: Profile, user: User) -> ProfileRead:
    return ProfileRead(
        id=user.id,
        email=user.email,
        email_confirmed_at=user.email_confirmed_at,
        pending_email=user.pending_email,
        full_name=profile.full_name,
        name=profile.full_name,
        company=profile.company,
        bio=profile.bio,
        city=profile.city,
        locale=profile.locale,
        timezone=profile.timezone,
        avatar_url=avatar_url(profile.avatar_file_id),
        version=profile.version,
        created_at=profile.created_at,
        updated_at=profile.updated_at,
    )


Profiles = Annotated[ProfileService, Depends()]
