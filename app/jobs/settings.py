"""Personal settings in the background: organisations hear of their members' profiles."""

from uuid import UUID

from app.core.database import SystemSession
from app.jobs.handlers import EventRow, handler
from app.services.settings.profile import tell_organizations


@handler("member_profiles")
async def tell_of_profile(session: SystemSession, event: EventRow) -> None:
    """Tell every organisation of the person which fields of the profile have changed."""
    data = event.data
    await tell_organizations(session, UUID(data["user_id"]), data["fields"])
