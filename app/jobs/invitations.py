"""The job of invitations and offers of ownership: those that nobody answered in time expire."""

from app.core.access import Principal
from app.core.database import Database
from app.jobs.queue import job
from app.services.team.invitations import closing as invitations
from app.services.team.transfers import closing as transfers

ACTOR = Principal(kind="system", name="expire_offers")


@job("invitations.expire", queue="default", cron="* * * * *")
async def expire_offers(database: Database) -> None:
    """Each minute: close what is late, one organisation after the other, each under its lock.

    Until then it counts as expired already; the job writes it down and tells of it.
    """
    async with database.system(autocommit=True) as session:
        now = await session.now()
        inviting = await invitations.organizations_with_late(session, now)
        offering = await transfers.organizations_with_late(session, now)
    for organization_id in inviting:
        async with database.transaction(principal=ACTOR) as session:
            await invitations.expire_invitations_of(session, organization_id)
    for organization_id in offering:
        async with database.transaction(principal=ACTOR) as session:
            await transfers.expire_transfers_of(session, organization_id)
