"""Says why the payment provider did not take over who pays."""

from collections.abc import Sequence

from alembic import op

revision: str = "customer_sync"
down_revision: str | None = "order_payments"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the column. Tax numbers were never told so far, so that their customers are not in step."""
    op.execute("ALTER TABLE billing_customers ADD COLUMN sync_error text")
    op.execute("UPDATE billing_customers SET synced_at = NULL WHERE tax_id IS NOT NULL")


def downgrade() -> None:
    """Drop the column."""
    op.execute("ALTER TABLE billing_customers DROP COLUMN sync_error")
