"""The tables of outgoing webhooks."""

from collections.abc import Sequence

from alembic import op

revision: str = "webhooks"
down_revision: str | None = "consents"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = (
    """
    CREATE TABLE webhook_endpoints (
      organization_id uuid NOT NULL,
      id uuid NOT NULL,
      created_by uuid,
      url text NOT NULL,
      url_host text NOT NULL,
      description text,
      events text[] NOT NULL,
      status text NOT NULL DEFAULT 'active',
      disabled_reason text,
      disabled_at timestamptz,
      circuit text NOT NULL DEFAULT 'closed',
      circuit_until timestamptz,
      circuit_step smallint NOT NULL DEFAULT 0,
      failure_count int NOT NULL DEFAULT 0,
      failing_since timestamptz,
      failed_since_count int NOT NULL DEFAULT 0,
      warned_step smallint NOT NULL DEFAULT 0,
      last_success_at timestamptz,
      last_triggered_at timestamptz,
      last_response_status int,
      source text NOT NULL DEFAULT 'user',
      version int NOT NULL DEFAULT 1,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (organization_id, id),
      CONSTRAINT webhook_endpoints_url CHECK (char_length(url) <= 2048),
      CONSTRAINT webhook_endpoints_url_host CHECK (char_length(url_host) <= 255),
      CONSTRAINT webhook_endpoints_description CHECK (char_length(description) <= 200),
      CONSTRAINT webhook_endpoints_events CHECK (cardinality(events) BETWEEN 1 AND 100),
      CONSTRAINT webhook_endpoints_status CHECK (status IN ('active', 'paused', 'disabled')),
      CONSTRAINT webhook_endpoints_disabled_reason
        CHECK (disabled_reason IN ('failing', 'gone', 'plan_limit')),
      CONSTRAINT webhook_endpoints_disabled CHECK ((status = 'disabled') = (disabled_reason IS NOT NULL)),
      CONSTRAINT webhook_endpoints_circuit CHECK (circuit IN ('closed', 'open', 'half_open')),
      CONSTRAINT webhook_endpoints_source CHECK (source IN ('user', 'zapier')),
      CONSTRAINT webhook_endpoints_organization_id_fkey
        FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE CASCADE,
      CONSTRAINT webhook_endpoints_created_by_fkey
        FOREIGN KEY (created_by)
        REFERENCES users (id) ON DELETE SET NULL
    )
    """,
    """
    CREATE TABLE webhook_secrets (
      organization_id uuid NOT NULL,
      id uuid NOT NULL,
      endpoint_id uuid NOT NULL,
      secret_sealed bytea NOT NULL,
      expires_at timestamptz,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CONSTRAINT webhook_secrets_pkey PRIMARY KEY (organization_id, id),
      CONSTRAINT webhook_secrets_organization_id_endpoint_id_fkey
        FOREIGN KEY (organization_id, endpoint_id)
        REFERENCES webhook_endpoints (organization_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE,
      CONSTRAINT webhook_secrets_organization_id_fkey
        FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE webhook_deliveries (
      organization_id uuid NOT NULL,
      id uuid NOT NULL,
      endpoint_id uuid NOT NULL,
      event_id uuid NOT NULL,
      event_type text NOT NULL,
      status text NOT NULL DEFAULT 'pending',
      attempts int NOT NULL DEFAULT 0,
      cycle_attempts smallint NOT NULL DEFAULT 0,
      last_response_status int,
      last_error_code text,
      next_attempt_at timestamptz,
      lease_until timestamptz,
      completed_at timestamptz,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (organization_id, id),
      CONSTRAINT webhook_deliveries_organization_id_endpoint_id_fkey
        FOREIGN KEY (organization_id, endpoint_id)
        REFERENCES webhook_endpoints (organization_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE,
      CONSTRAINT webhook_deliveries_organization_id_endpoint_id_event_id_key UNIQUE (organization_id, endpoint_id, event_id),
      CONSTRAINT webhook_deliveries_event_type CHECK (char_length(event_type) <= 64),
      CONSTRAINT webhook_deliveries_status
        CHECK (status IN ('pending', 'sending', 'retrying', 'held', 'succeeded', 'exhausted', 'cancelled')),
      CONSTRAINT webhook_deliveries_last_error_code CHECK (char_length(last_error_code) <= 40),
      CONSTRAINT webhook_deliveries_organization_id_fkey
        FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE webhook_attempts (
      organization_id uuid NOT NULL,
      id uuid NOT NULL,
      delivery_id uuid,
      endpoint_id uuid NOT NULL,
      number int NOT NULL,
      trigger text NOT NULL,
      started_at timestamptz NOT NULL,
      duration_ms int,
      remote_ip inet,
      response_status int,
      error_code text,
      redirect_target text,
      retry_after_s int,
      response_headers jsonb NOT NULL DEFAULT '{}',
      response_body text,
      CONSTRAINT webhook_attempts_pkey PRIMARY KEY (organization_id, id),
      CONSTRAINT webhook_attempts_organization_id_endpoint_id_fkey
        FOREIGN KEY (organization_id, endpoint_id)
        REFERENCES webhook_endpoints (organization_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE,
      CONSTRAINT webhook_attempts_organization_id_delivery_id_fkey
        FOREIGN KEY (organization_id, delivery_id)
        REFERENCES webhook_deliveries (organization_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE,
      CONSTRAINT webhook_attempts_trigger CHECK (trigger IN ('auto', 'manual', 'ping', 'test')),
      CONSTRAINT webhook_attempts_error_code CHECK (char_length(error_code) <= 40),
      CONSTRAINT webhook_attempts_redirect_target CHECK (char_length(redirect_target) <= 300),
      CONSTRAINT webhook_attempts_response_body CHECK (char_length(response_body) <= 4096),
      CONSTRAINT webhook_attempts_organization_id_fkey
        FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE CASCADE
    )
    """,
)

INDEXES = (
    "CREATE INDEX webhook_endpoints_created_at ON webhook_endpoints (organization_id, created_at, id)",
    "CREATE INDEX webhook_endpoints_status ON webhook_endpoints (organization_id, status)",
    "CREATE INDEX webhook_secrets_endpoint ON webhook_secrets (organization_id, endpoint_id, created_at)",
    "CREATE INDEX webhook_deliveries_busy"
    " ON webhook_deliveries (organization_id, endpoint_id, created_at) WHERE status = 'held' AND next_attempt_at IS NOT NULL",
    "CREATE INDEX webhook_deliveries_created_at ON webhook_deliveries USING brin (created_at)",
    "CREATE INDEX webhook_deliveries_due"
    " ON webhook_deliveries (next_attempt_at) WHERE status IN ('pending', 'sending', 'retrying')",
    "CREATE INDEX webhook_deliveries_held"
    " ON webhook_deliveries (organization_id, endpoint_id, created_at) WHERE status = 'held'",
    "CREATE INDEX webhook_deliveries_list"
    " ON webhook_deliveries (organization_id, endpoint_id, created_at, id)",
    "CREATE INDEX webhook_deliveries_status"
    " ON webhook_deliveries (organization_id, endpoint_id, status, created_at, id)",
    "CREATE INDEX webhook_attempts_delivery ON webhook_attempts (organization_id, delivery_id, number)",
    "CREATE INDEX webhook_attempts_list ON webhook_attempts (organization_id, endpoint_id, started_at, id)",
    "CREATE INDEX webhook_attempts_loose ON webhook_attempts (started_at) WHERE delivery_id IS NULL",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in (*TABLES, *INDEXES):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    for table in ("webhook_attempts", "webhook_deliveries", "webhook_secrets", "webhook_endpoints"):
        op.drop_table(table)
