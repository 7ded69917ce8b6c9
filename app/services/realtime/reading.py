"""Reads on for a connection that is not live: from the ring if it reaches back far enough, else the table."""

from app.repositories.realtime import LogReader
from app.services.realtime.connections import Connection
from app.services.realtime.hub import Hub
from app.services.realtime.ring import LogEvent

TABLE_PAGE = 500


async def read_on(hub: Hub, connection: Connection) -> list[LogEvent]:
    """Hand out what comes next for this connection, and let it go live when that is all there is.

    Going live and the end of what is handed out are the same instant, so nothing falls between them.
    """
    if connection.position >= hub.ring.begin:
        events = hub.ring.after(connection.position, connection.topics, connection.wants)
        connection.go_live(hub.position)
        return events
    upto = hub.position
    async with hub.database.system(autocommit=True) as session:
        rows = await LogReader(session).page(
            connection.wanted(), after=connection.position, upto=upto, limit=TABLE_PAGE
        )
    connection.position = rows[-1].pos if len(rows) == TABLE_PAGE else upto
    # Rights may have gone while the table was read.
    return [event for event in (LogEvent(row, hub.epoch) for row in rows) if connection.wants(event)]
