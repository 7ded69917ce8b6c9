"""The base of every repository: what any table can be asked, always through the scoped session."""

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.dialects.postgresql import insert

from app.core.database import ScopedSession
from app.models.base import Base, Owned, Personal

M = TypeVar("M", bound=Base)


def detached(model: type[M], values: Mapping[str, Any]) -> M:
    """An object of a row that was read past the session: it is in none, and nothing done to it is written.

    It is filled as the session fills what it loads; the constructor would note every value as a change.
    """
    made = model()
    made.__dict__.update(values)
    return made


class Repository(Generic[M]):
    """Questions to one table. The session decides whose rows they are about."""

    model: ClassVar[type[Any]]

    def __init__(self, session: ScopedSession) -> None:
        self.session = session

    def select(self) -> Select[Any]:
        """The statement that every read of this table begins with."""
        return select(self.model)

    async def get(self, identifier: UUID, *, lock: bool = False) -> M | None:
        """The row with this id, or None if this caller has none; `lock` keeps others from changing it."""
        return await self.one(self.model.id == identifier, lock=lock)

    async def one(self, *conditions: ColumnElement[bool], lock: bool = False) -> M | None:
        """The only row that meets the conditions."""
        statement = self.select().where(*conditions)
        if lock:
            statement = statement.with_for_update(key_share=True).execution_options(populate_existing=True)
        found: M | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def add(self, row: M) -> M:
        """Insert a row; the guard stamps its owner."""
        self.session.add(row)
        await self.session.flush()
        return row

    async def remove(self, row: M) -> None:
        """Delete a row."""
        await self.session.delete(row)
        await self.session.flush()

    async def upsert(
        self, *, keys: list[str], values: dict[str, Any], changes: dict[str, Any] | None = None
    ) -> None:
        """Insert, or on a conflict over `keys` update `changes` (nothing when there are none).

        The owner is stamped from the session's principal, whatever `values` say, because the row guard does
        not see this kind of statement.
        """
        stamped = {**values, **self._owner()}
        statement = insert(self.model).values(**stamped)
        if changes:
            statement = statement.on_conflict_do_update(index_elements=keys, set_=changes)
        else:
            statement = statement.on_conflict_do_nothing(index_elements=keys)
        await (await self.session.connection()).execute(statement)

    def _owner(self) -> dict[str, UUID | None]:
        principal = self.session.principal
        if principal is None:
            return {}
        if issubclass(self.model, Owned):
            return {"organization_id": principal.organization_id}
        if issubclass(self.model, Personal):
            return {"user_id": principal.user_id}
        return {}
