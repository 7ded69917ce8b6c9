"""The tables of what is heard from Stripe and said to it."""

from collections.abc import Sequence

from alembic import op

revision: str = "stripe"
down_revision: str | None = "api_keys"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STRIPE_EVENTS = """
CREATE TABLE stripe_events (
  id text NOT NULL,
  type text NOT NULL,
  api_version text,
  livemode boolean NOT NULL,
  stripe_created_at timestamptz NOT NULL,
  object_type text,
  object_id text,
  payload jsonb NOT NULL,
  endpoint text NOT NULL,
  deliveries integer DEFAULT 1 NOT NULL,
  organization_id uuid,
  status text DEFAULT 'pending' NOT NULL,
  attempts integer DEFAULT 0 NOT NULL,
  next_attempt_at timestamptz DEFAULT now() NOT NULL,
  last_error text,
  result jsonb,
  received_at timestamptz DEFAULT now() NOT NULL,
  processed_at timestamptz,
  CONSTRAINT stripe_events_pkey PRIMARY KEY (id),
  CONSTRAINT stripe_events_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE SET NULL,
  CONSTRAINT stripe_events_endpoint CHECK (endpoint IN
    ('/api/stripe/webhook', '/api/webhooks/stripe', 'backfill')),
  CONSTRAINT stripe_events_status CHECK (status IN ('pending', 'done', 'skipped', 'dead'))
)
"""

STRIPE_OBJECTS = """
CREATE TABLE stripe_objects (
  stripe_id text NOT NULL,
  object_type text NOT NULL,
  organization_id uuid NOT NULL,
  local_id uuid,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT stripe_objects_pkey PRIMARY KEY (stripe_id),
  CONSTRAINT stripe_objects_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT stripe_objects_stripe_id CHECK (char_length(stripe_id) <= 255)
)
"""

STRIPE_COMMANDS = """
CREATE TABLE stripe_commands (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  kind text NOT NULL,
  subject_type text NOT NULL,
  subject_id uuid NOT NULL,
  params jsonb NOT NULL,
  status text DEFAULT 'pending' NOT NULL,
  attempts integer DEFAULT 0 NOT NULL,
  lease_until timestamptz,
  first_sent_at timestamptz,
  next_attempt_at timestamptz DEFAULT now() NOT NULL,
  error jsonb,
  result_id text,
  result jsonb,
  finished_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT stripe_commands_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT stripe_commands_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT stripe_commands_status CHECK (status IN ('pending', 'sent', 'succeeded', 'failed'))
)
"""

STRIPE_DIFFERENCES = """
CREATE TABLE stripe_differences (
  id uuid NOT NULL,
  kind text NOT NULL,
  stripe_id text NOT NULL,
  organization_id uuid,
  local_ref text,
  expected jsonb NOT NULL,
  actual jsonb NOT NULL,
  explanation text NOT NULL,
  repair text,
  status text DEFAULT 'open' NOT NULL,
  first_seen_at timestamptz DEFAULT now() NOT NULL,
  last_seen_at timestamptz DEFAULT now() NOT NULL,
  closed_at timestamptz,
  closed_by text,
  CONSTRAINT stripe_differences_pkey PRIMARY KEY (id),
  CONSTRAINT stripe_differences_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE SET NULL,
  CONSTRAINT stripe_differences_status CHECK (status IN ('open', 'repaired', 'ignored'))
)
"""

INDEXES = (
    "CREATE INDEX stripe_events_due ON stripe_events (next_attempt_at) WHERE status = 'pending'",
    "CREATE INDEX stripe_events_list ON stripe_events (received_at DESC, id DESC)",
    "CREATE INDEX stripe_events_object ON stripe_events (object_id, stripe_created_at)",
    """
    CREATE INDEX stripe_commands_due ON stripe_commands (next_attempt_at)
    WHERE status IN ('pending', 'sent')
    """,
    "CREATE INDEX stripe_commands_subject ON stripe_commands (organization_id, subject_id, created_at DESC)",
    """
    CREATE UNIQUE INDEX stripe_differences_open ON stripe_differences (kind, stripe_id)
    WHERE status = 'open'
    """,
)

TABLES = ("stripe_differences", "stripe_commands", "stripe_objects", "stripe_events")


def upgrade() -> None:
    """Create the tables."""
    for table in (STRIPE_EVENTS, STRIPE_OBJECTS, STRIPE_COMMANDS, STRIPE_DIFFERENCES):
        op.execute(table)
    for index in INDEXES:
        op.execute(index)


def downgrade() -> None:
    """Drop them."""
    for table in TABLES:
        op.drop_table(table)
