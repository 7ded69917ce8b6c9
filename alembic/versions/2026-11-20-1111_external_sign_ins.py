"""The tables of identities and trips to providers."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "external_sign_ins"
down_revision: str | None = "second_factor"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "identities",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_subject", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("is_email_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("last_sign_in_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("identities_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("identities_pkey")),
        sa.UniqueConstraint(
            "provider", "provider_subject", name=op.f("identities_provider_provider_subject_key")
        ),
        sa.UniqueConstraint("user_id", "provider", name=op.f("identities_user_id_provider_key")),
    )
    op.create_table(
        "external_sign_ins",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("organization_id", sa.Uuid(), nullable=True),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("intent", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("code_challenge", sa.Text(), nullable=False),
        sa.Column("redirect_to", sa.Text(), nullable=False),
        sa.Column("is_remembered", sa.Boolean(), nullable=False),
        sa.Column("device_key_hash", sa.LargeBinary(), nullable=True),
        sa.Column("saml_request_id", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("consumed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('oauth', 'oidc', 'saml')", name=op.f("external_sign_ins_kind")),
        sa.CheckConstraint("intent IN ('sign_in', 'link', 'test')", name=op.f("external_sign_ins_intent")),
        sa.CheckConstraint("intent <> 'link' OR user_id IS NOT NULL", name=op.f("external_sign_ins_person")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("external_sign_ins_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("external_sign_ins_pkey")),
    )
    op.create_index("external_sign_ins_expires_at", "external_sign_ins", ["expires_at"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_table("external_sign_ins")
    op.drop_table("identities")
