"""The one question to the kept answers that their own layer does not ask: which have expired."""

from datetime import datetime

from sqlalchemy import delete, select, tuple_

from app.core.database import ScopedSession
from app.core.idempotency import IdempotencyRecord


class IdempotencyRepository:
    """The kept answers as rows."""

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    async def prune(self, *, before: datetime, limit: int) -> int:
        """Delete up to `limit` records that expired by that moment; how many there were."""
        key = tuple_(IdempotencyRecord.owner_hash, IdempotencyRecord.key_hash)
        expired = (
            select(IdempotencyRecord.owner_hash, IdempotencyRecord.key_hash)
            .where(IdempotencyRecord.expires_at <= before)
            .limit(limit)
        )
        found = await self.session.execute(
            delete(IdempotencyRecord).where(key.in_(expired)).execution_options(synchronize_session=False)
        )
        return int(found.rowcount)  # type: ignore[attr-defined]  # a DELETE answers with a CursorResult
