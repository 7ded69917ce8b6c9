"""Tables of mail: the queue, the local outbox, suppressed addresses."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "mail"
down_revision: str | None = "events"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the three tables."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "emails",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("organization_id", sa.Uuid(), nullable=True),
        sa.Column("to_address_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("to_hash", sa.LargeBinary(), nullable=False),
        sa.Column("template_key", sa.Text(), nullable=False),
        sa.Column("template_version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("variables_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", moment, nullable=True),
        sa.Column("lease_until", moment, nullable=True),
        sa.Column("last_error_code", sa.Text(), nullable=True),
        sa.Column("sent_at", moment, nullable=True),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("char_length(message_id) <= 200", name=op.f("emails_message_id")),
        sa.CheckConstraint("char_length(dedupe_key) <= 160", name=op.f("emails_dedupe_key_length")),
        sa.CheckConstraint(
            "status IN ('queued', 'sending', 'sent', 'delivered', 'bounced', 'complained', 'failed',"
            " 'suppressed', 'expired')",
            name=op.f("emails_status"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("emails_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("emails_organization_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("emails_pkey")),
        sa.UniqueConstraint("message_id", name="emails_message_id_key"),
        sa.UniqueConstraint("dedupe_key", name="emails_dedupe_key"),
    )
    op.create_index("emails_due", "emails", ["status", "next_attempt_at"])
    op.create_index("emails_user", "emails", ["user_id", "created_at"])
    op.create_index("emails_provider", "emails", ["provider", "provider_message_id"])
    op.create_table(
        "mail_outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("to_address", sa.Text(), nullable=False),
        sa.Column("from_address", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("headers", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("mail_outbox_pkey")),
    )
    op.create_index("mail_outbox_newest", "mail_outbox", ["created_at", "id"])
    op.create_table(
        "email_suppressions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "reason IN ('hard_bounce', 'complaint', 'manual')", name=op.f("email_suppressions_reason")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("email_suppressions_pkey")),
        sa.UniqueConstraint("address_hash", name="email_suppressions_address_hash_key"),
    )


def downgrade() -> None:
    """Drop the three tables."""
    op.drop_table("email_suppressions")
    op.drop_table("mail_outbox")
    op.drop_table("emails")
