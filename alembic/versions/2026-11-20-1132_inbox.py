"""The tables of notifications, preferences, their history and push."""

from collections.abc import Sequence

from alembic import op

revision: str = "inbox"
down_revision: str | None = "connections"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NOTIFICATIONS = """
CREATE TABLE notifications (
  user_id uuid NOT NULL,
  id uuid NOT NULL,
  organization_id uuid,
  event_id uuid,
  type text NOT NULL,
  category text NOT NULL,
  event_type text,
  title text NOT NULL,
  message text NOT NULL,
  action_url text,
  action_label text,
  is_read boolean DEFAULT false NOT NULL,
  read_at timestamptz,
  dedupe_key text NOT NULL,
  metadata jsonb DEFAULT '{}' NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT notifications_pkey PRIMARY KEY (id),
  CONSTRAINT notifications_user_id_dedupe_key_key UNIQUE (user_id, dedupe_key),
  CONSTRAINT notifications_type CHECK (type IN ('info', 'success', 'warning', 'error')),
  CONSTRAINT notifications_category CHECK (char_length(category) <= 24),
  CONSTRAINT notifications_event_type CHECK (char_length(event_type) <= 64),
  CONSTRAINT notifications_title CHECK (char_length(title) BETWEEN 1 AND 200),
  CONSTRAINT notifications_message CHECK (char_length(message) <= 10000),
  CONSTRAINT notifications_action_url CHECK (char_length(action_url) <= 512),
  CONSTRAINT notifications_action_label CHECK (char_length(action_label) <= 60),
  CONSTRAINT notifications_dedupe_key CHECK (char_length(dedupe_key) <= 120),
  CONSTRAINT notifications_read_at CHECK (is_read = (read_at IS NOT NULL)),
  CONSTRAINT notifications_metadata
    CHECK (jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 8192),
  CONSTRAINT notifications_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
  CONSTRAINT notifications_organization_id_fkey
    FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE
)
"""

NOTIFICATION_PREFERENCES = """
CREATE TABLE notification_preferences (
  user_id uuid NOT NULL,
  id uuid NOT NULL,
  category text NOT NULL,
  channel text NOT NULL,
  is_enabled boolean NOT NULL,
  digest text DEFAULT 'off' NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT notification_preferences_pkey PRIMARY KEY (id),
  CONSTRAINT notification_preferences_user_id_category_channel_key UNIQUE (user_id, category, channel),
  CONSTRAINT notification_preferences_category CHECK (char_length(category) <= 24),
  CONSTRAINT notification_preferences_channel CHECK (channel IN ('in_app', 'email', 'push')),
  CONSTRAINT notification_preferences_digest CHECK (digest IN ('off', 'hourly', 'daily')),
  CONSTRAINT notification_preferences_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
)
"""

NOTIFICATION_DELIVERIES = """
CREATE TABLE notification_deliveries (
  user_id uuid NOT NULL,
  id uuid NOT NULL,
  notification_id uuid,
  event_id uuid,
  category text NOT NULL,
  channel text NOT NULL,
  state text NOT NULL,
  reason text,
  email_id uuid,
  provider text,
  title text NOT NULL,
  dedupe_key text NOT NULL,
  completed_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT notification_deliveries_pkey PRIMARY KEY (id),
  CONSTRAINT notification_deliveries_user_id_dedupe_key_key UNIQUE (user_id, dedupe_key),
  CONSTRAINT notification_deliveries_category CHECK (char_length(category) <= 24),
  CONSTRAINT notification_deliveries_channel CHECK (channel IN ('in_app', 'email', 'push')),
  CONSTRAINT notification_deliveries_state
    CHECK (state IN ('queued', 'sent', 'delivered', 'opened', 'bounced', 'failed', 'suppressed', 'skipped')),
  CONSTRAINT notification_deliveries_reason CHECK (char_length(reason) <= 40),
  CONSTRAINT notification_deliveries_provider CHECK (char_length(provider) <= 20),
  CONSTRAINT notification_deliveries_title CHECK (char_length(title) <= 200),
  CONSTRAINT notification_deliveries_dedupe_key CHECK (char_length(dedupe_key) <= 160),
  CONSTRAINT notification_deliveries_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
  CONSTRAINT notification_deliveries_notification_id_fkey
    FOREIGN KEY (notification_id) REFERENCES notifications (id) ON DELETE SET NULL,
  CONSTRAINT notification_deliveries_email_id_fkey
    FOREIGN KEY (email_id) REFERENCES emails (id) ON DELETE SET NULL
)
"""

PUSH_SUBSCRIPTIONS = """
CREATE TABLE push_subscriptions (
  user_id uuid NOT NULL,
  id uuid NOT NULL,
  session_id uuid,
  endpoint_hash bytea NOT NULL,
  endpoint_sealed bytea NOT NULL,
  p256dh text NOT NULL,
  auth_sealed bytea NOT NULL,
  user_agent text,
  failures integer DEFAULT 0 NOT NULL,
  last_ok_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT push_subscriptions_pkey PRIMARY KEY (id),
  CONSTRAINT push_subscriptions_endpoint_hash_key UNIQUE (endpoint_hash),
  CONSTRAINT push_subscriptions_endpoint_hash CHECK (octet_length(endpoint_hash) = 32),
  CONSTRAINT push_subscriptions_p256dh CHECK (char_length(p256dh) <= 120),
  CONSTRAINT push_subscriptions_user_agent CHECK (char_length(user_agent) <= 300),
  CONSTRAINT push_subscriptions_failures CHECK (failures >= 0),
  CONSTRAINT push_subscriptions_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
  CONSTRAINT push_subscriptions_session_id_fkey
    FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE SET NULL
)
"""

INDEXES = (
    "CREATE INDEX notifications_created_at ON notifications (created_at)",
    "CREATE INDEX notifications_newest ON notifications (user_id, created_at, id)",
    "CREATE INDEX notifications_organization ON notifications (organization_id, user_id)",
    "CREATE INDEX notifications_unread ON notifications (user_id, created_at, id) WHERE NOT is_read",
    "CREATE INDEX notification_deliveries_created_at ON notification_deliveries (created_at)",
    "CREATE INDEX notification_deliveries_email_id ON notification_deliveries (email_id)"
    " WHERE email_id IS NOT NULL",
    "CREATE INDEX notification_deliveries_newest ON notification_deliveries (user_id, created_at, id)",
    "CREATE INDEX notification_deliveries_notification_id ON notification_deliveries (notification_id)"
    " WHERE notification_id IS NOT NULL",
    "CREATE INDEX push_subscriptions_newest ON push_subscriptions (user_id, created_at, id)",
    "CREATE INDEX push_subscriptions_session_id ON push_subscriptions (session_id)"
    " WHERE session_id IS NOT NULL",
)

FUNCTION = """
CREATE FUNCTION sessions_end_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A device that was signed out is not written to any more, whichever way its session ended.
    DELETE FROM push_subscriptions WHERE session_id = NEW.id;
    RETURN NULL;
END
$$
"""

TRIGGER = """
CREATE TRIGGER sessions_end_push AFTER UPDATE OF revoked_at ON sessions
  FOR EACH ROW WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL)
  EXECUTE FUNCTION sessions_end_push()
"""


def upgrade() -> None:
    """Create the tables, and what ends the push messages of a device that was signed out."""
    for statement in (
        NOTIFICATIONS,
        NOTIFICATION_PREFERENCES,
        NOTIFICATION_DELIVERIES,
        PUSH_SUBSCRIPTIONS,
        *INDEXES,
        FUNCTION,
        TRIGGER,
    ):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TRIGGER sessions_end_push ON sessions")
    op.execute("DROP FUNCTION sessions_end_push()")
    op.drop_table("push_subscriptions")
    op.drop_table("notification_deliveries")
    op.drop_table("notification_preferences")
    op.drop_table("notifications")
