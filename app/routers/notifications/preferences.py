"""What a person wants to be told, and by which channel."""

from typing import Annotated

from fastapi import APIRouter, Depends

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.requests import StrictRoute
from app.schemas.notifications.preferences import PreferenceMatrix, PreferencesChange
from app.services.notifications.preferences.choosing import Preferences

router = APIRouter(route_class=StrictRoute, prefix="/api/notifications", tags=["notifications"])

SignedIn = Annotated[Principal, Depends(allow())]

PROBLEMS = problems({403: ["consent_required"], 422: ["preference_locked", "unknown_category"]})


@router.get("/preferences")
async def get_preferences(_: SignedIn, preferences: Preferences) -> PreferenceMatrix:
    """What the caller is told, by every channel of every category.

    `is_locked` ones cannot be switched off; `default` is what holds until somebody chooses.
    """
    return await preferences.matrix()


@router.patch("/preferences", responses=PROBLEMS)
@router.put("/preferences", responses=PROBLEMS)
async def update_preferences(
    _: SignedIn, preferences: Preferences, body: PreferencesChange
) -> PreferenceMatrix:
    """Change what the caller is told.

    What is not named stays as it is. Locked channels stay on. News about the product need the consent
    `marketing_email`.
    """
    return await preferences.change(body)
