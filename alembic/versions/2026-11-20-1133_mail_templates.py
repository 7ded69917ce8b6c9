"""The table of texts of mails, and what the queue of mails needs beside it."""

from collections.abc import Sequence

revision: str = "mail_templates"
down_revision: str | None = "inbox"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
