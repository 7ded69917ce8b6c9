"""The texts of mails that are written over the files, and what the queue of mails counts its limits by."""

from collections.abc import Sequence

from alembic import op

revision: str = "mail_templates"
down_revision: str | None = "inbox"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TEMPLATES = """
CREATE TABLE email_templates (
  id uuid NOT NULL,
  organization_id uuid,
  key text NOT NULL,
  locale text NOT NULL,
  version integer NOT NULL,
  subject text NOT NULL,
  html text NOT NULL,
  text text NOT NULL,
  is_active boolean NOT NULL,
  created_by uuid,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT email_templates_pkey PRIMARY KEY (id),
  CONSTRAINT email_templates_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT email_templates_created_by_fkey FOREIGN KEY (created_by) REFERENCES users (id) ON DELETE SET NULL,
  CONSTRAINT email_templates_key CHECK (char_length(key) <= 60),
  CONSTRAINT email_templates_locale CHECK (locale IN ('fr', 'en')),
  CONSTRAINT email_templates_version CHECK (version >= 1),
  CONSTRAINT email_templates_subject CHECK (char_length(subject) BETWEEN 1 AND 300),
  CONSTRAINT email_templates_html CHECK (octet_length(html) <= 65536),
  CONSTRAINT email_templates_text CHECK (octet_length(text) <= 32768)
)
"""

WHOSE = "COALESCE(organization_id, '00000000-0000-0000-0000-000000000000'::uuid)"

INDEXES = (
    f"CREATE UNIQUE INDEX email_templates_version_key ON email_templates ({WHOSE}, key, locale, version)",
    f"CREATE UNIQUE INDEX email_templates_active_key ON email_templates ({WHOSE}, key, locale) WHERE is_active",
    "CREATE INDEX email_templates_organization_id ON email_templates (organization_id)",
    "CREATE INDEX email_templates_created_by ON email_templates (created_by)",
)

EMAILS = (
    "ALTER TABLE emails ADD COLUMN admitted_at timestamptz",
    "CREATE INDEX emails_recipient ON emails (to_hash, admitted_at)",
    "CREATE INDEX emails_organization ON emails (organization_id, admitted_at)",
    "CREATE INDEX emails_created_at ON emails (created_at, id)",
    "CREATE INDEX emails_to_wipe ON emails (updated_at) WHERE variables_sealed IS NOT NULL"
    " AND status NOT IN ('queued', 'sending')",
    "CREATE INDEX email_suppressions_created_at ON email_suppressions (created_at, id)",
)

EMAILS_BACK = (
    "DROP INDEX email_suppressions_created_at",
    "DROP INDEX emails_to_wipe",
    "DROP INDEX emails_created_at",
    "DROP INDEX emails_organization",
    "DROP INDEX emails_recipient",
    "ALTER TABLE emails DROP COLUMN admitted_at",
)


def upgrade() -> None:
    """Create the table, and what finds the mails of a recipient, of an organisation and of an age."""
    op.execute(TEMPLATES)
    for statement in (*INDEXES, *EMAILS):
        op.execute(statement)


def downgrade() -> None:
    """Take all of it back."""
    for statement in EMAILS_BACK:
        op.execute(statement)
    op.execute("DROP TABLE email_templates")
