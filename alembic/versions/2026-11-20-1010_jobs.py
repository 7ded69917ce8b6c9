"""Tables of jobs: those of the job library, without its trigger that notifies at every insert.

The schema is the one that the installed library ships, since its text is not ours to copy. The comment on
`procrastinate_jobs` keeps the name of the newest schema change in it: when an upgrade of the library brings
newer ones, the migration for it applies those files of `SchemaManager.get_migrations_path()` that sort after the
comment, which on a fresh database are none. A test fails as long as that migration is missing.
"""

from collections.abc import Sequence
from pathlib import Path

from alembic import op
from procrastinate.schema import SchemaManager

revision: str = "jobs"
down_revision: str | None = "accounts"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# A NOTIFY in a business transaction makes all commits of the database wait in one line. Workers poll, and the
# sequencer wakes them. The trigger for cancellations stays: only an operator's cancellation fires it.
WITHOUT_NOTIFY = """
DROP TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1 ON procrastinate_jobs;
DROP FUNCTION procrastinate_notify_queue_job_inserted_v1();
"""

# By name rather than from a list, so that it also takes away what later versions of the library have added.
DROP_ALL = r"""
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT oid::regclass AS name FROM pg_class
                 WHERE relname LIKE 'procrastinate\_%' AND relkind = 'r' AND relnamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('DROP TABLE IF EXISTS %s CASCADE', found.name);
    END LOOP;
    FOR found IN SELECT oid::regprocedure AS name FROM pg_proc
                 WHERE proname LIKE 'procrastinate\_%' AND pronamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('DROP FUNCTION IF EXISTS %s CASCADE', found.name);
    END LOOP;
    FOR found IN SELECT oid::regtype AS name FROM pg_type
                 WHERE typname LIKE 'procrastinate\_%' AND typnamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('DROP TYPE IF EXISTS %s CASCADE', found.name);
    END LOOP;
END
$$
"""


def upgrade() -> None:
    """Create what the library needs, note its version, and take the notifying trigger away."""
    newest = max(path.stem for path in Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    _run(SchemaManager.get_schema())
    _run(WITHOUT_NOTIFY)
    _run(f"COMMENT ON TABLE procrastinate_jobs IS 'schema {newest}'")


def downgrade() -> None:
    """Drop everything of the library."""
    _run(DROP_ALL)


def _run(script: str) -> None:
    """Run a script as it stands: several statements, in which a percent sign is only a percent sign."""
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
