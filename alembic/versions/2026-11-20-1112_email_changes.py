"""The tables of changes of address."""

from collections.abc import Sequence

revision: str = "email_changes"
down_revision: str | None = "external_sign_ins"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables."""


def downgrade() -> None:
    """Drop them."""
