"""The tables of connections to other services."""

from collections.abc import Sequence

from alembic import op

revision: str = "connections"
down_revision: str | None = "webhooks"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INTEGRATIONS = """
CREATE TABLE integrations (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  created_by uuid,
  service text NOT NULL,
  status text NOT NULL,
  auth_mode text NOT NULL,
  external_account_id text NOT NULL,
  account_label text NOT NULL,
  scopes text[] DEFAULT '{}' NOT NULL,
  access_token_sealed bytea,
  refresh_token_sealed bytea,
  token_type text,
  token_expires_at timestamptz,
  token_version integer DEFAULT 1 NOT NULL,
  refresh_lease_until timestamptz,
  refresh_lease_by text,
  refresh_failures integer DEFAULT 0 NOT NULL,
  last_refresh_at timestamptz,
  next_refresh_at timestamptz,
  config jsonb DEFAULT '{}' NOT NULL,
  metadata jsonb DEFAULT '{}' NOT NULL,
  last_sync_at timestamptz,
  error_code text,
  error_message text,
  disconnected_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT integrations_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT integrations_service CHECK (char_length(service) <= 40),
  CONSTRAINT integrations_status CHECK (status IN ('connected', 'error', 'needs_reauth', 'disconnected')),
  CONSTRAINT integrations_auth_mode CHECK (auth_mode IN ('oauth2', 'api_key', 'inbound')),
  CONSTRAINT integrations_external_account_id CHECK (char_length(external_account_id) <= 200),
  CONSTRAINT integrations_account_label CHECK (char_length(account_label) <= 200),
  CONSTRAINT integrations_token_type CHECK (char_length(token_type) <= 20),
  CONSTRAINT integrations_refresh_lease_by CHECK (char_length(refresh_lease_by) <= 64),
  CONSTRAINT integrations_config CHECK (octet_length(config::text) <= 16384),
  CONSTRAINT integrations_error_code CHECK (char_length(error_code) <= 40),
  CONSTRAINT integrations_error_message CHECK (char_length(error_message) <= 300),
  CONSTRAINT integrations_wiped
    CHECK (status <> 'disconnected' OR (access_token_sealed IS NULL AND refresh_token_sealed IS NULL)),
  CONSTRAINT integrations_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT integrations_created_by_fkey FOREIGN KEY (created_by) REFERENCES users (id) ON DELETE SET NULL
)
"""

OAUTH_STATES = """
CREATE TABLE oauth_states (
  id uuid NOT NULL,
  state_hash bytea NOT NULL,
  completion_hash bytea,
  organization_id uuid NOT NULL,
  user_id uuid NOT NULL,
  session_id uuid NOT NULL,
  service text NOT NULL,
  integration_id uuid,
  pkce_verifier_sealed bytea,
  code_sealed bytea,
  redirect_after text NOT NULL,
  scopes text[] NOT NULL,
  params jsonb DEFAULT '{}' NOT NULL,
  expires_at timestamptz NOT NULL,
  returned_at timestamptz,
  used_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT oauth_states_pkey PRIMARY KEY (id),
  CONSTRAINT oauth_states_state_hash_key UNIQUE (state_hash),
  CONSTRAINT oauth_states_completion_hash_key UNIQUE (completion_hash),
  CONSTRAINT oauth_states_state_hash CHECK (octet_length(state_hash) = 32),
  CONSTRAINT oauth_states_completion_hash CHECK (octet_length(completion_hash) = 32),
  CONSTRAINT oauth_states_redirect_after CHECK (char_length(redirect_after) <= 512),
  CONSTRAINT oauth_states_organization_id_integration_id_fkey FOREIGN KEY (organization_id, integration_id)
    REFERENCES integrations (organization_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT oauth_states_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT oauth_states_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
)
"""

INTEGRATION_LOGS = """
CREATE TABLE integration_logs (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  integration_id uuid NOT NULL,
  kind text NOT NULL,
  is_ok boolean NOT NULL,
  http_status integer,
  error_code text,
  duration_ms integer NOT NULL,
  detail jsonb DEFAULT '{}' NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT integration_logs_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT integration_logs_kind
    CHECK (kind IN ('connect', 'refresh', 'test', 'sync', 'disconnect', 'inbound')),
  CONSTRAINT integration_logs_error_code CHECK (char_length(error_code) <= 40),
  CONSTRAINT integration_logs_detail CHECK (octet_length(detail::text) <= 4096),
  CONSTRAINT integration_logs_organization_id_integration_id_fkey FOREIGN KEY (organization_id, integration_id)
    REFERENCES integrations (organization_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT integration_logs_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

INTEGRATION_REVOCATIONS = """
CREATE TABLE integration_revocations (
  id uuid NOT NULL,
  integration_id uuid NOT NULL,
  service text NOT NULL,
  token_sealed bytea NOT NULL,
  attempts integer DEFAULT 0 NOT NULL,
  next_attempt_at timestamptz NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT integration_revocations_pkey PRIMARY KEY (id),
  CONSTRAINT integration_revocations_service CHECK (char_length(service) <= 40)
)
"""

INDEXES = (
    "CREATE UNIQUE INDEX integrations_account_key ON integrations (organization_id, service, external_account_id)"
    " WHERE status <> 'disconnected'",
    "CREATE INDEX integrations_created_at ON integrations (organization_id, created_at, id)",
    "CREATE INDEX integrations_created_by ON integrations (created_by)",
    "CREATE INDEX integrations_failing_due ON integrations (next_refresh_at) WHERE status = 'error'",
    "CREATE INDEX integrations_refresh_due ON integrations (next_refresh_at) WHERE status = 'connected'",
    "CREATE INDEX oauth_states_expires_at ON oauth_states (expires_at)",
    "CREATE INDEX oauth_states_organization ON oauth_states (organization_id, integration_id)",
    "CREATE INDEX oauth_states_user_id ON oauth_states (user_id)",
    "CREATE INDEX integration_logs_created_at ON integration_logs (created_at)",
    "CREATE INDEX integration_logs_list ON integration_logs (organization_id, integration_id, created_at, id)",
    "CREATE INDEX integration_revocations_due ON integration_revocations (next_attempt_at)",
    "CREATE INDEX integration_revocations_integration ON integration_revocations (integration_id)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in (INTEGRATIONS, OAUTH_STATES, INTEGRATION_LOGS, INTEGRATION_REVOCATIONS, *INDEXES):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.drop_table("integration_revocations")
    op.drop_table("integration_logs")
    op.drop_table("oauth_states")
    op.drop_table("integrations")
