"""Watches the SQL of every OwnerSession in the suite: no owned table is read or changed without its owner.

The row guard adds the owner where SQLAlchemy sees a class in a statement. It does not see one that stands
only inside a function call, for instance. What is sent to PostgreSQL shows it.
"""

import re
from collections import Counter
from functools import lru_cache
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.orm import ORMExecuteState

import app.models.registry  # noqa: F401 - every table
from app.core.database import OwnerSession
from app.models.base import Base, Owned, Personal

OPTION = "luneo_scoped"


def owner_columns() -> dict[str, str]:
    """The column that names the owner, by table."""
    policies = {Owned: "organization_id", Personal: "user_id"}
    return {
        str(mapper.local_table): column
        for mapper in Base.registry.mappers
        for policy, column in policies.items()
        if issubclass(mapper.class_, policy)
    }


OWNERS = owner_columns()
TABLES = "|".join(sorted(OWNERS))
USE = re.compile(
    rf"(?:\b(?:FROM|JOIN|UPDATE|USING)|,)\s+(?:ONLY\s+)?({TABLES})\b(?!\.)(?:\s+(?:AS\s+)?(\w+))?",
    re.IGNORECASE,
)
NO_ALIAS = {
    "set",
    "where",
    "join",
    "left",
    "right",
    "inner",
    "cross",
    "full",
    "on",
    "order",
    "group",
    "limit",
}
NO_ALIAS |= {
    "union",
    "except",
    "intersect",
    "for",
    "returning",
    "having",
    "using",
    "offset",
    "values",
    "natural",
}


@lru_cache(maxsize=4096)
def unscoped_tables(sql: str) -> list[str]:
    """The uses of owned tables whose owner is not compared with anything."""
    uses: Counter[tuple[str, str]] = Counter()
    for table, alias in USE.findall(sql):
        name = table if not alias or alias.lower() in NO_ALIAS else alias
        uses[(name, OWNERS[table.lower()])] += 1
    return sorted(
        name
        for (name, owner), count in uses.items()
        if len(re.findall(rf"\b{name}\.{owner}\b\s*(?:=|IN\b)|=\s*{name}\.{owner}\b", sql)) < count
        and not re.search(r"WHERE (?:.* AND )?false\b", sql)
    )


@event.listens_for(OwnerSession.sync_session_class, "do_orm_execute")
def _mark(state: ORMExecuteState) -> None:
    state.update_execution_options(**{OPTION: True})


@event.listens_for(Engine, "before_cursor_execute")
def _judge(_connection: Any, _cursor: Any, sql: str, _parameters: Any, context: Any, _many: bool) -> None:
    if context is None or not context.execution_options.get(OPTION) or sql.lstrip().startswith("INSERT"):
        return
    bare = unscoped_tables(sql)
    assert not bare, f"{bare} without an owner in an OwnerSession, add .select_from(Model): {sql}"
