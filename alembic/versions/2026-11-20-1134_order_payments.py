"""Finds the payments of an order without reading those of its organisation."""

from collections.abc import Sequence

from alembic import op

revision: str = "order_payments"
down_revision: str | None = "mail_templates"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("CREATE INDEX order_payments_order ON order_payments (organization_id, order_id, id)")


def downgrade() -> None:
    op.execute("DROP INDEX order_payments_order")
