"""Tables of accounts: people, passwords, sessions, e-mailed tokens, organisations, members, roles, profiles."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "accounts"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

OWNER_CHECK = """
CREATE FUNCTION organization_has_owner() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    checked uuid;
BEGIN
    IF TG_TABLE_NAME = 'organizations' THEN
        checked := NEW.id;
    ELSE
        checked := OLD.organization_id;
    END IF;
    IF EXISTS (SELECT FROM organizations WHERE id = checked AND deleted_at IS NULL)
       AND NOT EXISTS (SELECT FROM team_members WHERE organization_id = checked AND role = 'owner') THEN
        RAISE EXCEPTION 'organization % has no owner', checked
            USING ERRCODE = 'check_violation', CONSTRAINT = 'organization_has_owner', TABLE = 'organizations';
    END IF;
    RETURN NULL;
END
$$
"""

OWNER_TRIGGERS = (
    """
    CREATE CONSTRAINT TRIGGER organization_has_owner AFTER INSERT OR UPDATE OF deleted_at ON organizations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION organization_has_owner()
    """,
    """
    CREATE CONSTRAINT TRIGGER organization_has_owner AFTER DELETE OR UPDATE OF role, organization_id ON team_members
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION organization_has_owner()
    """,
)


def upgrade() -> None:
    """Create the tables and the trigger that keeps an owner in every live organisation."""
    _create_people()
    _create_organizations()
    _create_profiles_and_sessions()
    op.execute(OWNER_CHECK)
    for trigger in OWNER_TRIGGERS:
        op.execute(trigger)


def downgrade() -> None:
    """Drop them all."""
    for column in ("last_organization_id", "managed_by_organization_id"):
        op.drop_constraint(f"users_{column}_fkey", "users", type_="foreignkey")
    for table in (
        "sessions",
        "profiles",
        "team_members",
        "team_roles",
        "organizations",
        "sign_in_throttles",
        "one_time_tokens",
        "passwords",
        "users",
    ):
        op.drop_table(table)
    op.execute("DROP FUNCTION organization_has_owner()")


def _create_people() -> None:
    """People, their passwords, e-mailed tokens and counted failures."""
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_canonical", sa.Text(), nullable=False),
        sa.Column("email_confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pending_email", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("mfa_enabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("managed_by_organization_id", sa.Uuid(), nullable=True),
        sa.Column("last_organization_id", sa.Uuid(), nullable=True),
        sa.Column("last_sign_in_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('active', 'suspended', 'pending_erasure', 'erased')", name=op.f("users_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
    )
    op.create_index(
        "users_email_canonical_key",
        "users",
        ["email_canonical"],
        unique=True,
        postgresql_where=sa.text("status <> 'erased'"),
    )
    op.create_table(
        "passwords",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("passwords_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("passwords_pkey")),
    )
    op.create_table(
        "one_time_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("owner_key", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("organization_id", sa.Uuid(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("code_challenge", sa.Text(), nullable=True),
        sa.Column("redirect_to", sa.Text(), nullable=True),
        sa.Column(
            "payload", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("attempt_count", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("consumed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('email_confirm', 'email_change', 'email_change_undo', 'password_reset', 'magic_link', 'step_up', 'auth_code', 'team_invitation', 'ownership_transfer', 'erasure_cancel', 'sso_rollback')",
            name=op.f("one_time_tokens_purpose"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("one_time_tokens_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("one_time_tokens_pkey")),
    )
    op.create_index("one_time_tokens_expires_at", "one_time_tokens", ["expires_at"], unique=False)
    op.create_index(
        "one_time_tokens_live_key",
        "one_time_tokens",
        ["purpose", "owner_key"],
        unique=True,
        postgresql_where=sa.text("consumed_at IS NULL AND voided_at IS NULL"),
    )
    op.create_table(
        "sign_in_throttles",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("failed_count", sa.Integer(), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("sign_in_throttles_pkey")),
    )


def _create_organizations() -> None:
    """Organisations with their roles and members; people refer back to them."""
    op.create_table(
        "organizations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("require_mfa", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("sso_enforced", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("session_max_seconds", sa.Integer(), nullable=True),
        sa.Column("session_idle_seconds", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("purge_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('personal', 'team')", name=op.f("organizations_kind")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 120", name=op.f("organizations_name")),
        sa.CheckConstraint(
            "session_idle_seconds BETWEEN 300 AND 604800", name=op.f("organizations_session_idle_seconds")
        ),
        sa.CheckConstraint(
            "session_max_seconds BETWEEN 3600 AND 2592000", name=op.f("organizations_session_max_seconds")
        ),
        sa.ForeignKeyConstraint(
            ["created_by"], ["users.id"], name=op.f("organizations_created_by_fkey"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("organizations_pkey")),
        sa.UniqueConstraint("slug", name=op.f("organizations_slug_key")),
    )
    op.create_table(
        "team_roles",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("permissions", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "key ~ '^[a-z][a-z0-9_-]{1,31}$' AND key NOT IN ('owner', 'admin', 'manager', 'designer', 'member', 'viewer', 'custom')",
            name=op.f("team_roles_key"),
        ),
        sa.CheckConstraint("char_length(description) <= 300", name=op.f("team_roles_description")),
        sa.CheckConstraint("char_length(name) <= 60", name=op.f("team_roles_name")),
        sa.ForeignKeyConstraint(
            ["created_by"], ["users.id"], name=op.f("team_roles_created_by_fkey"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("team_roles_organization_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("team_roles_pkey")),
        sa.UniqueConstraint("organization_id", "key", name="team_roles_key_key"),
    )
    op.create_table(
        "team_members",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("team_role_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("must_use_sso", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("access_valid_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("invited_by", sa.Uuid(), nullable=True),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_active_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(role = 'custom') = (team_role_id IS NOT NULL)", name=op.f("team_members_team_role_id")
        ),
        sa.CheckConstraint("role <> 'owner' OR status = 'active'", name=op.f("team_members_owner_is_active")),
        sa.CheckConstraint(
            "role IN ('owner', 'admin', 'manager', 'designer', 'member', 'viewer', 'custom')",
            name=op.f("team_members_role"),
        ),
        sa.CheckConstraint(
            "source IN ('signup', 'creation', 'invitation', 'sso', 'scim', 'transfer')",
            name=op.f("team_members_source"),
        ),
        sa.CheckConstraint("status IN ('active', 'suspended')", name=op.f("team_members_status")),
        sa.ForeignKeyConstraint(
            ["invited_by"], ["users.id"], name=op.f("team_members_invited_by_fkey"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "team_role_id"],
            ["team_roles.organization_id", "team_roles.id"],
            name=op.f("team_members_organization_id_team_role_id_fkey"),
            initially="IMMEDIATE",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("team_members_organization_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("team_members_user_id_fkey"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("team_members_pkey")),
        sa.UniqueConstraint("organization_id", "user_id", name="team_members_user_key"),
    )
    op.create_index(
        "team_members_organization_id_team_role_id",
        "team_members",
        ["organization_id", "team_role_id"],
        unique=False,
    )
    op.create_index(
        "team_members_owner_key",
        "team_members",
        ["organization_id"],
        unique=True,
        postgresql_where=sa.text("role = 'owner'"),
    )
    op.create_index("team_members_user_id", "team_members", ["user_id"], unique=False)
    for column in ("last_organization_id", "managed_by_organization_id"):
        op.create_foreign_key(
            f"users_{column}_fkey", "users", "organizations", [column], ["id"], ondelete="SET NULL"
        )


def _create_profiles_and_sessions() -> None:
    """Profiles and signed-in devices."""
    op.create_table(
        "profiles",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=True),
        sa.Column("company", sa.Text(), nullable=True),
        sa.Column("bio", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), server_default="fr", nullable=False),
        sa.Column("timezone", sa.Text(), server_default="Europe/Paris", nullable=False),
        sa.Column("avatar_file_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("locale IN ('fr', 'en')", name=op.f("profiles_locale")),
        sa.CheckConstraint("char_length(bio) <= 2000", name=op.f("profiles_bio")),
        sa.CheckConstraint("char_length(city) <= 120", name=op.f("profiles_city")),
        sa.CheckConstraint("char_length(company) <= 120", name=op.f("profiles_company")),
        sa.CheckConstraint("char_length(full_name) <= 120", name=op.f("profiles_full_name")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("profiles_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("profiles_pkey")),
    )
    op.create_table(
        "sessions",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("auth_method", sa.Text(), nullable=False),
        sa.Column("amr", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("aal", sa.SmallInteger(), nullable=False),
        sa.Column("sso_organization_id", sa.Uuid(), nullable=True),
        sa.Column("refresh_key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("refresh_counter", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("device_key_hash", sa.LargeBinary(), nullable=True),
        sa.Column("ip_address", postgresql.INET(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("device_name", sa.Text(), nullable=True),
        sa.Column("device_type", sa.Text(), nullable=True),
        sa.Column("browser", sa.Text(), nullable=True),
        sa.Column("os", sa.Text(), nullable=True),
        sa.Column("location", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("is_remembered", sa.Boolean(), nullable=False),
        sa.Column("idle_seconds", sa.Integer(), nullable=False),
        sa.Column("last_activity_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("step_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_reason", sa.Text(), nullable=True),
        sa.Column("replaced_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "auth_method IN ('password', 'magic_link', 'oauth', 'sso', 'invitation', 'break_glass')",
            name=op.f("sessions_auth_method"),
        ),
        sa.CheckConstraint(
            "device_type IN ('desktop', 'mobile', 'tablet', 'bot', 'unknown')",
            name=op.f("sessions_device_type"),
        ),
        sa.CheckConstraint("aal IN (1, 2)", name=op.f("sessions_aal")),
        sa.CheckConstraint("char_length(user_agent) <= 512", name=op.f("sessions_user_agent")),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("sessions_organization_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("sessions_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("sessions_pkey")),
    )
    op.create_index(
        "sessions_organization_id",
        "sessions",
        ["organization_id"],
        unique=False,
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_index(
        "sessions_user_id_device_key_hash", "sessions", ["user_id", "device_key_hash"], unique=False
    )
    op.create_index(
        "sessions_user_id_last_activity_at",
        "sessions",
        ["user_id", "last_activity_at"],
        unique=False,
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
