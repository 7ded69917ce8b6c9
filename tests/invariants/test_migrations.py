"""Invariant: the migrations lead to the models and back, in one line, and never wait long for a lock."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Engine, NullPool, create_engine, event, text

from app.core.migrations import LOCK_TIMEOUT, ROOT, alembic_config, downgrade, driver_url, upgrade
from tests.support.cluster import TEMPLATE, Cluster

FILE_NAME = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])-(?:[01]\d|2[0-3])[0-5]\d_[a-z0-9_]+\.py"
)

CATALOGUE = {
    "columns": """
        SELECT table_name || '.' || column_name, data_type, is_nullable, column_default, is_identity
        FROM information_schema.columns WHERE table_schema = 'public'""",
    "constraints": """
        SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid), condeferrable, condeferred
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "functions": """
        SELECT oid::regprocedure::text, md5(pg_get_functiondef(oid))
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind IN ('f', 'p')""",
    "triggers": """
        SELECT tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid), tgenabled
        FROM pg_trigger WHERE NOT tgisinternal""",
    "types": """
        SELECT t.typname, t.typtype, array(SELECT enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid
                                           ORDER BY enumsortorder)
        FROM pg_type t WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd', 'c')""",
    "relations": """
        SELECT relname, relkind, relpersistence, reloptions FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'S', 'p')""",
    "schemas": "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
    "extensions": "SELECT extname FROM pg_extension",
}
"""Everything that a migration can make, by the catalogue that lists it."""

REFERENCE_ROWS = ("order_transitions", "policy_documents")
"""Tables whose rows the migrations write, and write the same each time."""


@pytest.fixture(scope="module")
async def url(cluster: Cluster, worker_name: str) -> Any:
    """A migrated database of this file's own."""
    name = f"luneo_{worker_name}_migrations"
    yield await cluster.clone(name, TEMPLATE)
    await cluster.drop(name)


def scripts() -> list[Script]:
    """The migrations, oldest first."""
    return list(ScriptDirectory.from_config(alembic_config()).walk_revisions())[::-1]


def inventory(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """What the database holds."""
    engine = create_engine(driver_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        return {
            kind: sorted((tuple(map(str, row)) for row in connection.execute(text(query))), key=repr)
            for kind, query in CATALOGUE.items()
        }


def rows(url: str, table: str) -> list[tuple[Any, ...]]:
    engine = create_engine(driver_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(text(f'SELECT * FROM "{table}"')))  # noqa: S608


@contextmanager
def statements_of_migrations() -> Iterator[list[str]]:
    """The SQL of every connection inside the block."""
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_history_when_it_is_read() -> None:
    found = scripts()
    assert len(found) >= 6
    heads = ScriptDirectory.from_config(alembic_config()).get_heads()
    assert len(heads) == 1, (
        f"the migrations have the heads {heads}: give the later one the other as down_revision"
    )
    branches = [script.revision for script in found if script.is_branch_point or script.is_merge_point]
    assert not branches, f"{branches} branch or merge: let each migration follow one other"


def test_files_when_they_are_listed() -> None:
    names = [Path(script.path).name for script in scripts()]
    wrong = [f"{name}: name it YYYY-MM-DD-HHMM_slug.py" for name in names if not FILE_NAME.fullmatch(name)]
    assert not wrong, "\n".join(wrong)
    assert names == sorted(names), "a migration is dated before the one that it follows: date it later"
    unknown = {path.name for path in (ROOT / "alembic" / "versions").glob("*.py")} - set(names)
    assert not unknown, f"{unknown} are not part of the history"


def test_models_when_they_are_compared_with_a_migrated_database(url: str) -> None:
    """Fails with the difference: run `make migration m="…"` and read what it wrote."""
    command.check(alembic_config(url))


def test_schema_when_it_goes_down_and_up_again(url: str) -> None:
    before = inventory(url)
    reference = {table: rows(url, table) for table in REFERENCE_ROWS}
    assert len(before["columns"]) > 200
    assert all(reference.values())

    downgrade(url, "base")
    left = inventory(url)
    for kind in ("schemas", "extensions"):
        assert left.pop(kind) == before[kind]
    left = {kind: [row for row in found if "alembic_version" not in str(row)] for kind, found in left.items()}
    behind = {kind: found for kind, found in left.items() if found}
    assert not behind, f"downgrade() leaves behind {behind}: drop it in the migration that makes it"

    upgrade(url)
    after = inventory(url)
    for kind, wanted in before.items():
        assert after[kind] == wanted, f"{kind} are not the same the second time"
    assert {table: rows(url, table) for table in REFERENCE_ROWS} == reference


def test_lock_timeout_when_migrations_run(url: str) -> None:
    with statements_of_migrations() as seen:
        downgrade(url, "-1")
        upgrade(url)
    changes = [number for number, sql in enumerate(seen) if re.match(r"\s*(?:CREATE|ALTER|DROP)\b", sql)]
    limits = [number for number, sql in enumerate(seen) if "lock_timeout" in sql]
    assert len(changes) >= 2
    assert len(limits) == 2, "each run sets lock_timeout once, in alembic/env.py"
    assert limits[0] < changes[0]
    assert all(f"'{LOCK_TIMEOUT}'" in seen[number] for number in limits)
    assert not [script.path for script in scripts() if "lock_timeout" in Path(script.path).read_text()]
