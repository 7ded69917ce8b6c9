"""The tables of invitations and transfers."""

from collections.abc import Sequence

revision: str = "teams"
down_revision: str | None = "plans"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables."""


def downgrade() -> None:
    """Drop them."""
