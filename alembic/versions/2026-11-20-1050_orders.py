"""Tables of orders: settings, rates, codes, orders with their lines, money, states and stock, and number series."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "orders"
down_revision: str | None = "products"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ORDER_SETTINGS = """
CREATE TABLE order_settings (
  organization_id uuid NOT NULL,
  number_prefix text DEFAULT 'ORD' NOT NULL,
  invoice_prefix text DEFAULT 'FAC' NOT NULL,
  credit_note_prefix text DEFAULT 'AV' NOT NULL,
  time_zone text DEFAULT 'Europe/Paris' NOT NULL,
  currency text DEFAULT 'EUR' NOT NULL,
  prices_include_tax boolean DEFAULT true NOT NULL,
  default_tax_rate_bps integer DEFAULT 2000 NOT NULL,
  shipping_tax_category text DEFAULT 'standard' NOT NULL,
  payment_window_minutes integer DEFAULT 30 NOT NULL,
  manual_hold_hours integer DEFAULT 168 NOT NULL,
  capture_method text DEFAULT 'automatic' NOT NULL,
  oversold_policy text DEFAULT 'refund' NOT NULL,
  is_storefront_public boolean DEFAULT false NOT NULL,
  seller jsonb DEFAULT '{}' NOT NULL,
  version integer DEFAULT 1 NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT order_settings_pkey PRIMARY KEY (organization_id),
  CONSTRAINT order_settings_number_prefix CHECK (number_prefix ~ '^[A-Z0-9]{1,8}$'),
  CONSTRAINT order_settings_invoice_prefix CHECK (invoice_prefix ~ '^[A-Z0-9]{1,8}$'),
  CONSTRAINT order_settings_credit_note_prefix CHECK (credit_note_prefix ~ '^[A-Z0-9]{1,8}$'),
  CONSTRAINT order_settings_currency_cur CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT order_settings_default_tax_rate_bps CHECK (default_tax_rate_bps BETWEEN 0 AND 10000),
  CONSTRAINT order_settings_payment_window_minutes CHECK (payment_window_minutes BETWEEN 30 AND 1425),
  CONSTRAINT order_settings_manual_hold_hours CHECK (manual_hold_hours BETWEEN 1 AND 720),
  CONSTRAINT order_settings_capture_method CHECK (capture_method IN ('automatic', 'manual')),
  CONSTRAINT order_settings_oversold_policy CHECK (oversold_policy IN ('refund', 'backorder')),
  CONSTRAINT order_settings_seller CHECK (jsonb_typeof(seller) = 'object'),
  CONSTRAINT order_settings_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

TAX_RATES = """
CREATE TABLE tax_rates (
  organization_id uuid NOT NULL,
  country text NOT NULL,
  region text DEFAULT '' NOT NULL,
  tax_category text DEFAULT 'standard' NOT NULL,
  rate_bps integer NOT NULL,
  CONSTRAINT tax_rates_pkey PRIMARY KEY (organization_id, country, region, tax_category),
  CONSTRAINT tax_rates_country CHECK (country ~ '^[A-Z]{2}$'),
  CONSTRAINT tax_rates_region CHECK (char_length(region) <= 40),
  CONSTRAINT tax_rates_tax_category CHECK (tax_category ~ '^[a-z0-9_]{1,40}$'),
  CONSTRAINT tax_rates_rate_bps CHECK (rate_bps BETWEEN 0 AND 10000),
  CONSTRAINT tax_rates_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

SHIPPING_RATES = """
CREATE TABLE shipping_rates (
  organization_id uuid NOT NULL,
  code text NOT NULL,
  name text NOT NULL,
  countries text[] NOT NULL,
  amount bigint NOT NULL,
  free_from bigint,
  currency text NOT NULL,
  is_active boolean DEFAULT true NOT NULL,
  position integer DEFAULT 0 NOT NULL,
  CONSTRAINT shipping_rates_pkey PRIMARY KEY (organization_id, code),
  CONSTRAINT shipping_rates_code CHECK (code ~ '^[a-z0-9_-]{1,40}$'),
  CONSTRAINT shipping_rates_name CHECK (char_length(name) BETWEEN 1 AND 120),
  CONSTRAINT shipping_rates_countries CHECK (cardinality(countries) BETWEEN 1 AND 250),
  CONSTRAINT shipping_rates_amount_minor CHECK (amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT shipping_rates_free_from_minor CHECK (free_from BETWEEN 0 AND 9007199254740991),
  CONSTRAINT shipping_rates_currency_cur CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT shipping_rates_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

DISCOUNT_CODES = """
CREATE TABLE discount_codes (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  code text NOT NULL,
  kind text NOT NULL,
  value bigint DEFAULT 0 NOT NULL,
  currency text,
  min_subtotal bigint DEFAULT 0 NOT NULL,
  max_redemptions integer,
  redeemed integer DEFAULT 0 NOT NULL,
  max_per_customer integer,
  starts_at timestamptz,
  ends_at timestamptz,
  is_active boolean DEFAULT true NOT NULL,
  version integer DEFAULT 1 NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT discount_codes_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT discount_codes_text CHECK (code ~ '^[A-Z0-9_-]{3,40}$'),
  CONSTRAINT discount_codes_kind CHECK (kind IN ('percent', 'fixed', 'free_shipping')),
  CONSTRAINT discount_codes_value_minor CHECK (value BETWEEN 0 AND 9007199254740991),
  CONSTRAINT discount_codes_currency_cur CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT discount_codes_min_subtotal_minor CHECK (min_subtotal BETWEEN 0 AND 9007199254740991),
  CONSTRAINT discount_codes_max_redemptions CHECK (max_redemptions >= 1),
  CONSTRAINT discount_codes_redeemed_count CHECK (redeemed >= 0),
  CONSTRAINT discount_codes_max_per_customer CHECK (max_per_customer >= 1),
  CONSTRAINT discount_codes_code UNIQUE (organization_id, code),
  CONSTRAINT discount_codes_value
    CHECK (CASE kind WHEN 'percent' THEN value BETWEEN 1 AND 10000 WHEN 'fixed' THEN value > 0 AND
      currency IS NOT NULL ELSE value = 0 END),
  CONSTRAINT discount_codes_minimum CHECK (min_subtotal = 0 OR currency IS NOT NULL),
  CONSTRAINT discount_codes_redeemed CHECK (max_redemptions IS NULL OR redeemed <= max_redemptions),
  CONSTRAINT discount_codes_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

DOCUMENT_COUNTERS = """
CREATE TABLE document_counters (
  organization_id uuid NOT NULL,
  kind text NOT NULL,
  period text NOT NULL,
  last_value bigint NOT NULL,
  CONSTRAINT document_counters_pkey PRIMARY KEY (organization_id, kind, period),
  CONSTRAINT document_counters_kind CHECK (kind IN ('order', 'invoice', 'credit_note')),
  CONSTRAINT document_counters_period CHECK (period ~ '^[0-9]{4}$'),
  CONSTRAINT document_counters_last_value CHECK (last_value > 0)
)
"""

ORDER_TRANSITIONS = """
CREATE TABLE order_transitions (
  field text NOT NULL,
  from_value text NOT NULL,
  to_value text NOT NULL,
  CONSTRAINT order_transitions_pkey PRIMARY KEY (field, from_value, to_value),
  CONSTRAINT order_transitions_field CHECK (field IN ('status', 'payment_status'))
)
"""

ORDERS = """
CREATE TABLE orders (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid,
  order_number text,
  channel text DEFAULT 'dashboard' NOT NULL,
  status text DEFAULT 'pending' NOT NULL,
  payment_status text DEFAULT 'unpaid' NOT NULL,
  hold_reason text,
  currency text NOT NULL,
  prices_include_tax boolean NOT NULL,
  subtotal bigint NOT NULL,
  discount_amount bigint DEFAULT 0 NOT NULL,
  shipping_amount bigint DEFAULT 0 NOT NULL,
  shipping_tax_amount bigint DEFAULT 0 NOT NULL,
  tax_amount bigint DEFAULT 0 NOT NULL,
  total_amount bigint NOT NULL,
  amount_paid bigint DEFAULT 0 NOT NULL,
  amount_refunded bigint DEFAULT 0 NOT NULL,
  amount_refund_pending bigint DEFAULT 0 NOT NULL,
  pricing jsonb DEFAULT '{}' NOT NULL,
  discount_code text,
  customer_email text,
  customer_email_canonical text,
  customer_name text,
  customer_phone text,
  shipping_address jsonb,
  billing_address jsonb,
  shipping_code text,
  carrier text,
  tracking_number text,
  tracking_url text,
  notes text,
  internal_notes text,
  metadata jsonb DEFAULT '{}' NOT NULL,
  payment_method text DEFAULT 'checkout' NOT NULL,
  payment_failure_code text,
  stripe_checkout_session_id text,
  checkout_url text,
  checkout_expires_at timestamptz,
  reservation_expires_at timestamptz,
  placed_at timestamptz,
  paid_at timestamptz,
  shipped_at timestamptz,
  delivered_at timestamptz,
  completed_at timestamptz,
  cancelled_at timestamptz,
  cancel_reason text,
  withdrawal_right text DEFAULT 'standard' NOT NULL,
  search tsvector DEFAULT '' NOT NULL,
  version integer DEFAULT 1 NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT orders_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT orders_order_number CHECK (order_number ~ '^[A-Z0-9]{1,8}-[0-9]{4}-[0-9]{6,}$'),
  CONSTRAINT orders_channel CHECK (channel IN ('dashboard', 'api', 'payment_link', 'import')),
  CONSTRAINT orders_status
    CHECK (status IN ('draft', 'pending', 'confirmed', 'processing', 'shipped', 'delivered', 'cancelled',
      'expired', 'returned')),
  CONSTRAINT orders_payment_status
    CHECK (payment_status IN ('unpaid', 'pending', 'authorized', 'paid', 'failed', 'partially_refunded',
      'refunded', 'disputed', 'charged_back')),
  CONSTRAINT orders_hold_reason
    CHECK (hold_reason IN ('oversold', 'amount_mismatch', 'currency_mismatch', 'dispute',
      'payment_lapsed', 'refund_failed', 'manual')),
  CONSTRAINT orders_currency_cur CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT orders_subtotal_minor CHECK (subtotal BETWEEN 0 AND 9007199254740991),
  CONSTRAINT orders_discount_amount_minor CHECK (discount_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT orders_shipping_amount_minor CHECK (shipping_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT orders_shipping_tax_amount_minor CHECK (shipping_tax_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT orders_tax_amount_minor CHECK (tax_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT orders_total_amount_minor CHECK (total_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT orders_amount_paid_minor CHECK (amount_paid BETWEEN 0 AND 9007199254740991),
  CONSTRAINT orders_amount_refunded_minor CHECK (amount_refunded BETWEEN 0 AND 9007199254740991),
  CONSTRAINT orders_amount_refund_pending_minor
    CHECK (amount_refund_pending BETWEEN 0 AND 9007199254740991),
  CONSTRAINT orders_pricing CHECK (jsonb_typeof(pricing) = 'object'),
  CONSTRAINT orders_customer_email CHECK (char_length(customer_email) <= 254),
  CONSTRAINT orders_customer_name CHECK (char_length(customer_name) <= 200),
  CONSTRAINT orders_customer_phone CHECK (char_length(customer_phone) <= 40),
  CONSTRAINT orders_carrier CHECK (char_length(carrier) <= 80),
  CONSTRAINT orders_tracking_number CHECK (char_length(tracking_number) <= 100),
  CONSTRAINT orders_tracking_url CHECK (tracking_url ~ '^https://' AND char_length(tracking_url) <= 2048),
  CONSTRAINT orders_notes CHECK (char_length(notes) <= 2000),
  CONSTRAINT orders_internal_notes CHECK (char_length(internal_notes) <= 5000),
  CONSTRAINT orders_metadata
    CHECK (jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 16384),
  CONSTRAINT orders_payment_method CHECK (payment_method IN ('checkout', 'manual', 'none')),
  CONSTRAINT orders_cancel_reason CHECK (char_length(cancel_reason) <= 500),
  CONSTRAINT orders_withdrawal_right
    CHECK (withdrawal_right IN ('standard', 'partial', 'excluded_personalised')),
  CONSTRAINT orders_number UNIQUE (organization_id, order_number),
  CONSTRAINT orders_checkout_session UNIQUE (organization_id, stripe_checkout_session_id),
  CONSTRAINT orders_total
    CHECK (total_amount = subtotal - discount_amount + shipping_amount + CASE WHEN prices_include_tax
      THEN 0 ELSE tax_amount END),
  CONSTRAINT orders_parts CHECK (discount_amount <= subtotal AND shipping_tax_amount <= tax_amount),
  CONSTRAINT orders_refunded
    CHECK (amount_refunded <= amount_paid AND amount_refund_pending <= amount_paid),
  CONSTRAINT orders_placed
    CHECK (status IN ('draft', 'cancelled') OR (order_number IS NOT NULL AND placed_at IS NOT NULL)),
  CONSTRAINT orders_email CHECK ((customer_email IS NULL) = (customer_email_canonical IS NULL)),
  CONSTRAINT orders_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT orders_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL
)
"""

# The foreign key of `design_id, design_version` is added by the migration that makes `design_versions`.
ORDER_ITEMS = """
CREATE TABLE order_items (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  order_id uuid NOT NULL,
  position integer NOT NULL,
  product_id uuid,
  design_id uuid,
  design_version integer,
  sku text,
  name text NOT NULL,
  product_snapshot jsonb NOT NULL,
  customization jsonb DEFAULT '{}' NOT NULL,
  customization_sha256 text,
  is_personalised boolean DEFAULT false NOT NULL,
  unit_price bigint NOT NULL,
  quantity integer NOT NULL,
  discount_amount bigint DEFAULT 0 NOT NULL,
  tax_rate_bps integer DEFAULT 0 NOT NULL,
  tax_amount bigint DEFAULT 0 NOT NULL,
  total_amount bigint NOT NULL,
  refunded_quantity integer DEFAULT 0 NOT NULL,
  refunded_amount bigint DEFAULT 0 NOT NULL,
  returned_quantity integer DEFAULT 0 NOT NULL,
  restocked_quantity integer DEFAULT 0 NOT NULL,
  fulfilled_quantity integer DEFAULT 0 NOT NULL,
  CONSTRAINT order_items_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT order_items_place CHECK (position >= 0),
  CONSTRAINT order_items_unit_price_minor CHECK (unit_price BETWEEN 0 AND 9007199254740991),
  CONSTRAINT order_items_quantity CHECK (quantity BETWEEN 1 AND 100000),
  CONSTRAINT order_items_discount_amount_minor CHECK (discount_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT order_items_tax_rate_bps CHECK (tax_rate_bps BETWEEN 0 AND 10000),
  CONSTRAINT order_items_tax_amount_minor CHECK (tax_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT order_items_total_amount_minor CHECK (total_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT order_items_refunded_amount_minor CHECK (refunded_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT order_items_position UNIQUE (organization_id, order_id, position),
  CONSTRAINT order_items_organization_id_order_id_fkey FOREIGN KEY (organization_id, order_id)
    REFERENCES orders (organization_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT order_items_organization_id_product_id_fkey FOREIGN KEY (organization_id, product_id)
    REFERENCES products (organization_id, id) DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT order_items_discount CHECK (discount_amount <= unit_price * quantity),
  CONSTRAINT order_items_refunded CHECK (refunded_amount <= total_amount),
  CONSTRAINT order_items_given_back
    CHECK (refunded_quantity BETWEEN 0 AND quantity AND returned_quantity BETWEEN 0 AND quantity),
  CONSTRAINT order_items_moved
    CHECK (restocked_quantity BETWEEN 0 AND quantity AND fulfilled_quantity BETWEEN 0 AND quantity),
  CONSTRAINT order_items_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

ORDER_PAYMENTS = """
CREATE TABLE order_payments (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  order_id uuid NOT NULL,
  method text NOT NULL,
  stripe_payment_intent_id text,
  reference text,
  amount bigint NOT NULL,
  currency text NOT NULL,
  status text NOT NULL,
  unapplied_reason text,
  amount_refunded bigint DEFAULT 0 NOT NULL,
  amount_refund_pending bigint DEFAULT 0 NOT NULL,
  received_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT order_payments_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT order_payments_method CHECK (method IN ('stripe', 'bank_transfer', 'cash', 'other')),
  CONSTRAINT order_payments_reference CHECK (char_length(reference) <= 200),
  CONSTRAINT order_payments_amount_minor CHECK (amount BETWEEN 1 AND 9007199254740991),
  CONSTRAINT order_payments_currency_cur CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT order_payments_status CHECK (status IN ('authorized', 'applied', 'unapplied', 'voided')),
  CONSTRAINT order_payments_unapplied_reason
    CHECK (unapplied_reason IN ('amount_mismatch', 'currency_mismatch', 'duplicate')),
  CONSTRAINT order_payments_amount_refunded_minor CHECK (amount_refunded BETWEEN 0 AND 9007199254740991),
  CONSTRAINT order_payments_amount_refund_pending_minor
    CHECK (amount_refund_pending BETWEEN 0 AND 9007199254740991),
  CONSTRAINT order_payments_intent UNIQUE (organization_id, stripe_payment_intent_id),
  CONSTRAINT order_payments_organization_id_order_id_fkey FOREIGN KEY (organization_id, order_id)
    REFERENCES orders (organization_id, id) DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT order_payments_unapplied CHECK ((status = 'unapplied') = (unapplied_reason IS NOT NULL)),
  CONSTRAINT order_payments_stripe CHECK ((method = 'stripe') = (stripe_payment_intent_id IS NOT NULL)),
  CONSTRAINT order_payments_refunded CHECK (amount_refunded <= amount AND amount_refund_pending <= amount),
  CONSTRAINT order_payments_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

REFUNDS = """
CREATE TABLE refunds (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  order_id uuid NOT NULL,
  payment_id uuid NOT NULL,
  amount bigint NOT NULL,
  currency text NOT NULL,
  reason text NOT NULL,
  note text,
  source text DEFAULT 'api' NOT NULL,
  status text DEFAULT 'pending' NOT NULL,
  lines jsonb DEFAULT '[]' NOT NULL,
  shipping_amount bigint DEFAULT 0 NOT NULL,
  tax_groups jsonb DEFAULT '[]' NOT NULL,
  is_return boolean DEFAULT false NOT NULL,
  restock boolean DEFAULT false NOT NULL,
  reference text,
  stripe_refund_id text,
  failure_reason text,
  actor_type text NOT NULL,
  actor_id text,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT refunds_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT refunds_amount_minor CHECK (amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT refunds_currency_cur CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT refunds_reason
    CHECK (reason IN ('requested_by_customer', 'duplicate', 'fraudulent', 'goodwill', 'returned',
      'cancelled', 'oversold', 'order_closed', 'withdrawal', 'other')),
  CONSTRAINT refunds_note CHECK (char_length(note) <= 500),
  CONSTRAINT refunds_source CHECK (source IN ('api', 'auto', 'stripe')),
  CONSTRAINT refunds_status
    CHECK (status IN ('pending', 'requires_action', 'succeeded', 'failed', 'canceled')),
  CONSTRAINT refunds_shipping_amount_minor CHECK (shipping_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT refunds_stripe UNIQUE (organization_id, stripe_refund_id),
  CONSTRAINT refunds_organization_id_order_id_fkey FOREIGN KEY (organization_id, order_id)
    REFERENCES orders (organization_id, id) DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT refunds_organization_id_payment_id_fkey FOREIGN KEY (organization_id, payment_id)
    REFERENCES order_payments (organization_id, id) DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT refunds_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

ORDER_STATUS_HISTORY = """
CREATE TABLE order_status_history (
  organization_id uuid NOT NULL,
  order_id uuid NOT NULL,
  position integer NOT NULL,
  field text NOT NULL,
  from_value text,
  to_value text,
  reason text,
  actor_type text NOT NULL,
  actor_id text,
  stripe_event_id text,
  request_id text,
  created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
  CONSTRAINT order_status_history_pkey PRIMARY KEY (organization_id, order_id, position),
  CONSTRAINT order_status_history_field CHECK (field IN ('status', 'payment_status', 'hold_reason')),
  CONSTRAINT order_status_history_actor_type
    CHECK (actor_type IN ('user', 'api_key', 'stripe', 'customer', 'system')),
  CONSTRAINT order_status_history_organization_id_order_id_fkey FOREIGN KEY (organization_id, order_id)
    REFERENCES orders (organization_id, id) DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT order_status_history_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

DISCOUNT_REDEMPTIONS = """
CREATE TABLE discount_redemptions (
  organization_id uuid NOT NULL,
  order_id uuid NOT NULL,
  discount_id uuid NOT NULL,
  customer_email_canonical text,
  amount bigint NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  released_at timestamptz,
  CONSTRAINT discount_redemptions_pkey PRIMARY KEY (organization_id, order_id),
  CONSTRAINT discount_redemptions_amount_minor CHECK (amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT discount_redemptions_organization_id_order_id_fkey FOREIGN KEY (organization_id, order_id)
    REFERENCES orders (organization_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT discount_redemptions_organization_id_discount_id_fkey FOREIGN KEY (organization_id, discount_id)
    REFERENCES discount_codes (organization_id, id) DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT discount_redemptions_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

STOCK_RESERVATIONS = """
CREATE TABLE stock_reservations (
  organization_id uuid NOT NULL,
  order_id uuid NOT NULL,
  product_id uuid NOT NULL,
  quantity integer NOT NULL,
  status text DEFAULT 'held' NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  closed_at timestamptz,
  CONSTRAINT stock_reservations_pkey PRIMARY KEY (organization_id, order_id, product_id),
  CONSTRAINT stock_reservations_quantity CHECK (quantity BETWEEN 1 AND 1000000000),
  CONSTRAINT stock_reservations_status CHECK (status IN ('held', 'committed', 'released')),
  CONSTRAINT stock_reservations_closed CHECK ((status = 'held') = (closed_at IS NULL)),
  CONSTRAINT stock_reservations_organization_id_order_id_fkey FOREIGN KEY (organization_id, order_id)
    REFERENCES orders (organization_id, id) DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT stock_reservations_organization_id_product_id_fkey FOREIGN KEY (organization_id, product_id)
    REFERENCES products (organization_id, id) DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT stock_reservations_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

STOCK_MOVEMENTS = """
CREATE TABLE stock_movements (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  product_id uuid NOT NULL,
  order_id uuid,
  refund_id uuid,
  reason text NOT NULL,
  delta_stock integer DEFAULT 0 NOT NULL,
  delta_reserved integer DEFAULT 0 NOT NULL,
  stock_after integer NOT NULL,
  reserved_after integer NOT NULL,
  actor_type text NOT NULL,
  actor_id text,
  note text,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT stock_movements_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT stock_movements_reason
    CHECK (reason IN ('reserve', 'release', 'commit', 'restock', 'adjust', 'import')),
  CONSTRAINT stock_movements_actor_type
    CHECK (actor_type IN ('user', 'api_key', 'stripe', 'customer', 'system')),
  CONSTRAINT stock_movements_note CHECK (char_length(note) <= 500),
  CONSTRAINT stock_movements_moves CHECK (delta_stock <> 0 OR delta_reserved <> 0),
  CONSTRAINT stock_movements_organization_id_product_id_fkey FOREIGN KEY (organization_id, product_id)
    REFERENCES products (organization_id, id) DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT stock_movements_organization_id_order_id_fkey FOREIGN KEY (organization_id, order_id)
    REFERENCES orders (organization_id, id) DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT stock_movements_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

# The foreign key of `file_id` is added by the migration that makes the table of files.
ORDER_ITEM_FILES = """
CREATE TABLE order_item_files (
  organization_id uuid NOT NULL,
  order_item_id uuid NOT NULL,
  option_code text NOT NULL,
  file_id uuid NOT NULL,
  CONSTRAINT order_item_files_pkey PRIMARY KEY (organization_id, order_item_id, option_code),
  CONSTRAINT order_item_files_organization_id_order_item_id_fkey FOREIGN KEY (organization_id, order_item_id)
    REFERENCES order_items (organization_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT order_item_files_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE
)
"""

INDEXES = (
    "CREATE INDEX orders_customer ON orders (organization_id, customer_email_canonical, created_at DESC, id DESC)",
    "CREATE INDEX orders_due ON orders (reservation_expires_at) WHERE status = 'pending'",
    "CREATE INDEX orders_list ON orders (organization_id, created_at DESC, id DESC)",
    "CREATE INDEX orders_payment_status ON orders (organization_id, payment_status, created_at DESC, id DESC)",
    "CREATE INDEX orders_search ON orders USING gin (search)",
    "CREATE INDEX orders_status ON orders (organization_id, status, created_at DESC, id DESC)",
    "CREATE INDEX order_items_product ON order_items (organization_id, product_id, order_id)",
    "CREATE UNIQUE INDEX order_payments_one_applied ON order_payments (organization_id, order_id)"
    " WHERE status IN ('authorized', 'applied')",
    "CREATE INDEX refunds_order ON refunds (organization_id, order_id, created_at DESC, id DESC)",
    "CREATE INDEX discount_redemptions_customer ON discount_redemptions (organization_id, discount_id, customer_email_canonical)"
    " WHERE released_at IS NULL",
    "CREATE INDEX stock_reservations_held ON stock_reservations (organization_id, product_id)"
    " WHERE status = 'held'",
    "CREATE INDEX stock_movements_list ON stock_movements (organization_id, product_id, created_at DESC, id DESC)",
)

RECORD_ORDER_CHANGE = """
CREATE FUNCTION record_order_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  was orders;
  change record;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    was := OLD;
  END IF;
  FOR change IN
    SELECT * FROM (VALUES
      ('status', was.status, NEW.status),
      ('payment_status', was.payment_status, NEW.payment_status),
      ('hold_reason', was.hold_reason, NEW.hold_reason)) AS c (field, before, after)
    WHERE c.before IS DISTINCT FROM c.after AND (TG_OP = 'UPDATE' OR c.field = 'status')
  LOOP
    IF TG_OP = 'UPDATE' AND change.field <> 'hold_reason' AND NOT EXISTS (
        SELECT 1 FROM order_transitions t
        WHERE t.field = change.field AND t.from_value = change.before AND t.to_value = change.after) THEN
      RAISE EXCEPTION 'order %: % to % is not allowed', change.field, change.before, change.after
        USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_transition';
    END IF;
    INSERT INTO order_status_history (organization_id, order_id, position, field, from_value, to_value, reason,
      actor_type, actor_id, stripe_event_id, request_id)
    SELECT NEW.organization_id, NEW.id, coalesce(max(h.position), 0) + 1, change.field, change.before,
      change.after, nullif(current_setting('luneo.reason', true), ''),
      coalesce(nullif(current_setting('luneo.actor_type', true), ''), 'system'),
      nullif(current_setting('luneo.actor_id', true), ''),
      nullif(current_setting('luneo.stripe_event_id', true), ''),
      nullif(current_setting('luneo.request_id', true), '')
    FROM order_status_history h
    WHERE h.organization_id = NEW.organization_id AND h.order_id = NEW.id;
  END LOOP;
  RETURN NULL;
END $$
"""

TRIGGERS = (
    "CREATE TRIGGER orders_record_insert AFTER INSERT ON orders FOR EACH ROW WHEN (NEW.status <> 'draft')"
    " EXECUTE FUNCTION record_order_change()",
    "CREATE TRIGGER orders_record_update AFTER UPDATE OF status, payment_status, hold_reason ON orders"
    " FOR EACH ROW EXECUTE FUNCTION record_order_change()",
    "CREATE TRIGGER order_status_history_append_only BEFORE UPDATE OR DELETE ON order_status_history"
    " FOR EACH ROW EXECUTE FUNCTION forbid_change()",
    "CREATE TRIGGER stock_movements_append_only BEFORE UPDATE OR DELETE ON stock_movements"
    " FOR EACH ROW EXECUTE FUNCTION forbid_change()",
)

STATUS_MOVES = {
    "draft": ("pending", "cancelled"),
    "pending": ("confirmed", "cancelled", "expired"),
    "confirmed": ("processing", "shipped", "cancelled"),
    "processing": ("shipped", "cancelled"),
    "shipped": ("delivered", "returned"),
    "delivered": ("returned",),
    "expired": ("confirmed", "cancelled"),
}

PAYMENT_STATUS_MOVES = {
    "unpaid": ("pending", "authorized", "paid", "failed"),
    "pending": ("paid", "authorized", "failed", "unpaid"),
    "authorized": ("paid", "unpaid"),
    "failed": ("pending", "authorized", "paid", "unpaid"),
    "paid": ("partially_refunded", "refunded", "disputed", "charged_back"),
    "partially_refunded": ("paid", "refunded", "disputed", "charged_back"),
    "refunded": ("paid", "partially_refunded", "disputed", "charged_back"),
    "disputed": ("paid", "partially_refunded", "refunded", "charged_back"),
    "charged_back": ("paid", "partially_refunded"),
}

TABLES = (
    ORDER_SETTINGS,
    TAX_RATES,
    SHIPPING_RATES,
    DISCOUNT_CODES,
    DOCUMENT_COUNTERS,
    ORDER_TRANSITIONS,
    ORDERS,
    ORDER_ITEMS,
    ORDER_PAYMENTS,
    REFUNDS,
    ORDER_STATUS_HISTORY,
    DISCOUNT_REDEMPTIONS,
    STOCK_RESERVATIONS,
    STOCK_MOVEMENTS,
    ORDER_ITEM_FILES,
)


def upgrade() -> None:
    """Create the tables, then the guard of orders, then the moves that it allows."""
    for statement in (*TABLES, *INDEXES, RECORD_ORDER_CHANGE, *TRIGGERS):
        op.execute(statement)
    table = sa.table("order_transitions", sa.column("field"), sa.column("from_value"), sa.column("to_value"))
    moves = (("status", STATUS_MOVES), ("payment_status", PAYMENT_STATUS_MOVES))
    rows = [
        {"field": field, "from_value": before, "to_value": after}
        for field, pairs in moves
        for before, allowed in pairs.items()
        for after in allowed
    ]
    op.bulk_insert(table, rows)


def downgrade() -> None:
    """Drop what `upgrade` made, the referring tables first."""
    for table in (
        "order_item_files",
        "stock_movements",
        "stock_reservations",
        "discount_redemptions",
        "order_status_history",
        "refunds",
        "order_payments",
        "order_items",
        "orders",
        "order_transitions",
        "document_counters",
        "discount_codes",
        "shipping_rates",
        "tax_rates",
        "order_settings",
    ):
        op.drop_table(table)
    op.execute("DROP FUNCTION record_order_change()")
