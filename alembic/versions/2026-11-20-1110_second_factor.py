"""The tables of factors, backup codes and challenges."""

from collections.abc import Sequence

revision: str = "second_factor"
down_revision: str | None = "realtime"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables."""


def downgrade() -> None:
    """Drop them."""
