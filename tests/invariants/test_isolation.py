"""Invariant: a stranger's session neither sees nor changes another owner's row of any table."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import ColumnElement, Executable, Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import make_transient_to_detached

import app.models.registry  # noqa: F401 - every table
from app.core.database import Database, ForeignRowError, OwnerSession, SystemSession
from app.models.base import Base, Owned, Personal, Reference, Shared, System
from app.models.team import TeamMember, TeamRole
from tests.invariants.rows import plant, values_of
from tests.support.personas import Persona
from tests.support.scoped import unscoped_tables

MODELS: list[type[Any]] = sorted(
    (mapper.class_ for mapper in Base.registry.mappers), key=lambda model: str(model.__name__)
)
CLOSED = [model for model in MODELS if issubclass(model, Owned | Personal | System)]
OPEN = [model for model in MODELS if model not in CLOSED]


def named(model: type[Any]) -> str:
    return str(model.__name__)


def attributes(model: type[Any]) -> list[Any]:
    """The class's attributes of its primary key."""
    return [
        getattr(model, model.__mapper__.get_property_by_column(column).key)
        for column in model.__table__.primary_key.columns
    ]


def is_row(model: type[Any], key: tuple[Any, ...]) -> ColumnElement[bool]:
    return and_(*(column == value for column, value in zip(attributes(model), key, strict=True)))


def count_of(model: type[Any]) -> Select[Any]:
    return select(func.count()).select_from(model)


async def changed_rows(session: OwnerSession, statement: Any) -> int:
    """How many rows a bulk statement touched; 0 when the guard refuses the statement altogether."""
    try:
        return int((await session.execute(statement)).rowcount)  # type: ignore[attr-defined]
    except ForeignRowError:
        return 0


def test_models_when_they_are_counted() -> None:
    assert len(CLOSED) > 25
    assert len(OPEN) > 3


@pytest.mark.parametrize("model", CLOSED, ids=named)
async def test_row_when_a_stranger_asks(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona, model: type[Any]
) -> None:
    key = await plant(db, model, alice)
    row = is_row(model, key)
    async with database.owner(charlie.principal) as session:
        assert await session.get(model, key) is None
        assert (await session.scalars(select(model).where(row))).all() == []
        assert await session.scalar(count_of(model).where(row)) == 0
        assert await session.scalar(select(exists(select(*attributes(model)).where(row)))) is False
        first = attributes(model)[0]
        assert await changed_rows(session, update(model).where(row).values({first: first})) == 0
        assert await changed_rows(session, delete(model).where(row)) == 0
    assert await db.scalar(count_of(model).where(row)) == 1


@pytest.mark.parametrize("model", [model for model in CLOSED if not issubclass(model, System)], ids=named)
async def test_row_when_its_owner_asks(
    database: Database, db: SystemSession, alice: Persona, model: type[Any]
) -> None:
    """The other half of the proof: the row is there, and only the session hides it from others."""
    key = await plant(db, model, alice)
    async with database.owner(alice.principal) as session:
        assert await session.get(model, key) is not None
        assert await session.scalar(count_of(model).where(is_row(model, key))) == 1


@pytest.mark.parametrize("model", MODELS, ids=named)
async def test_write_when_the_row_is_a_strangers(
    database: Database, alice: Persona, charlie: Persona, model: type[Any]
) -> None:
    values = (
        {"id": 1, **values_of(model, alice)} if "id" in model.__mapper__.columns else values_of(model, alice)
    )
    async with database.owner(charlie.principal) as session:
        session.add(model(**values))
        with pytest.raises(ForeignRowError):
            await session.flush()
    async with database.owner(charlie.principal) as session:
        row = model(**values)
        make_transient_to_detached(row)  # As if it had been loaded, however its session came by it.
        session.add(row)
        await session.delete(row)
        with pytest.raises(ForeignRowError):
            await session.flush()


@pytest.mark.parametrize("model", OPEN, ids=named)
async def test_bulk_write_when_rows_are_everybodys(
    database: Database, alice: Persona, model: type[Any]
) -> None:
    """Even those who may write a shared row write it as an object, one by one, past `writable()`."""
    assert issubclass(model, Shared | Reference)
    async with database.owner(alice.principal) as session:
        with pytest.raises(ForeignRowError):
            await session.execute(delete(model))


both = and_(TeamRole.key == "craft", TeamRole.name == "x")
either = or_(TeamRole.key == "craft", TeamRole.name == "x")

NAMELESS: dict[str, Callable[[], Executable]] = {
    "exists": lambda: select(exists().where(both)),
    "count": lambda: select(func.count()).where(either),
    "aggregate": lambda: select(func.count().filter(TeamRole.name == "x")),
    "window": lambda: select(func.row_number().over(order_by=TeamRole.name)),
    "union": lambda: select(TeamRole.id).union_all(select(func.count()).where(both)),
    "subquery": lambda: select(TeamRole.id, select(func.count()).where(both).scalar_subquery()),
    "condition": lambda: select(TeamRole.id).where(exists().where(either)),
}


@pytest.mark.parametrize("name", NAMELESS)
async def test_guard_when_a_select_names_no_class(database: Database, charlie: Persona, name: str) -> None:
    """SQLAlchemy takes such a SELECT for one about bare tables and adds no owner, so the guard refuses it."""
    async with database.owner(charlie.principal) as session:
        with pytest.raises(ForeignRowError, match="select_from"):
            await session.execute(NAMELESS[name]())


HIDDEN: dict[str, Callable[[], Executable]] = {
    "condition": lambda: select(func.count()).where(func.lower(TeamRole.name) == "x"),
    "join": lambda: select(TeamMember.id).where(func.lower(TeamRole.name) == TeamMember.role),
}


@pytest.mark.parametrize("name", HIDDEN)
async def test_watch_when_a_class_stands_only_inside_a_call(
    database: Database, charlie: Persona, name: str
) -> None:
    """No owner is added there either. The whole suite watches the SQL of its sessions for this."""
    async with database.owner(charlie.principal) as session:
        with pytest.raises(AssertionError, match=r"team_roles.*without an owner"):
            await session.execute(HIDDEN[name]())


def test_watch_when_the_owner_is_there() -> None:
    said = [
        "SELECT a.id FROM products AS a, orders WHERE a.organization_id = $1 AND orders.organization_id = $1",
        "UPDATE products p SET stock = 1 WHERE p.organization_id = $1",
        "SELECT 1 FROM order_items i JOIN orders o ON o.organization_id = i.organization_id",
        "SELECT id FROM sessions WHERE sessions.user_id = $1",
    ]
    assert [unscoped_tables(sql) for sql in said] == [[], [], [], []]
    assert unscoped_tables(
        "SELECT (SELECT count(*) FROM orders), id FROM orders WHERE orders.organization_id = $1"
    )
