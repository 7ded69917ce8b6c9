"""The table of tickets for streams."""

from collections.abc import Sequence

from alembic import op

revision: str = "realtime"
down_revision: str | None = "orders"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TICKETS = """
CREATE TABLE realtime_tickets (
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  session_id uuid NOT NULL,
  organization_id uuid NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  CONSTRAINT realtime_tickets_pkey PRIMARY KEY (id)
)
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(TICKETS)


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE realtime_tickets")
