"""Owns a person's matrix of categories and channels: how it stands, and what they change of it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.core.access import CurrentPrincipal
from app.core.database import Owner
from app.core.errors import FieldError, Forbidden, Invalid
from app.models.notifications import NotificationPreference
from app.repositories.notifications import PreferenceRepository
from app.schemas.notifications.preferences import (
    PreferenceChange,
    PreferenceMatrix,
    PreferenceRead,
    PreferencesChange,
)
from app.services.notifications.categories import CATEGORIES, CHANNELS, CONSENT_OF
from app.services.privacy.consents import has_consent

Place = tuple[str, str]
Rows = Mapping[Place, NotificationPreference]


class PreferenceService:
    """What a signed-in person wants to be told."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.session = session
        self.preferences = PreferenceRepository(session)
        assert principal.user_id is not None  # noqa: S101 - the routes are for signed-in people
        self.user_id: UUID = principal.user_id

    async def matrix(self) -> PreferenceMatrix:
        """Every category with every channel, as it stands for the caller."""
        return _matrix(await self._rows(), await self._consents())

    async def change(self, body: PreferencesChange) -> PreferenceMatrix:
        """Note wishes; of two for one place the last counts.

        422 `unknown_category`, `preference_locked`; 403 `consent_required` where a consent is missing.
        """
        _refuse(body.preferences)
        # Some wishes write a row and others remove one; two such changes would wait for each other.
        await self.preferences.lock(self.user_id)
        rows, consents = await self._rows(), await self._consents()
        wanted = {(wish.category, wish.channel): wish for wish in body.preferences}
        for (category, _), wish in wanted.items():
            purpose = CONSENT_OF.get(category)
            if wish.is_enabled and purpose is not None and purpose not in consents:
                raise Forbidden(
                    "consent_required",
                    f"Agree to `{purpose}` first with POST /api/privacy/consents, and repeat the request.",
                )
        due = [_wish(place, wish, rows.get(place)) for place, wish in wanted.items()]
        await self.preferences.write(self.user_id, [wish for wish in due if not _is_default(wish)])
        await self.preferences.forget(
            self.user_id, [(wish["category"], wish["channel"]) for wish in due if _is_default(wish)]
        )
        self.session.expire_all()
        return _matrix(await self._rows(), consents)

    async def _rows(self) -> Rows:
        found = await self.preferences.of(self.user_id)
        return {(row.category, row.channel): row for row in found}

    async def _consents(self) -> frozenset[str]:
        purposes = sorted(set(CONSENT_OF.values()))
        return frozenset(
            [purpose for purpose in purposes if await has_consent(self.session, self.user_id, purpose)]
        )


def _refuse(wishes: Sequence[PreferenceChange]) -> None:
    faults = [
        FieldError(f"/preferences/{number}/category", "unknown_category", "There is no such category.")
        for number, wish in enumerate(wishes)
        if wish.category not in CATEGORIES
    ]
    if faults:
        raise Invalid(
            "unknown_category", "Use the categories of GET /api/notifications/preferences.", errors=faults
        )
    faults = [
        FieldError(f"/preferences/{number}/is_enabled", "preference_locked", "This channel stays on.")
        for number, wish in enumerate(wishes)
        if not wish.is_enabled and wish.channel in _locked(wish.category)
    ]
    if faults:
        raise Invalid(
            "preference_locked",
            "Notices about the account's safety, and what people must not miss, cannot be switched off.",
            errors=faults,
        )


def _locked(category: str) -> frozenset[str]:
    return CATEGORIES[category].locked


def _wish(place: Place, wish: PreferenceChange, row: NotificationPreference | None) -> dict[str, Any]:
    digest = wish.digest or (row.digest if row is not None else "off")
    return {"category": place[0], "channel": place[1], "is_enabled": wish.is_enabled, "digest": digest}


def _is_default(wish: Mapping[str, Any]) -> bool:
    is_on = wish["channel"] in CATEGORIES[wish["category"]].default
    return bool(wish["is_enabled"] == is_on and wish["digest"] == "off")


def _matrix(rows: Rows, consents: frozenset[str]) -> PreferenceMatrix:
    items = []
    for category, terms in CATEGORIES.items():
        purpose = CONSENT_OF.get(category)
        may = purpose is None or purpose in consents
        for channel in CHANNELS:
            row = rows.get((category, channel))
            is_on = row.is_enabled if row is not None else channel in terms.default
            items.append(
                PreferenceRead.model_validate(
                    {
                        "category": category,
                        "channel": channel,
                        "is_enabled": channel in terms.locked or (is_on and may),
                        "is_locked": channel in terms.locked,
                        "digest": row.digest if row is not None else "off",
                        "default": channel in terms.default,
                    }
                )
            )
    return PreferenceMatrix(items=items)


Preferences = Annotated[PreferenceService, Depends()]
