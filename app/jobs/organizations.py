"""The jobs of organisations: deleted ones are purged, and members' activity is copied from their sessions."""

from datetime import timedelta

from app.core.access import Principal
from app.core.database import Database
from app.jobs.queue import job
from app.services.team import purging

ACTOR = Principal(kind="system", name="purge_organizations")

LOOKING_BACK = timedelta(hours=1)
"""Longer than the pause between two runs, so that a run that was late or lost leaves nothing out."""


@job("organizations.purge", queue="maintenance", cron="50 2 * * *")
async def purge_organizations(database: Database) -> None:
    """Daily: remove the organisations that nobody can restore any more, each in a transaction of its own.

    One that cannot be removed stops none of the others.
    """
    async with database.system(autocommit=True) as session:
        now = await session.now()
        due = await purging.due(session, now)
    errors: list[Exception] = []
    for organization_id in due:
        try:
            async with database.transaction(principal=ACTOR) as session:
                await purging.purge(session, organization_id, now)
        except Exception as error:
            error.add_note(f"organization {organization_id}")
            errors.append(error)
    if errors:
        raise ExceptionGroup(f"{len(errors)} organisations could not be purged", errors)


@job("organizations.note_activity", queue="maintenance", cron="*/10 * * * *")
async def note_activity(database: Database) -> None:
    """Every ten minutes: say of each member when they were last active."""
    async with database.transaction(principal=Principal(kind="system", name="note_activity")) as session:
        await purging.note_activity(session, await session.now() - LOOKING_BACK)
