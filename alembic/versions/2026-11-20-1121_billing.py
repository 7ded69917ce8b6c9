"""The tables of customers, checkouts, subscriptions and payment methods."""

from collections.abc import Sequence

revision: str = "billing"
down_revision: str | None = "stripe"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables."""


def downgrade() -> None:
    """Drop them."""
