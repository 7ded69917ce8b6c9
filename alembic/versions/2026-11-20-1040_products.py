"""Products, their pictures, and the function that keeps append-only tables as they are."""

from collections.abc import Sequence

from alembic import op

revision: str = "products"
down_revision: str | None = "mail"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FORBID_CHANGE = """
CREATE FUNCTION forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('luneo.purge', true) = 'on' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'append-only' USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
END $$
"""

PRODUCTS = """
CREATE TABLE products (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid,
  name text NOT NULL,
  slug text NOT NULL,
  sku text,
  external_ref text,
  description text,
  category text,
  price bigint NOT NULL,
  currency text NOT NULL,
  tax_category text DEFAULT 'standard' NOT NULL,
  weight_g integer,
  options jsonb DEFAULT '[]' NOT NULL,
  metadata jsonb DEFAULT '{}' NOT NULL,
  status text DEFAULT 'draft' NOT NULL,
  track_inventory boolean DEFAULT true NOT NULL,
  allow_backorder boolean DEFAULT false NOT NULL,
  stock integer DEFAULT 0 NOT NULL,
  reserved integer DEFAULT 0 NOT NULL,
  low_stock_threshold integer,
  lead_time_days integer,
  search tsvector DEFAULT '' NOT NULL,
  version integer DEFAULT 1 NOT NULL,
  deleted_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT products_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT products_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT products_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL,
  CONSTRAINT products_name CHECK (char_length(name) BETWEEN 1 AND 200),
  CONSTRAINT products_slug_format CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND char_length(slug) <= 80),
  CONSTRAINT products_sku_format CHECK (sku ~ '^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$'),
  CONSTRAINT products_external_ref_length CHECK (char_length(external_ref) <= 200),
  CONSTRAINT products_description CHECK (char_length(description) <= 20000),
  CONSTRAINT products_category CHECK (char_length(category) BETWEEN 1 AND 80),
  CONSTRAINT products_price_minor CHECK (price BETWEEN 0 AND 9007199254740991),
  CONSTRAINT products_currency_cur CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT products_tax_category CHECK (tax_category ~ '^[a-z0-9_]{1,40}$'),
  CONSTRAINT products_weight_g CHECK (weight_g BETWEEN 0 AND 1000000),
  CONSTRAINT products_options CHECK (jsonb_typeof(options) = 'array' AND octet_length(options::text) <= 65536),
  CONSTRAINT products_metadata CHECK (jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 16384),
  CONSTRAINT products_status CHECK (status IN ('draft', 'active', 'archived')),
  CONSTRAINT products_stock CHECK (stock BETWEEN -1000000000 AND 1000000000),
  CONSTRAINT products_reserved CHECK (reserved BETWEEN 0 AND 1000000000),
  CONSTRAINT products_low_stock_threshold CHECK (low_stock_threshold BETWEEN 0 AND 1000000000),
  CONSTRAINT products_lead_time_days CHECK (lead_time_days BETWEEN 0 AND 365),
  CONSTRAINT products_never_oversold
    CHECK (NOT track_inventory OR allow_backorder OR (stock >= 0 AND reserved <= stock))
)
"""

PRODUCT_INDEXES = (
    "CREATE UNIQUE INDEX products_sku ON products (organization_id, upper(sku)) WHERE deleted_at IS NULL",
    "CREATE UNIQUE INDEX products_external_ref ON products (organization_id, external_ref) WHERE deleted_at IS NULL",
    "CREATE UNIQUE INDEX products_slug ON products (organization_id, slug) WHERE deleted_at IS NULL",
    "CREATE INDEX products_list ON products (organization_id, created_at DESC, id DESC) WHERE deleted_at IS NULL",
    "CREATE INDEX products_category ON products (organization_id, category, created_at DESC, id DESC)"
    " WHERE deleted_at IS NULL",
    "CREATE INDEX products_search ON products USING gin (search)",
)

# The foreign key of `file_id` is added by the migration that makes the table of files.
PRODUCT_IMAGES = """
CREATE TABLE product_images (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  product_id uuid NOT NULL,
  file_id uuid NOT NULL,
  position integer NOT NULL,
  alt text,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT product_images_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT product_images_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT product_images_organization_id_product_id_fkey FOREIGN KEY (organization_id, product_id)
    REFERENCES products (organization_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT product_images_file UNIQUE (organization_id, file_id),
  CONSTRAINT product_images_position CHECK (position >= 0),
  CONSTRAINT product_images_alt CHECK (char_length(alt) <= 300)
)
"""

PRODUCT_IMAGES_INDEX = (
    "CREATE INDEX product_images_product ON product_images (organization_id, product_id, position, id)"
)


def upgrade() -> None:
    """Make the function first: later migrations put it on their append-only tables."""
    op.execute(FORBID_CHANGE)
    op.execute(PRODUCTS)
    for statement in PRODUCT_INDEXES:
        op.execute(statement)
    op.execute(PRODUCT_IMAGES)
    op.execute(PRODUCT_IMAGES_INDEX)


def downgrade() -> None:
    """Drop what `upgrade` made."""
    op.drop_table("product_images")
    op.drop_table("products")
    op.execute("DROP FUNCTION forbid_change()")
