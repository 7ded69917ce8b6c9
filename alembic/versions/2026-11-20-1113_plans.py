"""The plans, their limits and features, and the grants of operators."""

import json
from collections.abc import Sequence

from alembic import op

revision: str = "plans"
down_revision: str | None = "email_changes"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = (
    """
    CREATE TABLE plans (
      code text NOT NULL,
      name text NOT NULL,
      description text NOT NULL DEFAULT '',
      rank integer NOT NULL,
      is_public boolean NOT NULL DEFAULT true,
      trial_days integer NOT NULL DEFAULT 0,
      features jsonb NOT NULL DEFAULT '{}',
      limits jsonb NOT NULL DEFAULT '{}',
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CONSTRAINT plans_pkey PRIMARY KEY (code),
      CONSTRAINT plans_code CHECK (code ~ '^[a-z][a-z0-9_]{1,39}$'),
      CONSTRAINT plans_trial_days CHECK (trial_days BETWEEN 0 AND 90),
      CONSTRAINT plans_rank_key UNIQUE (rank)
    )
    """,
    """
    CREATE TABLE plan_grants (
      organization_id uuid NOT NULL,
      id uuid NOT NULL,
      plan_code text NOT NULL,
      starts_at timestamptz NOT NULL,
      ends_at timestamptz,
      note text NOT NULL,
      granted_by text NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      CONSTRAINT plan_grants_pkey PRIMARY KEY (organization_id, id),
      CONSTRAINT plan_grants_span CHECK (ends_at > starts_at),
      CONSTRAINT plan_grants_organization_id_fkey FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE CASCADE,
      CONSTRAINT plan_grants_plan_code_fkey FOREIGN KEY (plan_code) REFERENCES plans (code)
    )
    """,
)

GAUGES = (
    "team_members",
    "products",
    "ar_models",
    "storage_bytes",
    "api_keys",
    "webhook_endpoints",
    "audit_days",
)
COUNTERS = ("ai_generations", "orders", "ar_views", "renders", "api_calls", "analytics_events")

PLANS = (
    (
        "free", "Freemium", 0, (),
        (5, 10, 3, 500_000_000, 2, 1, 30),
        (10, 20, 1_000, 20, 1_000, 10_000),
    ),
    (
        "premium", "Premium", 10, ("custom_roles", "audit_export", "premium_library", "premium_courses"),
        (15, 500, 100, 20_000_000_000, 10, 10, 90),
        (500, 1_000, 100_000, 2_000, 100_000, 1_000_000),
    ),
    (
        "business", "Business", 20,
        ("custom_roles", "audit_export", "premium_library", "premium_courses", "white_label"),
        (50, 10_000, 2_000, 200_000_000_000, 50, 50, 365),
        (5_000, 20_000, 1_000_000, 20_000, 1_000_000, 10_000_000),
    ),
    (
        "enterprise", "Enterprise", 30,
        ("custom_roles", "audit_export", "premium_library", "premium_courses", "white_label", "sso"),
        (None, None, None, None, None, None, 1095),
        (None, None, None, None, None, None),
    ),
)  # fmt: skip
"""Code, name, rank, features, then the limits in the order of GAUGES and of COUNTERS; null is without limit."""

INSERT = """
    INSERT INTO plans (code, name, rank, features, limits) VALUES ('{}', '{}', {}, '{}', '{}')
    ON CONFLICT DO NOTHING
    """


def upgrade() -> None:
    """Create the tables, with the plans that are sold."""
    for table in TABLES:
        op.execute(table)
    for code, name, rank, features, gauges, counters in PLANS:
        limits = dict(zip((*GAUGES, *COUNTERS), (*gauges, *counters), strict=True))
        op.execute(
            INSERT.format(code, name, rank, json.dumps(dict.fromkeys(features, True)), json.dumps(limits))
        )


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TABLE plan_grants")
    op.execute("DROP TABLE plans")
