"""The tables of API keys."""

from collections.abc import Sequence

from alembic import op

revision: str = "api_keys"
down_revision: str | None = "audit"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

API_KEYS = """
CREATE TABLE api_keys (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  created_by uuid NOT NULL,
  name text NOT NULL,
  key_hash bytea NOT NULL,
  hash_version smallint DEFAULT 1 NOT NULL,
  key_prefix text NOT NULL,
  last4 text NOT NULL,
  permissions jsonb DEFAULT '["read"]' NOT NULL,
  rate_limit integer DEFAULT 1000 NOT NULL,
  allowed_ips cidr[] DEFAULT '{}' NOT NULL,
  allowed_origins text[] DEFAULT '{}' NOT NULL,
  expires_at timestamptz,
  is_active boolean DEFAULT true NOT NULL,
  last_used_at timestamptz,
  last_used_ip inet,
  revoked_at timestamptz,
  revoked_by uuid,
  revoke_reason text,
  rotated_from uuid,
  grace_until timestamptz,
  notified_days smallint,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT api_keys_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash),
  CONSTRAINT api_keys_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT api_keys_created_by_fkey FOREIGN KEY (created_by) REFERENCES users (id) ON DELETE CASCADE,
  CONSTRAINT api_keys_revoked_by_fkey FOREIGN KEY (revoked_by) REFERENCES users (id) ON DELETE SET NULL,
  CONSTRAINT api_keys_name CHECK (char_length(name) BETWEEN 1 AND 100),
  CONSTRAINT api_keys_key_hash CHECK (octet_length(key_hash) = 32),
  CONSTRAINT api_keys_key_prefix CHECK (char_length(key_prefix) <= 15),
  CONSTRAINT api_keys_last4 CHECK (char_length(last4) = 4),
  CONSTRAINT api_keys_permissions CHECK (jsonb_typeof(permissions) = 'array'),
  CONSTRAINT api_keys_rate_limit CHECK (rate_limit BETWEEN 1 AND 100000),
  CONSTRAINT api_keys_allowed_ips CHECK (cardinality(allowed_ips) <= 50),
  CONSTRAINT api_keys_allowed_origins CHECK (cardinality(allowed_origins) <= 10),
  CONSTRAINT api_keys_revoke_reason CHECK (revoke_reason IN ('manual', 'rotated', 'member_removed', 'leaked')),
  CONSTRAINT api_keys_revoked_at CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
)
"""

INDEXES = (
    """CREATE UNIQUE INDEX api_keys_rotated_from_key ON api_keys (organization_id, rotated_from)
    WHERE rotated_from IS NOT NULL""",
    "CREATE INDEX api_keys_created_at ON api_keys (organization_id, created_at, id)",
    "CREATE INDEX api_keys_created_by ON api_keys (created_by)",
)


def upgrade() -> None:
    """Create the table."""
    op.execute(API_KEYS)
    for index in INDEXES:
        op.execute(index)


def downgrade() -> None:
    """Drop it."""
    op.drop_table("api_keys")
