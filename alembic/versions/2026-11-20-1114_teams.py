"""The tables of invitations and transfers."""

from collections.abc import Sequence

from alembic import op

revision: str = "teams"
down_revision: str | None = "plans"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = (
    """
    CREATE TABLE invitations (
      organization_id uuid NOT NULL,
      id uuid NOT NULL,
      email text NOT NULL,
      email_canonical text NOT NULL,
      role text NOT NULL,
      team_role_id uuid,
      role_key text NOT NULL,
      message text,
      invited_by uuid,
      status text NOT NULL DEFAULT 'pending',
      expires_at timestamptz NOT NULL,
      send_count smallint NOT NULL DEFAULT 1,
      last_sent_at timestamptz NOT NULL,
      accepted_at timestamptz,
      accepted_by uuid,
      declined_at timestamptz,
      cancelled_at timestamptz,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CONSTRAINT invitations_pkey PRIMARY KEY (organization_id, id),
      CONSTRAINT invitations_role
        CHECK (role IN ('admin', 'manager', 'designer', 'member', 'viewer', 'custom')),
      CONSTRAINT invitations_status
        CHECK (status IN ('pending', 'accepted', 'declined', 'cancelled', 'expired')),
      CONSTRAINT invitations_team_role_id
        CHECK ((team_role_id IS NOT NULL) = (role = 'custom' AND status = 'pending')),
      CONSTRAINT invitations_message CHECK (char_length(message) <= 500),
      CONSTRAINT invitations_send_count CHECK (send_count > 0),
      CONSTRAINT invitations_accepted_at CHECK ((status = 'accepted') = (accepted_at IS NOT NULL)),
      CONSTRAINT invitations_declined_at CHECK ((status = 'declined') = (declined_at IS NOT NULL)),
      CONSTRAINT invitations_cancelled_at CHECK ((status = 'cancelled') = (cancelled_at IS NOT NULL)),
      CONSTRAINT invitations_organization_id_fkey FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE CASCADE,
      CONSTRAINT invitations_organization_id_team_role_id_fkey FOREIGN KEY (organization_id, team_role_id)
        REFERENCES team_roles (organization_id, id) DEFERRABLE INITIALLY IMMEDIATE,
      CONSTRAINT invitations_invited_by_fkey FOREIGN KEY (invited_by)
        REFERENCES users (id) ON DELETE SET NULL,
      CONSTRAINT invitations_accepted_by_fkey FOREIGN KEY (accepted_by)
        REFERENCES users (id) ON DELETE SET NULL
    )
    """,
    """
    CREATE TABLE ownership_transfers (
      organization_id uuid NOT NULL,
      id uuid NOT NULL,
      from_user_id uuid NOT NULL,
      to_user_id uuid NOT NULL,
      status text NOT NULL,
      expires_at timestamptz NOT NULL,
      closed_at timestamptz,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CONSTRAINT ownership_transfers_pkey PRIMARY KEY (organization_id, id),
      CONSTRAINT ownership_transfers_status
        CHECK (status IN ('pending', 'accepted', 'declined', 'cancelled', 'expired')),
      CONSTRAINT ownership_transfers_closed_at CHECK ((status = 'pending') = (closed_at IS NULL)),
      CONSTRAINT ownership_transfers_organization_id_fkey FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE CASCADE,
      CONSTRAINT ownership_transfers_from_user_id_fkey FOREIGN KEY (from_user_id)
        REFERENCES users (id) ON DELETE RESTRICT,
      CONSTRAINT ownership_transfers_to_user_id_fkey FOREIGN KEY (to_user_id)
        REFERENCES users (id) ON DELETE RESTRICT
    )
    """,
)

INDEXES = (
    "CREATE UNIQUE INDEX invitations_pending_key ON invitations (organization_id, email_canonical)"
    " WHERE status = 'pending'",
    "CREATE INDEX invitations_email_canonical ON invitations (email_canonical) WHERE status = 'pending'",
    "CREATE INDEX invitations_due ON invitations (expires_at) WHERE status = 'pending'",
    "CREATE INDEX invitations_organization_id_created_at_id ON invitations (organization_id, created_at, id)",
    "CREATE UNIQUE INDEX ownership_transfers_pending_key ON ownership_transfers (organization_id)"
    " WHERE status = 'pending'",
    "CREATE INDEX ownership_transfers_due ON ownership_transfers (expires_at) WHERE status = 'pending'",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in (*TABLES, *INDEXES):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TABLE ownership_transfers")
    op.execute("DROP TABLE invitations")
