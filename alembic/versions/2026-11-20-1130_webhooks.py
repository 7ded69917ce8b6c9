"""The tables of outgoing webhooks."""

from collections.abc import Sequence

revision: str = "webhooks"
down_revision: str | None = "consents"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
