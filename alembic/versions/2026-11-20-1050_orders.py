"""Tables of orders."""

from collections.abc import Sequence

revision: str = "orders"
down_revision: str | None = "products"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Filled in by the area."""


def downgrade() -> None:
    """Filled in by the area."""
