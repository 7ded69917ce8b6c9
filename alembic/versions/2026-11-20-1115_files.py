"""The tables of stored files, and the triggers that keep deletions and usage in step with them."""

from collections.abc import Sequence

from alembic import op

revision: str = "files"
down_revision: str | None = "teams"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = (
    """
    CREATE TABLE stored_files (
      id uuid NOT NULL,
      organization_id uuid,
      user_id uuid,
      bucket text NOT NULL,
      storage_key text NOT NULL,
      sha256 text NOT NULL,
      size_bytes bigint NOT NULL,
      media_type text NOT NULL,
      file_name text NOT NULL,
      width integer,
      height integer,
      is_public boolean DEFAULT false NOT NULL,
      uploaded_by uuid,
      attached_at timestamptz,
      created_at timestamptz DEFAULT now() NOT NULL,
      CONSTRAINT stored_files_pkey PRIMARY KEY (id),
      CONSTRAINT stored_files_organization_id_id_key UNIQUE (organization_id, id),
      CONSTRAINT stored_files_organization_id_fkey FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE CASCADE,
      CONSTRAINT stored_files_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
      CONSTRAINT stored_files_uploaded_by_fkey FOREIGN KEY (uploaded_by) REFERENCES users (id) ON DELETE SET NULL,
      CONSTRAINT stored_files_bucket CHECK (bucket IN ('avatars', 'covers', 'salon-avatars', 'attachments',
        'brand-logos', 'product-images', 'option-files', 'design-assets', 'design-outputs', 'cliparts',
        'thumbnails', 'ar-models', 'ar-posters', 'exports', 'documents', 'starter')),
      CONSTRAINT stored_files_owner
        CHECK (num_nonnulls(organization_id, user_id) = CASE WHEN bucket = 'starter' THEN 0 ELSE 1 END),
      CONSTRAINT stored_files_storage_key CHECK (char_length(storage_key) <= 200
        AND storage_key ~ '^[a-z0-9-]+(/[a-z0-9-]+)*/[a-z0-9-]+\\.[a-z0-9]{1,8}$'),
      CONSTRAINT stored_files_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
      CONSTRAINT stored_files_size_bytes CHECK (size_bytes > 0),
      CONSTRAINT stored_files_media_type CHECK (char_length(media_type) <= 100),
      CONSTRAINT stored_files_file_name CHECK (char_length(file_name) BETWEEN 1 AND 200),
      CONSTRAINT stored_files_width CHECK (width > 0),
      CONSTRAINT stored_files_height CHECK (height > 0)
    )
    """,
    """
    CREATE TABLE storage_deletions (
      storage_key text NOT NULL,
      due_at timestamptz NOT NULL,
      claimed_at timestamptz,
      attempt_count integer DEFAULT 0 NOT NULL,
      last_error text,
      CONSTRAINT storage_deletions_pkey PRIMARY KEY (storage_key),
      CONSTRAINT storage_deletions_last_error CHECK (char_length(last_error) <= 500)
    )
    """,
    """
    CREATE TABLE storage_usage (
      organization_id uuid NOT NULL,
      bytes_used bigint DEFAULT 0 NOT NULL,
      file_count bigint DEFAULT 0 NOT NULL,
      updated_at timestamptz DEFAULT now() NOT NULL,
      CONSTRAINT storage_usage_pkey PRIMARY KEY (organization_id),
      CONSTRAINT storage_usage_organization_id_fkey FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE CASCADE,
      CONSTRAINT storage_usage_bytes_used CHECK (bytes_used >= 0),
      CONSTRAINT storage_usage_file_count CHECK (file_count >= 0)
    )
    """,
)

INDEXES = (
    "CREATE INDEX stored_files_storage_key ON stored_files (storage_key)",
    "CREATE INDEX stored_files_user_id ON stored_files (user_id)",
    "CREATE INDEX stored_files_organization_id_created_at_id ON stored_files (organization_id, created_at, id)",
    "CREATE INDEX stored_files_unattached ON stored_files (created_at) WHERE attached_at IS NULL",
    "CREATE INDEX storage_deletions_due_at ON storage_deletions (due_at)",
    "CREATE INDEX profiles_avatar_file_id ON profiles (avatar_file_id) WHERE avatar_file_id IS NOT NULL",
)

AVATAR = """
ALTER TABLE profiles ADD CONSTRAINT profiles_avatar_file_id_fkey FOREIGN KEY (avatar_file_id)
  REFERENCES stored_files (id) ON DELETE SET NULL DEFERRABLE INITIALLY IMMEDIATE
"""

FUNCTIONS = (
    # A row takes over the object that its lease protected. While a claimed object is being deleted, none may.
    """
    CREATE FUNCTION stored_files_take_key() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM storage_deletions WHERE storage_key = NEW.storage_key AND claimed_at IS NULL;
        IF NOT FOUND AND EXISTS (SELECT FROM storage_deletions WHERE storage_key = NEW.storage_key) THEN
            RAISE EXCEPTION 'the object % is being deleted', NEW.storage_key
                USING ERRCODE = '55006', CONSTRAINT = 'stored_files_key_busy', TABLE = 'stored_files';
        END IF;
        RETURN NEW;
    END
    $$
    """,
    """
    CREATE FUNCTION stored_files_count() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO storage_usage AS u (organization_id, bytes_used, file_count)
        VALUES (NEW.organization_id, NEW.size_bytes, 1)
        ON CONFLICT (organization_id) DO UPDATE
        SET bytes_used = u.bytes_used + NEW.size_bytes, file_count = u.file_count + 1, updated_at = now();
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION stored_files_give_back() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE storage_usage
        SET bytes_used = greatest(bytes_used - OLD.size_bytes, 0), file_count = greatest(file_count - 1, 0),
            updated_at = now()
        WHERE organization_id = OLD.organization_id;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION stored_files_leave_key() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO storage_deletions AS d (storage_key, due_at)
        VALUES (OLD.storage_key, now() + interval '24 hours')
        ON CONFLICT (storage_key) DO UPDATE SET due_at = excluded.due_at WHERE d.claimed_at IS NULL;
        RETURN NULL;
    END
    $$
    """,
)

COUNTED = """(
    'attachments', 'brand-logos', 'product-images', 'option-files', 'design-assets', 'design-outputs', 'cliparts',
    'thumbnails', 'ar-models', 'ar-posters')"""

TRIGGERS = (
    "CREATE TRIGGER stored_files_take_key BEFORE INSERT ON stored_files"
    " FOR EACH ROW EXECUTE FUNCTION stored_files_take_key()",
    "CREATE TRIGGER stored_files_count AFTER INSERT ON stored_files FOR EACH ROW"
    f" WHEN (NEW.bucket IN {COUNTED}) EXECUTE FUNCTION stored_files_count()",
    "CREATE TRIGGER stored_files_give_back AFTER DELETE ON stored_files FOR EACH ROW"
    f" WHEN (OLD.bucket IN {COUNTED}) EXECUTE FUNCTION stored_files_give_back()",
    "CREATE TRIGGER stored_files_leave_key AFTER DELETE ON stored_files"
    " FOR EACH ROW EXECUTE FUNCTION stored_files_leave_key()",
)


def upgrade() -> None:
    """Create the tables and their triggers, and let portraits be files."""
    for statement in (*TABLES, *INDEXES, AVATAR, *FUNCTIONS, *TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("ALTER TABLE profiles DROP CONSTRAINT profiles_avatar_file_id_fkey")
    op.execute("DROP INDEX profiles_avatar_file_id")
    op.execute("UPDATE profiles SET avatar_file_id = NULL")
    for table in ("storage_usage", "storage_deletions", "stored_files"):
        op.execute(f"DROP TABLE {table}")
    for name in ("take_key", "count", "give_back", "leave_key"):
        op.execute(f"DROP FUNCTION stored_files_{name}()")
