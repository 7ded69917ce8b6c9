"""The tables of the audit log, and the triggers that let nobody change what stands in it."""

from collections.abc import Sequence

from alembic import op

revision: str = "audit"
down_revision: str | None = "files"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CONTENT = """
  occurred_at timestamptz NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  action text NOT NULL,
  outcome text NOT NULL,
  actor_kind text NOT NULL,
  actor_id uuid,
  subject_id uuid,
  targets jsonb DEFAULT '[]' NOT NULL,
  context jsonb NOT NULL,
  changes jsonb,
  personal jsonb DEFAULT '[]' NOT NULL,
  CONSTRAINT {table}_outcome CHECK (outcome IN ('success', 'failure', 'denied')),
  CONSTRAINT {table}_actor_kind CHECK (actor_kind IN
    ('user', 'api_key', 'scim', 'staff', 'stripe', 'customer', 'anonymous', 'system')),
  CONSTRAINT {table}_targets CHECK (jsonb_array_length(targets) <= 10),
  CONSTRAINT {table}_personal CHECK (jsonb_array_length(personal) <= 4)
"""
"""What the inbox and the chain say of an event."""

AUDIT_LOGS = f"""
CREATE TABLE audit_logs (
  organization_id uuid NOT NULL,
  seq bigint NOT NULL,
  id uuid NOT NULL,
  prev_hash bytea NOT NULL,
  entry_hash bytea NOT NULL,
  CONSTRAINT audit_logs_pkey PRIMARY KEY (organization_id, seq),
  CONSTRAINT audit_logs_event_key UNIQUE (organization_id, id),
  {CONTENT.format(table="audit_logs")}
)
"""

AUDIT_INBOX = f"""
CREATE TABLE audit_inbox (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  CONSTRAINT audit_inbox_pkey PRIMARY KEY (organization_id, id),
  {CONTENT.format(table="audit_inbox")}
)
"""

AUDIT_HEADS = """
CREATE TABLE audit_heads (
  organization_id uuid NOT NULL,
  seq bigint DEFAULT 0 NOT NULL,
  head_hash bytea NOT NULL,
  base_seq bigint DEFAULT 0 NOT NULL,
  base_hash bytea NOT NULL,
  CONSTRAINT audit_heads_pkey PRIMARY KEY (organization_id),
  CONSTRAINT audit_heads_base_seq CHECK (base_seq BETWEEN 0 AND seq)
)
"""

AUDIT_CHECKPOINTS = """
CREATE TABLE audit_checkpoints (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  seq bigint NOT NULL,
  head_hash bytea NOT NULL,
  signed_at timestamptz NOT NULL,
  key_id text NOT NULL,
  public_key bytea NOT NULL,
  signature bytea NOT NULL,
  CONSTRAINT audit_checkpoints_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT audit_checkpoints_organization_id_seq_key UNIQUE (organization_id, seq)
)
"""

AUDIT_EXPORTS = """
CREATE TABLE audit_exports (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  requested_by uuid NOT NULL,
  format text NOT NULL,
  filters jsonb NOT NULL,
  status text DEFAULT 'queued' NOT NULL,
  row_count integer,
  file_id uuid,
  error_code text,
  expires_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT audit_exports_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT audit_exports_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT audit_exports_requested_by_fkey FOREIGN KEY (requested_by)
    REFERENCES users (id) ON DELETE RESTRICT,
  CONSTRAINT audit_exports_file_id_fkey FOREIGN KEY (file_id) REFERENCES stored_files (id) ON DELETE SET NULL,
  CONSTRAINT audit_exports_format CHECK (format IN ('jsonl', 'csv')),
  CONSTRAINT audit_exports_status CHECK (status IN ('queued', 'running', 'ready', 'failed', 'expired'))
)
"""

SUBJECT_KEYS = """
CREATE TABLE subject_keys (
  subject_id uuid NOT NULL,
  key_sealed bytea,
  destroyed_at timestamptz,
  CONSTRAINT subject_keys_pkey PRIMARY KEY (subject_id),
  CONSTRAINT subject_keys_destroyed_at CHECK ((destroyed_at IS NULL) = (key_sealed IS NOT NULL))
)
"""

INDEXES = (
    "CREATE INDEX audit_logs_action ON audit_logs (organization_id, action, seq DESC)",
    "CREATE INDEX audit_logs_actor ON audit_logs (organization_id, actor_id, seq DESC)",
    "CREATE INDEX audit_logs_occurred_at ON audit_logs (organization_id, occurred_at)",
    "CREATE INDEX audit_logs_subject ON audit_logs (subject_id, occurred_at DESC)",
    "CREATE INDEX audit_logs_targets ON audit_logs USING gin (targets jsonb_path_ops)",
    "CREATE INDEX audit_inbox_order ON audit_inbox (organization_id, occurred_at, id)",
    "CREATE INDEX audit_exports_list ON audit_exports (organization_id, created_at, id)",
    """
    CREATE UNIQUE INDEX audit_exports_running_key ON audit_exports (organization_id)
    WHERE status IN ('queued', 'running')
    """,
    "CREATE INDEX audit_exports_expires_at ON audit_exports (expires_at) WHERE status = 'ready'",
    "CREATE INDEX audit_exports_file_id ON audit_exports (file_id) WHERE file_id IS NOT NULL",
)

NO_CHANGE = """
CREATE FUNCTION audit_no_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The retention job alone sets this, for its own transaction.
    IF TG_OP = 'DELETE' AND current_setting('luneo.audit_prune', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% refuses %', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege', TABLE = TG_TABLE_NAME;
END
$$
"""

KEPT = ("audit_logs", "audit_checkpoints")
"""Tables that only grow."""

TABLES = ("subject_keys", "audit_exports", "audit_checkpoints", "audit_heads", "audit_inbox", "audit_logs")


def upgrade() -> None:
    """Create the tables and the triggers."""
    for table in (AUDIT_LOGS, AUDIT_INBOX, AUDIT_HEADS, AUDIT_CHECKPOINTS, AUDIT_EXPORTS, SUBJECT_KEYS):
        op.execute(table)
    for index in INDEXES:
        op.execute(index)
    op.execute(NO_CHANGE)
    for table in KEPT:
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION audit_no_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION audit_no_change()"
        )


def downgrade() -> None:
    """Drop them."""
    for table in TABLES:
        op.drop_table(table)
    op.execute("DROP FUNCTION audit_no_change()")
