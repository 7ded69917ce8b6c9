"""Personal settings in the background: profiles told to organisations, changes of address carried on."""

from uuid import UUID

from app.core.database import Database, SystemSession
from app.jobs.handlers import EventRow, handler
from app.jobs.queue import job
from app.services.settings.email_change import expire_changes, prepare_email_change
from app.services.settings.profile import tell_organizations


@handler("member_profiles")
async def tell_of_profile(session: SystemSession, event: EventRow) -> None:
    """Tell every organisation of the person which fields of the profile have changed."""
    data = event.data
    await tell_organizations(session, UUID(data["user_id"]), data["fields"])


@handler("email_change")
async def prepare_change(session: SystemSession, event: EventRow) -> None:
    """Make the link to a new address, if nobody has it."""
    data = event.data
    await prepare_email_change(session, UUID(data["user_id"]), UUID(data["change_id"]), event.private)


@job("settings.expire_email_changes", queue="maintenance", cron="25 * * * *")
async def expire_email_changes(database: Database) -> None:
    """Give up the changes of address whose proof never came."""
    await expire_changes(database)
