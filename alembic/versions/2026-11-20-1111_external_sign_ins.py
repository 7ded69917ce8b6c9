"""The tables of identities and trips to providers."""

from collections.abc import Sequence

revision: str = "external_sign_ins"
down_revision: str | None = "second_factor"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables."""


def downgrade() -> None:
    """Drop them."""
