"""The tables of invoices, usage and the revenue ledger."""

from collections.abc import Sequence

revision: str = "accounting"
down_revision: str | None = "billing"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables."""


def downgrade() -> None:
    """Drop them."""
