"""The tables of API keys."""

from collections.abc import Sequence

revision: str = "api_keys"
down_revision: str | None = "audit"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables."""


def downgrade() -> None:
    """Drop them."""
