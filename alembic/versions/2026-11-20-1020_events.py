"""Tables of events."""

from collections.abc import Sequence

revision: str = "events"
down_revision: str | None = "jobs"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Filled in by the area."""


def downgrade() -> None:
    """Filled in by the area."""
