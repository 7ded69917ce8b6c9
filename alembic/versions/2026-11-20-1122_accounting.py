"""The tables of invoices, usage and the revenue ledger."""

from collections.abc import Sequence

from alembic import op

revision: str = "accounting"
down_revision: str | None = "billing"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INVOICES = """
CREATE TABLE invoices (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid,
  kind text NOT NULL,
  status text NOT NULL,
  invoice_number text,
  order_id uuid,
  refund_id uuid,
  credited_invoice_id uuid,
  currency text NOT NULL,
  subtotal bigint NOT NULL,
  tax bigint DEFAULT 0 NOT NULL,
  amount bigint NOT NULL,
  amount_paid bigint DEFAULT 0 NOT NULL,
  amount_remaining bigint DEFAULT 0 NOT NULL,
  plan_name text,
  billing_period text,
  period_start timestamptz,
  period_end timestamptz,
  attempt_count integer DEFAULT 0 NOT NULL,
  last_payment_error text,
  due_at timestamptz,
  finalized_at timestamptz,
  paid_at timestamptz,
  parties jsonb DEFAULT '{}' NOT NULL,
  tax_groups jsonb DEFAULT '[]' NOT NULL,
  stripe_invoice_id text,
  hosted_invoice_url text,
  pdf_file_id uuid,
  synced_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT invoices_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT invoices_kind CHECK (kind IN ('subscription', 'order', 'credit_note')),
  CONSTRAINT invoices_status CHECK (status IN ('draft', 'open', 'paid', 'void', 'uncollectible')),
  CONSTRAINT invoices_currency_cur CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT invoices_subtotal_minor CHECK (subtotal BETWEEN 0 AND 9007199254740991),
  CONSTRAINT invoices_tax_minor CHECK (tax BETWEEN 0 AND 9007199254740991),
  CONSTRAINT invoices_amount_minor CHECK (amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT invoices_amount_paid_minor CHECK (amount_paid BETWEEN 0 AND 9007199254740991),
  CONSTRAINT invoices_amount_remaining_minor CHECK (amount_remaining BETWEEN 0 AND 9007199254740991),
  CONSTRAINT invoices_number UNIQUE (organization_id, kind, invoice_number),
  CONSTRAINT invoices_stripe UNIQUE (organization_id, stripe_invoice_id),
  CONSTRAINT invoices_refund UNIQUE (organization_id, refund_id),
  CONSTRAINT invoices_numbered CHECK (status = 'draft' OR invoice_number IS NOT NULL),
  CONSTRAINT invoices_own CHECK (kind <> 'order' OR stripe_invoice_id IS NULL),
  CONSTRAINT invoices_organization_id_credited_invoice_id_fkey
      FOREIGN KEY (organization_id, credited_invoice_id)
      REFERENCES invoices (organization_id, id) DEFERRABLE INITIALLY IMMEDIATE
)
"""

INVOICE_LINES = """
CREATE TABLE invoice_lines (
  organization_id uuid NOT NULL,
  invoice_id uuid NOT NULL,
  position integer NOT NULL,
  description text NOT NULL,
  quantity integer NOT NULL,
  unit_amount bigint NOT NULL,
  discount_amount bigint DEFAULT 0 NOT NULL,
  tax_rate_bps integer DEFAULT 0 NOT NULL,
  tax_amount bigint DEFAULT 0 NOT NULL,
  total_amount bigint NOT NULL,
  CONSTRAINT invoice_lines_pkey PRIMARY KEY (organization_id, invoice_id, position),
  CONSTRAINT invoice_lines_unit_amount_minor
      CHECK (unit_amount BETWEEN -9007199254740991 AND 9007199254740991),
  CONSTRAINT invoice_lines_discount_amount_minor CHECK (discount_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT invoice_lines_tax_amount_minor
      CHECK (tax_amount BETWEEN -9007199254740991 AND 9007199254740991),
  CONSTRAINT invoice_lines_total_amount_minor
      CHECK (total_amount BETWEEN -9007199254740991 AND 9007199254740991),
  CONSTRAINT invoice_lines_organization_id_invoice_id_fkey
      FOREIGN KEY (organization_id, invoice_id)
      REFERENCES invoices (organization_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE
)
"""

USAGE_EVENTS = """
CREATE TABLE usage_events (
  organization_id uuid NOT NULL,
  idempotency_key text NOT NULL,
  metric text NOT NULL,
  period text NOT NULL,
  quantity bigint NOT NULL,
  subject text,
  status text DEFAULT 'counted' NOT NULL,
  expires_at timestamptz,
  occurred_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT usage_events_pkey PRIMARY KEY (organization_id, idempotency_key),
  CONSTRAINT usage_events_idempotency_key CHECK (char_length(idempotency_key) BETWEEN 1 AND 255),
  CONSTRAINT usage_events_quantity CHECK (quantity BETWEEN 1 AND 1000000000),
  CONSTRAINT usage_events_status CHECK (status IN ('reserved', 'counted', 'released')),
  CONSTRAINT usage_events_expiry CHECK ((status = 'reserved') = (expires_at IS NOT NULL)),
  CONSTRAINT usage_events_organization_id_fkey
      FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE
)
"""

USAGE_METRICS = """
CREATE TABLE usage_metrics (
  organization_id uuid NOT NULL,
  metric_type text NOT NULL,
  period text NOT NULL,
  value bigint DEFAULT 0 NOT NULL,
  hard_limit bigint,
  notified_pct smallint DEFAULT 0 NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT usage_metrics_pkey PRIMARY KEY (organization_id, metric_type, period),
  CONSTRAINT usage_metrics_value CHECK (value >= 0),
  CONSTRAINT usage_metrics_organization_id_fkey
      FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE
)
"""

REVENUE = """
CREATE TABLE revenue_tracking (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid,
  source text NOT NULL,
  account text NOT NULL,
  entry_type text NOT NULL,
  amount bigint NOT NULL,
  currency text NOT NULL,
  description text,
  source_ref text NOT NULL,
  stripe_payment_intent_id text,
  order_id uuid,
  invoice_id uuid,
  metadata jsonb DEFAULT '{}' NOT NULL,
  recorded_at timestamptz NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT revenue_tracking_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT revenue_tracking_source
      CHECK (source IN ('order', 'design_sale', 'custom', 'subscription', 'api_usage')),
  CONSTRAINT revenue_tracking_account
      CHECK (account =
      CASE WHEN source IN ('subscription', 'api_usage') THEN 'platform' ELSE 'merchant' END),
  CONSTRAINT revenue_tracking_entry_type
      CHECK (entry_type IN
      ('charge', 'refund', 'refund_reversal', 'dispute', 'dispute_reversal', 'fee', 'adjustment')),
  CONSTRAINT revenue_tracking_amount_minor CHECK (amount BETWEEN -9007199254740991 AND 9007199254740991),
  CONSTRAINT revenue_tracking_amount CHECK (amount <> 0),
  CONSTRAINT revenue_tracking_currency_cur CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT revenue_tracking_once UNIQUE (organization_id, entry_type, source_ref)
)
"""

INDEXES = (
    "CREATE INDEX invoices_list ON invoices (organization_id, created_at DESC, id DESC)",
    "CREATE UNIQUE INDEX invoices_one_per_order ON invoices (organization_id, order_id) WHERE kind = 'order'",
    "CREATE INDEX usage_events_expired ON usage_events (expires_at) WHERE status = 'reserved'",
    "CREATE INDEX revenue_tracking_list ON revenue_tracking (organization_id, recorded_at DESC, id DESC)",
)

KEEP_INVOICE = """
CREATE FUNCTION keep_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  is_kept boolean := OLD.status <> 'draft';
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.stripe_invoice_id IS NULL THEN
    is_kept := is_kept AND to_jsonb(NEW) - 'pdf_file_id' - 'updated_at'
      <> to_jsonb(OLD) - 'pdf_file_id' - 'updated_at';
  ELSIF TG_OP = 'UPDATE' THEN
    is_kept := is_kept AND (NEW.kind, NEW.invoice_number, NEW.currency, NEW.subtotal, NEW.tax, NEW.amount)
      IS DISTINCT FROM (OLD.kind, OLD.invoice_number, OLD.currency, OLD.subtotal, OLD.tax, OLD.amount);
  END IF;
  IF is_kept THEN
    RAISE EXCEPTION 'a final document' USING ERRCODE = 'check_violation', CONSTRAINT = 'invoices_final';
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$
"""
"""Of a mirror, what Stripe itself cannot change any more; of an own document, all but where its file is."""

KEEP_INVOICE_LINE = """
CREATE FUNCTION keep_invoice_line() RETURNS trigger LANGUAGE plpgsql STABLE AS $$
DECLARE
  line invoice_lines := CASE TG_OP WHEN 'INSERT' THEN NEW ELSE OLD END;
BEGIN
  IF EXISTS (SELECT FROM invoices i WHERE i.organization_id = line.organization_id
             AND i.id = line.invoice_id AND i.status <> 'draft' AND i.stripe_invoice_id IS NULL) THEN
    RAISE EXCEPTION 'a final document' USING ERRCODE = 'check_violation', CONSTRAINT = 'invoices_final';
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$
"""
"""STABLE, so that it sees what was there before its statement: lines come in with their document, or never."""

TRIGGERS = (
    "CREATE TRIGGER invoices_final BEFORE UPDATE OR DELETE ON invoices"
    " FOR EACH ROW EXECUTE FUNCTION keep_invoice()",
    "CREATE TRIGGER invoice_lines_final BEFORE INSERT OR UPDATE OR DELETE ON invoice_lines"
    " FOR EACH ROW EXECUTE FUNCTION keep_invoice_line()",
    "CREATE TRIGGER revenue_tracking_append_only BEFORE UPDATE OR DELETE ON revenue_tracking"
    " FOR EACH ROW EXECUTE FUNCTION forbid_change()",
)


def upgrade() -> None:
    """Create the tables, and what keeps final documents and the ledger as they are."""
    tables = (INVOICES, INVOICE_LINES, USAGE_EVENTS, USAGE_METRICS, REVENUE)
    for statement in (*tables, *INDEXES, KEEP_INVOICE, KEEP_INVOICE_LINE, *TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    for table in ("revenue_tracking", "usage_metrics", "usage_events", "invoice_lines", "invoices"):
        op.execute(f"DROP TABLE {table}")
    for function in ("keep_invoice_line", "keep_invoice"):
        op.execute(f"DROP FUNCTION {function}()")
