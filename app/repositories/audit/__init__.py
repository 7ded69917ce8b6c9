"""Questions to the tables of the audit log."""

from app.repositories.audit.chain import ChainRepository, InboxRepository, chains, grown_chains
from app.repositories.audit.exports import ExportedEntries, ExportRepository, Extent
from app.repositories.audit.people import NamedPerson, PeopleOfEventsRepository
from app.repositories.audit.reading import EntryFilter, EntryRepository, OwnEntriesRepository
from app.repositories.audit.subject_keys import SubjectKeyRepository

__all__ = [
    "ChainRepository",
    "EntryFilter",
    "EntryRepository",
    "ExportRepository",
    "ExportedEntries",
    "Extent",
    "InboxRepository",
    "NamedPerson",
    "OwnEntriesRepository",
    "PeopleOfEventsRepository",
    "SubjectKeyRepository",
    "chains",
    "grown_chains",
]
