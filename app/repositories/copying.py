"""Rows as CSV, made by PostgreSQL itself (COPY), in parts that are each read and let go of by themselves.

COPY takes no parameters, so the driver puts them in, quoted by the server. The statement carries the row
guard's own conditions.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, Select, and_, case, func, literal, not_, tuple_
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import InstrumentedAttribute

from app.core.access import Principal
from app.core.database import Database, OwnerSession, row_criteria

DIALECT = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own class has no types here

FORMULA = r"^'*[=+@\t\r-]"
"""What begins so is protected, and what was protected once already, so that taking one off is exact."""

NUMBER = r"^[+-]?[0-9]+([.,][0-9]+)?$"

Position = tuple[datetime, UUID]


@dataclass(frozen=True, slots=True)
class Export:
    """Rows to be copied: the newest first, `part` at once, at most `most` of them.

    `columns` is a SELECT of the file's columns, `model` the class with `created_at` and `id` that it reads.
    """

    columns: Select[Any]
    created_at: InstrumentedAttribute[datetime]
    id: InstrumentedAttribute[UUID]
    part: int
    most: int | None = None

    @property
    def place(self) -> ColumnElement[Any]:
        """Where a row stands in the file."""
        return tuple_(self.created_at, self.id)

    def between(self, after: Position | None, last: Position | None) -> Select[Any]:
        """The rows behind one position up to another one; None: from the first, to the last."""
        statement = self.columns
        if after is not None:
            statement = statement.where(self.place < self._literal(after))
        if last is not None:
            statement = statement.where(self.place >= self._literal(last))
        return statement.order_by(self.created_at.desc(), self.id.desc())

    def _literal(self, position: Position) -> ColumnElement[Any]:
        return tuple_(literal(position[0], self.created_at.type), literal(position[1], self.id.type))


async def csv_parts(database: Database, principal: Principal, export: Export) -> AsyncIterator[bytes]:
    """The rows of the principal's organisation as CSV, the names of the columns first.

    Every part has a connection of its own for as long as it is read, and none while it is sent: a slow
    reader holds nothing, and one that goes away leaves nothing open.
    """
    after: Position | None = None
    copied = 0
    while True:
        size = export.part if export.most is None else min(export.part, export.most - copied)
        async with database.owner(principal, autocommit=True) as session:
            last = await _position(session, export, after, size)
            part = await copy_csv(session, export.between(after, last), has_header=after is None)
        copied += size
        yield part
        if last is None or copied == export.most:
            return
        after = last


async def copy_csv(session: OwnerSession, statement: Select[Any], *, has_header: bool) -> bytes:
    """The rows that a SELECT of mapped columns finds for the session's principal, as CSV in UTF-8."""
    sql, values = guarded(statement, session.principal)
    connection = await (await session.connection()).get_raw_connection()
    driver: Any = connection.driver_connection
    copied = bytearray()

    async def take(data: bytearray) -> None:
        copied.extend(data)

    try:
        await driver.copy_from_query(sql, *values, output=take, format="csv", header=has_header)
    except asyncpg.PostgresError as error:
        # As SQLAlchemy raises it for its own statements, so that it is answered like theirs.
        raise DBAPIError(None, None, error) from error
    return bytes(copied)


def guarded(statement: Select[Any], principal: Principal | None) -> tuple[str, list[Any]]:
    """A SELECT as the row guard would let it through for this principal: its SQL and the values to bind."""
    narrowed = statement.options(*row_criteria(principal))
    compiled = narrowed.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    return str(compiled), [compiled.params[name] for name in compiled.positiontup or ()]


def cell(text: ColumnElement[Any]) -> ColumnElement[str]:
    """A text as a cell that no spreadsheet takes for a formula: an apostrophe is put before one."""
    is_formula = and_(text.regexp_match(FORMULA), not_(text.regexp_match(NUMBER)))
    return case((is_formula, literal("'") + text), else_=text)


def moment(column: InstrumentedAttribute[Any]) -> ColumnElement[str]:
    """A moment as RFC 3339 to the second; sessions work in UTC."""
    return func.to_char(column, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')


async def _position(
    session: OwnerSession, export: Export, after: Position | None, size: int
) -> Position | None:
    """Where the last of the next `size` rows stands; None when there are fewer."""
    places = export.between(after, None).with_only_columns(export.created_at, export.id)
    row = (await session.execute(places.offset(size - 1).limit(1))).one_or_none()
    return None if row is None else (row[0], row[1])
