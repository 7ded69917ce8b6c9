"""The tables of stored files."""

from collections.abc import Sequence

revision: str = "files"
down_revision: str | None = "teams"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables."""


def downgrade() -> None:
    """Drop them."""
