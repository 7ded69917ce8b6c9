"""The tables of prices, customers, checkouts, subscriptions and payment methods, and the prices in euros."""

from collections.abc import Sequence

from alembic import op

revision: str = "billing"
down_revision: str | None = "stripe"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

PLAN_PRICES = """
CREATE TABLE plan_prices (
  id uuid NOT NULL,
  plan_code text NOT NULL,
  currency text NOT NULL,
  billing_interval text NOT NULL,
  unit_amount bigint NOT NULL,
  lookup_key text NOT NULL,
  stripe_price_id text,
  is_active boolean DEFAULT true NOT NULL,
  drift text,
  checked_at timestamptz,
  CONSTRAINT plan_prices_pkey PRIMARY KEY (id),
  CONSTRAINT plan_prices_lookup_key_key UNIQUE (lookup_key),
  CONSTRAINT plan_prices_stripe_price_id_key UNIQUE (stripe_price_id),
  CONSTRAINT plan_prices_plan_code_fkey FOREIGN KEY (plan_code) REFERENCES plans (code),
  CONSTRAINT plan_prices_currency_cur CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT plan_prices_unit_amount_minor CHECK (unit_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT plan_prices_billing_interval CHECK (billing_interval IN ('month', 'year'))
)
"""

BILLING_CUSTOMERS = """
CREATE TABLE billing_customers (
  organization_id uuid NOT NULL,
  stripe_customer_id text,
  email text,
  name text,
  address jsonb,
  tax_id_type text,
  tax_id text,
  currency text,
  livemode boolean DEFAULT false NOT NULL,
  has_had_trial boolean DEFAULT false NOT NULL,
  synced_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT billing_customers_pkey PRIMARY KEY (organization_id),
  CONSTRAINT billing_customers_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT billing_customers_currency_cur CHECK (currency ~ '^[A-Z]{3}$')
)
"""

BILLING_CHECKOUTS = """
CREATE TABLE billing_checkouts (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid,
  price_id uuid NOT NULL,
  status text DEFAULT 'creating' NOT NULL,
  stripe_session_id text,
  url text,
  expires_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT billing_checkouts_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT billing_checkouts_session UNIQUE (organization_id, stripe_session_id),
  CONSTRAINT billing_checkouts_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT billing_checkouts_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL,
  CONSTRAINT billing_checkouts_price_id_fkey FOREIGN KEY (price_id) REFERENCES plan_prices (id),
  CONSTRAINT billing_checkouts_status CHECK (status IN
    ('creating', 'open', 'complete', 'expired', 'failed'))
)
"""

SUBSCRIPTIONS = """
CREATE TABLE subscriptions (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid,
  plan_code text NOT NULL,
  price_id uuid NOT NULL,
  status text NOT NULL,
  current_period_start timestamptz,
  current_period_end timestamptz,
  meter_anchor_at timestamptz NOT NULL,
  cancel_at_period_end boolean DEFAULT false NOT NULL,
  cancel_at timestamptz,
  canceled_at timestamptz,
  ended_at timestamptz,
  cancel_reason text,
  trial_start timestamptz,
  trial_end timestamptz,
  pending_price_id uuid,
  pending_effective_at timestamptz,
  pending_update_expires_at timestamptz,
  past_due_since timestamptz,
  stripe_subscription_id text NOT NULL,
  stripe_item_id text,
  stripe_schedule_id text,
  latest_stripe_invoice_id text,
  synced_at timestamptz,
  version integer DEFAULT 1 NOT NULL,
  created_at timestamptz DEFAULT now() NOT NULL,
  updated_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT subscriptions_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT subscriptions_stripe UNIQUE (organization_id, stripe_subscription_id),
  CONSTRAINT subscriptions_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT subscriptions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL,
  CONSTRAINT subscriptions_plan_code_fkey FOREIGN KEY (plan_code) REFERENCES plans (code),
  CONSTRAINT subscriptions_price_id_fkey FOREIGN KEY (price_id) REFERENCES plan_prices (id),
  CONSTRAINT subscriptions_pending_price_id_fkey FOREIGN KEY (pending_price_id) REFERENCES plan_prices (id),
  CONSTRAINT subscriptions_status CHECK (status IN
    ('incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled'))
)
"""

PAYMENT_METHODS = """
CREATE TABLE payment_methods (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid,
  type text NOT NULL,
  stripe_payment_method_id text NOT NULL,
  fingerprint text,
  last4 text,
  brand text,
  expiry_month smallint,
  expiry_year smallint,
  email text,
  mandate_reference text,
  is_default boolean DEFAULT false NOT NULL,
  detached_at timestamptz,
  synced_at timestamptz,
  created_at timestamptz DEFAULT now() NOT NULL,
  CONSTRAINT payment_methods_pkey PRIMARY KEY (organization_id, id),
  CONSTRAINT payment_methods_stripe UNIQUE (organization_id, stripe_payment_method_id),
  CONSTRAINT payment_methods_organization_id_fkey FOREIGN KEY (organization_id)
    REFERENCES organizations (id) ON DELETE CASCADE,
  CONSTRAINT payment_methods_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL,
  CONSTRAINT payment_methods_type CHECK (type IN ('card', 'paypal', 'sepa')),
  CONSTRAINT payment_methods_last4 CHECK (last4 ~ '^[0-9A-Z]{4}$'),
  CONSTRAINT payment_methods_expiry_month CHECK (expiry_month BETWEEN 1 AND 12),
  CONSTRAINT payment_methods_expiry_year CHECK (expiry_year BETWEEN 2000 AND 2100)
)
"""

TABLES = (PLAN_PRICES, BILLING_CUSTOMERS, BILLING_CHECKOUTS, SUBSCRIPTIONS, PAYMENT_METHODS)

INDEXES = (
    """
    CREATE UNIQUE INDEX plan_prices_one_active ON plan_prices (plan_code, currency, billing_interval)
    WHERE is_active
    """,
    """
    CREATE UNIQUE INDEX billing_checkouts_one_open ON billing_checkouts (organization_id)
    WHERE status IN ('creating', 'open')
    """,
    """
    CREATE UNIQUE INDEX subscriptions_one_live ON subscriptions (organization_id)
    WHERE status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused')
    """,
    """
    CREATE UNIQUE INDEX payment_methods_one_default ON payment_methods (organization_id)
    WHERE is_default AND detached_at IS NULL
    """,
    """
    CREATE UNIQUE INDEX payment_methods_fingerprint ON payment_methods (organization_id, type, fingerprint)
    WHERE detached_at IS NULL
    """,
    """
    CREATE INDEX payment_methods_trials ON payment_methods (fingerprint)
    WHERE fingerprint IS NOT NULL
    """,
)

PRICES = (
    ("premium", "month", 4700),
    ("premium", "year", 47000),
    ("business", "month", 14900),
    ("business", "year", 149000),
)
"""Plan, interval and cents."""

INSERT = """
    INSERT INTO plan_prices (id, plan_code, currency, billing_interval, unit_amount, lookup_key)
    VALUES (gen_random_uuid(), '{plan}', 'EUR', '{interval}', {amount}, 'luneo_{plan}_{interval}_eur')
    ON CONFLICT DO NOTHING
    """


def upgrade() -> None:
    """Create the tables, with the prices that are asked."""
    for statement in (*TABLES, *INDEXES):
        op.execute(statement)
    for plan, interval, amount in PRICES:
        op.execute(INSERT.format(plan=plan, interval=interval, amount=amount))


def downgrade() -> None:
    """Drop them."""
    for table in (
        "payment_methods",
        "subscriptions",
        "billing_checkouts",
        "billing_customers",
        "plan_prices",
    ):
        op.drop_table(table)
