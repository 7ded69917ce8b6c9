"""Repositories for whoever acts for nobody: their questions name the organisation themselves."""

from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement

from app.core.database import ScopedSession
from app.models.base import Base
from app.repositories.base import Repository

M = TypeVar("M", bound=Base)


class Narrowed(Repository[M]):
    """A repository that asks for one organisation's rows where its session sees those of all.

    The owner leads every index, so a question that does not name one reads the whole table. An OwnerSession
    adds it by itself.
    """

    def __init__(self, session: ScopedSession, organization_id: UUID | None = None) -> None:
        super().__init__(session)
        self.organization_id = organization_id

    def mine(self, model: type[Any] | None = None) -> list[ColumnElement[bool]]:
        """The condition on the rows of a class, which is the repository's own unless one is named."""
        if self.organization_id is None:
            return []
        return [(model or self.model).organization_id == self.organization_id]
