"""Rows that PostgreSQL writes as JSON: members, order and spelling are those of a response model.

It spares the way through objects, which costs more than all the rest of a list. What is made here is text of
SQL from names that stand in the code; values are parameters of whoever runs it.
"""

from collections.abc import Mapping
from typing import TypeAlias

from sqlalchemy import DateTime, Table

Shape: TypeAlias = Mapping[str, "Shape | None"]
"""Members by name and in order; a member that is a list of objects has their shape."""


def members(shape: Shape, table: Table, alias: str, given: Mapping[str, str] | None = None) -> str:
    """The columns of a SELECT that `row_to_json` turns into an object of this shape.

    Each member is the column of that name, or the expression that is `given` for it; KeyError when it is
    neither.
    """
    found = given or {}
    return ", ".join(
        f"{found[name] if name in found else _member(table, name, inner, alias)} AS {name}"
        for name, inner in shape.items()
    )


def list_of(select: str) -> str:
    """The rows of an ordered SELECT as a list of objects, without any as an empty one."""
    return f"(SELECT coalesce(json_agg(listed), '[]') FROM ({select}) listed)"  # noqa: S608 - names of the code


def moment(sql: str) -> str:
    """A moment as `Timestamp` spells it: UTC with `Z`, and no fraction when there is none."""
    spelt = f"""to_char({sql} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
    return f"replace({spelt}, '.000000Z', 'Z')"


def _member(table: Table, name: str, inner: Shape | None, alias: str) -> str:
    column = f"{alias}.{name}"
    if isinstance(table.c[name].type, DateTime):
        return moment(column)
    return column if inner is None else _objects(column, inner)


def _objects(column: str, shape: Shape) -> str:
    """A stored JSON list of objects with no more than their members, in order."""
    pairs = ", ".join(f"'{name}', stored.value -> '{name}'" for name in shape)
    listed = f"coalesce(json_agg(json_build_object({pairs}) ORDER BY stored.place), '[]')"
    source = f"jsonb_array_elements({column}) WITH ORDINALITY AS stored (value, place)"
    return f"(SELECT {listed} FROM {source})"  # noqa: S608 - names of the code
