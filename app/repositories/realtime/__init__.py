"""Questions to the event backbone: its log, its readers, the sessions and tickets of streams."""

from app.repositories.realtime.log import EventLogRepository, Turn, lags_of, sequence_once
from app.repositories.realtime.pull import EventFilter, EventPullRepository
from app.repositories.realtime.reading import Bearings, LogReader, LogRow, Wanted
from app.repositories.realtime.streams import StreamSessionRepository, TicketRepository

__all__ = [
    "Bearings",
    "EventFilter",
    "EventLogRepository",
    "EventPullRepository",
    "LogReader",
    "LogRow",
    "StreamSessionRepository",
    "TicketRepository",
    "Turn",
    "Wanted",
    "lags_of",
    "sequence_once",
]
