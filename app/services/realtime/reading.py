"""Reads on for a connection that is not live: from the ring if it reaches back far enough, else the table."""

from app.repositories.realtime import LogReader
from app.services.realtime.connections import Connection
from app.services.realtime.expanding import expand
from app.services.realtime.hub import Hub
from app.services.realtime.ring import LogEvent

TABLE_PAGE = 500


async def read_on(hub: Hub, connection: Connection) -> list[LogEvent]:
    """Hand out what comes next for this connection, and let it go live when that is all there is.

    Going live and the end of what is handed out are the same instant, so nothing falls between them; if the
    hub went on while things were loaded, the next call goes on behind it.
    """
    upto = hub.position
    if connection.position >= hub.ring.begin:
        found = hub.ring.after(connection.position, connection.topics, connection.wants)
        events = await expand(hub.database, found)
        if hub.position == upto:
            connection.go_live(upto)
        else:
            connection.position = max(connection.position, upto)
        return [event for event in events if connection.wants(event)]
    async with hub.database.system(autocommit=True) as session:
        rows = await LogReader(session).page(
            connection.wanted(), after=connection.position, upto=upto, limit=TABLE_PAGE
        )
    events = await expand(hub.database, [LogEvent(row, hub.epoch) for row in rows])
    connection.position = rows[-1].pos if len(rows) == TABLE_PAGE else upto
    # Rights may have gone while the table was read.
    return [event for event in events if connection.wants(event)]
