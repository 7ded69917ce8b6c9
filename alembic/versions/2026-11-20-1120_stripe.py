"""The tables of what is heard from Stripe and said to it."""

from collections.abc import Sequence

revision: str = "stripe"
down_revision: str | None = "api_keys"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables."""


def downgrade() -> None:
    """Drop them."""
