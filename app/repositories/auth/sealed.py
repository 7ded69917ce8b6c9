"""Owns the questions to sealed columns of accounts: which were sealed by an old key, and their new form."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from app.core.database import ScopedSession


class SealedColumn:
    """A sealed column of a table whose rows have an id, for a session that sees every row."""

    def __init__(self, session: ScopedSession, model: Any, name: str) -> None:
        self.session = session
        self.model = model
        self.column = getattr(model, name)

    @property
    def context(self) -> str:
        """What binds a value to its column; the row's id follows."""
        return f"{self.model.__tablename__}.{self.column.key}"

    async def without(self, prefix: bytes, *, after: UUID, limit: int) -> Sequence[tuple[UUID, bytes]]:
        """Id and value of rows behind `after` whose value does not begin like this, in the order of ids."""
        statement = (
            select(self.model.id, self.column)
            .where(self.model.id > after, func.substring(self.column, 1, len(prefix)) != prefix)
            .order_by(self.model.id)
            .limit(limit)
        )
        return [(row[0], row[1]) for row in (await self.session.execute(statement)).all()]

    async def replace(self, row_id: UUID, old: bytes, new: bytes) -> None:
        """Keep the same value in its new form, unless it was changed meanwhile."""
        await self.session.execute(
            update(self.model)
            .where(self.model.id == row_id, self.column == old)
            .values({self.column: new})
            .execution_options(synchronize_session=False)
        )
