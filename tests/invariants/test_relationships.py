"""Invariant: no attribute of a row runs a query when it is looked at; what is needed is asked for."""

from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry, relationship

import app.models.registry  # noqa: F401 - every table
from app.models.base import Base

LOUD = {"raise", "raise_on_sql", "noload", "write_only"}


def silent_loads(models: registry) -> list[str]:
    """Relationships that would query when they are read."""
    return [
        f'{mapper.class_.__name__}.{name} is lazy="{relation.lazy}": declare it with lazy="raise"'
        for mapper in models.mappers
        for name, relation in mapper.relationships.items()
        if relation.lazy not in LOUD
    ]


def test_relationships_when_every_class_is_looked_at() -> None:
    assert len(list(Base.registry.mappers)) > 25
    wrong = silent_loads(Base.registry)
    assert not wrong, "\n".join(wrong)


def test_search_when_a_relationship_is_lazy() -> None:
    class Shelf(DeclarativeBase):
        pass

    class Parent(Shelf):
        __tablename__ = "parents"
        id: Mapped[UUID] = mapped_column(primary_key=True)

    class Child(Shelf):
        __tablename__ = "children"
        id: Mapped[UUID] = mapped_column(primary_key=True)
        parent_id: Mapped[UUID] = mapped_column(ForeignKey("parents.id"))
        quiet: Mapped[Parent] = relationship()
        loud: Mapped[Parent] = relationship(lazy="raise", viewonly=True)

    assert silent_loads(Shelf.registry) == ['Child.quiet is lazy="select": declare it with lazy="raise"']
