"""Owns how a chain grows: in one place, in one order, without a gap, and while no request waits for it."""

from uuid import UUID

from app.core.audit import entry_hash
from app.core.database import SystemSession
from app.models.audit import AuditInbox
from app.repositories.audit import ChainRepository, InboxRepository

STEP = 500
"""Entries that one transaction appends at most."""

CONTENT = [
    column.key
    for column in AuditInbox.__mapper__.column_attrs
    if column.key not in ("organization_id", "created_at")
]


async def append(session: SystemSession, organization_id: UUID) -> tuple[int, int]:
    """Give up to STEP waiting entries of a chain their places; how many waited, and the last place.

    The head's lock is held until the transaction ends, so two who append do it one after the other. An event
    that has an entry already is only taken out of the inbox.
    """
    chain, inbox = ChainRepository(session, organization_id), InboxRepository(session)
    head = await chain.lock_head()
    seq, last_hash = head.seq, head.head_hash
    waiting = await inbox.oldest(organization_id, STEP)
    if not waiting:
        return 0, seq
    known = await chain.known([entry.id for entry in waiting])
    rows = []
    for entry in waiting:
        if entry.id in known:
            continue
        seq += 1
        prev_hash, last_hash = last_hash, entry_hash(last_hash, seq, entry)
        rows.append(
            {name: getattr(entry, name) for name in CONTENT}
            | {
                "organization_id": organization_id,
                "seq": seq,
                "prev_hash": prev_hash,
                "entry_hash": last_hash,
            }
        )
    await chain.append(rows, seq=seq, head_hash=last_hash)
    await inbox.remove(organization_id, [entry.id for entry in waiting])
    return len(waiting), seq
