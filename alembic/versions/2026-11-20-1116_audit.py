"""The tables of the audit log."""

from collections.abc import Sequence

revision: str = "audit"
down_revision: str | None = "files"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables."""


def downgrade() -> None:
    """Drop them."""
