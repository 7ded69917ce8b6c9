"""The rows that are loaded against: orders of many owners, three lines each, made by a few statements."""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from app.core import clock
from app.core.config import get_settings
from app.core.crypto import issue_access_token, key_ring, seal
from app.core.ids import uuid7
from app.core.money import PriceLine, price_order

LINES = 3
PRODUCTS = 20
"""Products of each owner, with so much stock that no order runs out of it."""

UNIT_PRICE = 12_000
TAX_BPS = 2_000

ADDRESS = {
    "name": "Anna Martin",
    "company": None,
    "line1": "12 rue des Lilas",
    "line2": None,
    "postal_code": "75011",
    "city": "Paris",
    "region": None,
    "country": "FR",
}

OWNERS = """
    INSERT INTO users (id, email, email_canonical, email_confirmed_at, last_organization_id)
      SELECT user_id, 'owner-' || n || '@example.test', 'owner-' || n || '@example.test', now(), organization_id
      FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS o (user_id, organization_id, n);
"""

ORGANIZATIONS = """
    INSERT INTO organizations (id, name, slug, kind, created_by)
      SELECT organization_id, 'Maison ' || n, 'maison-' || n, 'team', user_id
      FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS o (user_id, organization_id, n);
"""

MEMBERS = """
    INSERT INTO team_members (organization_id, id, user_id, role, source, joined_at)
      SELECT organization_id, uuidv7(), user_id, 'owner', 'creation', now()
      FROM unnest($1::uuid[], $2::uuid[]) AS o (user_id, organization_id);
"""

GRANTS = """
    INSERT INTO plan_grants (organization_id, id, plan_code, starts_at, note, granted_by)
      SELECT organization_id, uuidv7(), 'enterprise', now(), 'no limits under load', 'benchmarks'
      FROM unnest($1::uuid[]) AS o (organization_id);
"""

SETTINGS = """
    INSERT INTO order_settings (organization_id, seller)
      SELECT organization_id, '{"country": "FR"}' FROM unnest($1::uuid[]) AS o (organization_id);
"""

COUNTERS = """
    INSERT INTO document_counters (organization_id, kind, period, last_value)
      SELECT organization_id, 'order', to_char(now(), 'YYYY'), $2
      FROM unnest($1::uuid[]) AS o (organization_id);
"""

SESSIONS = """
    INSERT INTO sessions (id, user_id, organization_id, auth_method, amr, aal, refresh_key_sealed,
                          is_remembered, idle_seconds, last_activity_at, step_up_at, expires_at)
      SELECT session_id, user_id, organization_id, 'password', '{pwd}', 1, $4, false, 86400, now(), now(),
             now() + interval '7 days'
      FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS s (session_id, user_id, organization_id);
"""

PRODUCT_ROWS = """
    INSERT INTO products (organization_id, id, user_id, name, slug, sku, price, currency, status, stock)
      SELECT organization_id, uuidv7(), user_id, 'Sac de voyage ' || n, 'sac-' || n, 'SAC-' || n, $3, 'EUR',
             'active', 900000000
      FROM unnest($1::uuid[], $2::uuid[]) AS o (user_id, organization_id), generate_series(1, $4) AS n;
"""

ORDERS = """
    INSERT INTO orders (organization_id, id, user_id, order_number, status, payment_status, currency,
                        prices_include_tax, subtotal, tax_amount, total_amount, amount_paid, pricing,
                        customer_email, customer_email_canonical, customer_name, customer_phone,
                        shipping_address, payment_method, placed_at, paid_at, search, created_at, updated_at)
      SELECT o.organization_id, uuidv7(at - now()), o.user_id, 'ORD-2026-' || lpad(n::text, greatest(6, char_length(n::text)), '0'),
             CASE WHEN is_paid THEN 'confirmed' ELSE 'pending' END,
             CASE WHEN is_paid THEN 'paid' ELSE 'unpaid' END, 'EUR', true, $3::bigint, $4, $3,
             CASE WHEN is_paid THEN $3::bigint ELSE 0 END, $5, email, email, 'Anna Martin', '+33 6 12 34 56 78', $6,
             'manual', at, CASE WHEN is_paid THEN at + interval '1 minute' END,
             array_to_tsvector(ARRAY[term || n, term || 'anna', term || 'martin', term || 'paris']), at, at
      FROM unnest($1::uuid[], $2::uuid[]) AS o (user_id, organization_id),
           generate_series(1, $7) AS n,
           LATERAL (SELECT now() - make_interval(secs => n * 417.123456) AS at, n % 4 <> 0 AS is_paid,
                           'anna-' || n || '@example.test' AS email,
                           right(replace(o.organization_id::text, '-', ''), 12) AS term) AS m
      ORDER BY o.organization_id, at;
"""

ITEMS = """
    INSERT INTO order_items (organization_id, id, order_id, position, product_id, sku, name,
                             product_snapshot, unit_price, quantity, tax_rate_bps, tax_amount, total_amount)
      SELECT o.organization_id, uuidv7(), o.id, p.n, p.id, p.sku, p.name,
             jsonb_build_object('id', p.id, 'name', p.name, 'slug', p.slug, 'sku', p.sku, 'category', null,
                                'currency', p.currency, 'tax_category', p.tax_category, 'weight_g', null,
                                'lead_time_days', null, 'version', p.version, 'price', p.price,
                                'options', '[]'::jsonb),
             $1::bigint, 1, $2, $3, $1
      FROM orders o
      JOIN (SELECT *, row_number() OVER (PARTITION BY organization_id ORDER BY id) - 1 AS n FROM products) p
        ON p.organization_id = o.organization_id AND p.n < $4;
"""

HISTORY = """
    INSERT INTO order_status_history (organization_id, order_id, position, field, from_value, to_value,
                                      actor_type, actor_id, created_at)
      SELECT o.organization_id, o.id, c.position, c.field, c.before, c.after, 'user', o.user_id::text, o.created_at
      FROM orders o
      JOIN (VALUES (1, 'status', NULL, 'pending'), (2, 'status', 'pending', 'confirmed'),
                   (3, 'payment_status', 'unpaid', 'paid')) AS c (position, field, before, after)
        ON c.position = 1 OR o.payment_status = 'paid';
"""

PAYMENTS = """
    INSERT INTO order_payments (organization_id, id, order_id, method, amount, currency, status, received_at,
                                created_at, updated_at)
      SELECT organization_id, uuidv7(), id, 'bank_transfer', total_amount, currency, 'applied', paid_at, paid_at,
             paid_at
      FROM orders WHERE payment_status = 'paid';
"""


@dataclass(frozen=True)
class Owner:
    """An owner who is signed in."""

    user_id: UUID
    organization_id: UUID
    session_id: UUID
    token: str


async def seed(url: str, *, owners: int, orders: int) -> None:
    """Fill an empty database with this many owners and, all together, this many orders.

    Triggers and foreign keys are off meanwhile; the rows are such as they would have let in.
    """
    connection = await asyncpg.connect(url)
    try:
        await _as_text(connection)
        await connection.execute("SET session_replication_role = replica")
        users, organizations, sessions = ([uuid7() for _ in range(owners)] for _ in range(3))
        each = orders // owners
        pricing = price_order(
            [PriceLine(UNIT_PRICE, 1, TAX_BPS, UNIT_PRICE)] * LINES, currency="EUR", prices_include_tax=True
        )
        line_tax = pricing.lines[0].tax_amount
        await connection.execute(OWNERS, users, organizations)
        await connection.execute(ORGANIZATIONS, users, organizations)
        await connection.execute(MEMBERS, users, organizations)
        await connection.execute(GRANTS, organizations)
        await connection.execute(SETTINGS, organizations)
        await connection.execute(COUNTERS, organizations, each)
        key = seal(key_ring(), secrets.token_bytes(32), context="sessions.refresh_key_sealed:benchmark")
        await connection.execute(SESSIONS, sessions, users, organizations, key)
        await connection.execute(PRODUCT_ROWS, users, organizations, UNIT_PRICE, PRODUCTS)
        await connection.execute(
            ORDERS,
            users,
            organizations,
            pricing.total_amount,
            pricing.tax_amount,
            pricing.as_dict(),
            ADDRESS,
            each,
        )
        await connection.execute(ITEMS, UNIT_PRICE, TAX_BPS, line_tax, LINES)
        await connection.execute(HISTORY)
        await connection.execute(PAYMENTS)
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()


async def signed_in(url: str, now: datetime | None = None) -> list[Owner]:
    """Every owner with an access token that is good for hours."""
    now = now or clock.now()
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "UPDATE sessions SET last_activity_at = $1, step_up_at = $1, expires_at = $2",
            now,
            now + timedelta(days=7),
        )
        rows = await connection.fetch("SELECT id, user_id, organization_id FROM sessions ORDER BY id")
    finally:
        await connection.close()
    return [
        Owner(row["user_id"], row["organization_id"], row["id"], _token(row["user_id"], row["id"], now))
        for row in rows
    ]


def _token(user_id: UUID, session_id: UUID, now: datetime) -> str:
    return issue_access_token(
        key_ring(),
        user_id=user_id,
        session_id=session_id,
        issuer=get_settings().api_url,
        now=now,
        seconds=6 * 3600,
    )


async def _as_text(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
