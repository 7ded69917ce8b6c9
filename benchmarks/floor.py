"""The floor: the least that each workload can cost in Python, a bare ASGI function with asyncpg.

It checks the token's signature and runs one statement, which builds the JSON. Nothing else that a service owes
its callers is here: no limits, no request id, no validation, no row scope, no refusal that says why.
"""

import base64
import hashlib
import hmac
import json
import os
import time
from typing import Any
from uuid import UUID, uuid4

import asyncpg

KEY = bytes.fromhex(os.environ["FLOOR_KEY"])
DATABASE_URL = os.environ["FLOOR_DATABASE_URL"]
POOL_SIZE = int(os.environ.get("FLOOR_POOL_SIZE", "16"))

ORDER = """o.id, o.user_id, o.order_number, o.channel, o.status, o.payment_status, o.hold_reason, o.currency,
    o.prices_include_tax, o.subtotal, o.discount_amount, o.shipping_amount, o.shipping_tax_amount, o.tax_amount,
    o.total_amount, o.amount_paid, o.amount_refunded, o.amount_refund_pending, o.pricing, o.discount_code,
    o.customer_email, o.customer_name, o.customer_phone, o.shipping_address, o.billing_address, o.shipping_code,
    o.carrier, o.tracking_number, o.tracking_url, o.notes, o.internal_notes, o.metadata, o.payment_method,
    o.payment_failure_code, o.stripe_checkout_session_id, o.checkout_url, o.checkout_expires_at,
    o.reservation_expires_at, o.placed_at, o.paid_at, o.shipped_at, o.delivered_at, o.completed_at,
    o.cancelled_at, o.cancel_reason, o.withdrawal_right, o.version, o.created_at, o.updated_at"""

ITEM = """i.id, i.order_id, i.position, i.product_id, i.design_id, i.design_version, i.sku, i.name,
    i.product_snapshot, i.customization, i.customization_sha256, i.is_personalised, i.unit_price, i.quantity,
    i.discount_amount, i.tax_rate_bps, i.tax_amount, i.total_amount, i.refunded_quantity, i.refunded_amount,
    i.returned_quantity, i.restocked_quantity, i.fulfilled_quantity"""

ITEMS = f"""(SELECT json_agg(row_to_json(t)) FROM (SELECT {ITEM} FROM order_items i
    WHERE i.organization_id = o.organization_id AND i.order_id = o.id ORDER BY i.position) t) AS order_items"""

SESSION = "SELECT s.user_id FROM sessions s WHERE s.id = $1 AND s.revoked_at IS NULL"

PAGE = f"""
    SELECT json_build_object('items', json_agg(row_to_json(d)), 'next_cursor', null, 'total', null)::text
    FROM (SELECT {ORDER}, {ITEMS} FROM orders o WHERE o.organization_id = $1
          ORDER BY o.created_at DESC, o.id DESC LIMIT 20) d"""

ONE = f"""
    SELECT row_to_json(d)::text FROM (SELECT {ORDER}, {ITEMS},
      (SELECT json_agg(row_to_json(h)) FROM (
        SELECT position, field, from_value, to_value, reason, actor_type, actor_id, stripe_event_id, request_id,
               created_at
        FROM order_status_history h WHERE h.organization_id = o.organization_id AND h.order_id = o.id
        ORDER BY position) h) AS history,
      coalesce((SELECT json_agg(row_to_json(r)) FROM (
        SELECT * FROM refunds r WHERE r.organization_id = o.organization_id AND r.order_id = o.id) r), '[]')
        AS refunds,
      coalesce((SELECT json_agg(row_to_json(p)) FROM (
        SELECT id, method, stripe_payment_intent_id, reference, amount, currency, status, unapplied_reason,
               amount_refunded, amount_refund_pending, received_at, created_at, updated_at
        FROM order_payments p WHERE p.organization_id = o.organization_id AND p.order_id = o.id) p), '[]')
        AS payments
      FROM orders o WHERE o.organization_id = $1 AND o.id = $2) d"""

PLACE = f"""
    WITH asked AS (
      SELECT row_number() OVER () - 1 AS position, x.*
      FROM jsonb_to_recordset($4::jsonb) AS x (product_id uuid, quantity int)),
    wanted AS MATERIALIZED (
      SELECT p.id AS product_id, a.position, a.quantity FROM asked a JOIN products p
        ON p.organization_id = $1 AND p.id = a.product_id AND p.status = 'active' AND p.deleted_at IS NULL
      ORDER BY p.id FOR NO KEY UPDATE OF p),
    held AS (
      UPDATE products p SET reserved = p.reserved + a.quantity FROM wanted a
      WHERE p.organization_id = $1 AND p.id = a.product_id AND p.stock - p.reserved >= a.quantity
      RETURNING a.position, a.quantity, p.*),
    priced AS (
      SELECT uuidv7() AS item_id, h.*, h.price * h.quantity AS total,
             round(h.price * h.quantity * 2000 / 12000.0)::bigint AS tax
      FROM held h),
    counter AS (
      INSERT INTO document_counters (organization_id, kind, period, last_value)
        SELECT $1, 'order', to_char(now(), 'YYYY'), 1 FROM held HAVING count(*) > 0
      ON CONFLICT (organization_id, kind, period)
        DO UPDATE SET last_value = document_counters.last_value + 1
      RETURNING period, last_value),
    placed AS (
      INSERT INTO orders (organization_id, id, user_id, order_number, currency, prices_include_tax, subtotal,
                          tax_amount, total_amount, pricing, customer_email, customer_email_canonical,
                          customer_name, customer_phone, shipping_address, payment_method, placed_at,
                          reservation_expires_at, search)
        SELECT $1, $3, $2, number, 'EUR', true, sum(total), sum(tax), sum(total), '{{}}', $5::jsonb ->> 'email',
               $5::jsonb ->> 'email', $5::jsonb ->> 'name', $5::jsonb ->> 'phone', $6, 'manual', now(),
               now() + interval '168 hours', array_to_tsvector(ARRAY[number, $5::jsonb ->> 'email'])
        FROM priced, counter, LATERAL (
          SELECT 'ORD-' || period || '-' || lpad(last_value::text, 6, '0') AS number) n GROUP BY number
      RETURNING *),
    line AS (
      INSERT INTO order_items (organization_id, id, order_id, position, product_id, sku, name,
                               product_snapshot, unit_price, quantity, tax_rate_bps, tax_amount, total_amount)
        SELECT $1, item_id, $3, position, id, sku, name,
               jsonb_build_object('id', id, 'name', name, 'price', price), price, quantity, 2000, tax, total
        FROM priced
      RETURNING *),
    reservation AS (
      INSERT INTO stock_reservations (organization_id, order_id, product_id, quantity)
        SELECT $1, $3, id, quantity FROM held),
    movement AS (
      INSERT INTO stock_movements (organization_id, id, product_id, order_id, reason, delta_reserved,
                                   stock_after, reserved_after, actor_type, actor_id)
        SELECT $1, uuidv7(), id, $3, 'reserve', quantity, stock, reserved, 'user', $2::text FROM held),
    event AS (
      INSERT INTO event_outbox (event_id, type, audience, topic, organization_id, user_id, object_type,
                                object_id, actor_type, actor_id, body)
        SELECT uuidv7(), 'order.created', 'organization', 'org:' || $1, $1, $2, 'order', o.id::text, 'user', $2,
               json_build_object('id', o.id, 'order_number', o.order_number, 'total_amount', o.total_amount,
                                 'items', (SELECT json_agg(json_build_object('sku', sku)) FROM priced))::text
        FROM placed o)
    SELECT row_to_json(d)::text FROM (
      SELECT {ORDER}, (SELECT json_agg(row_to_json(t)) FROM (
        SELECT {ITEM} FROM line i ORDER BY i.position) t) AS order_items
      FROM placed o) d"""

OK = b'{"ok":true}'

pool: asyncpg.Pool
owners: dict[str, tuple[UUID, UUID]] = {}
"""User and organisation by session: the token of this floor stands for one that names them."""


def claims_of(headers: list[tuple[bytes, bytes]]) -> dict[str, Any] | None:
    """What a genuine token says, which has not expired."""
    token = next((value[7:] for name, value in headers if name == b"authorization"), b"")
    signed, _, signature = token.rpartition(b".")
    expected = base64.urlsafe_b64encode(hmac.digest(KEY, signed, hashlib.sha256)).rstrip(b"=")
    if not hmac.compare_digest(expected, signature):
        return None
    payload = signed.partition(b".")[2]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + b"=="))
    return claims if claims["exp"] > time.time() else None


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Every workload."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    claims = claims_of(scope["headers"])
    status, body = (401, b"") if claims is None else await answer(scope, receive, claims)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer(scope: dict[str, Any], receive: Any, claims: dict[str, Any]) -> tuple[int, bytes]:
    """Status and body of one request."""
    path = scope["path"]
    if path == "/benchmark/nothing":
        found = await pool.fetchval(SESSION, UUID(claims["sid"]))
        return (200, OK) if found is not None else (401, b"")
    user_id, organization_id = owners[claims["sid"]]
    if scope["method"] == "POST":
        sent = json.loads((await receive())["body"])
        text = await pool.fetchval(
            PLACE,
            organization_id,
            user_id,
            uuid4(),
            json.dumps(sent["items"]),
            json.dumps(sent["customer"]),
            json.dumps(sent["shipping_address"]),
        )
        return 201, text.encode()
    if path == "/api/orders":
        return 200, (await pool.fetchval(PAGE, organization_id)).encode()
    text = await pool.fetchval(ONE, organization_id, UUID(path.rpartition("/")[2]))
    return (200, text.encode()) if text is not None else (404, b"")


async def lifespan(receive: Any, send: Any) -> None:
    """Open and close the pool."""
    global pool  # noqa: PLW0603 - one ASGI function has nowhere else to keep it
    await receive()
    pool = await asyncpg.create_pool(
        DATABASE_URL, min_size=POOL_SIZE, max_size=POOL_SIZE, reset=_nothing, server_settings={"jit": "off"}
    )
    rows = await pool.fetch("SELECT id, user_id, organization_id FROM sessions")
    owners.update({str(row["id"]): (row["user_id"], row["organization_id"]) for row in rows})
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await pool.close()
    await send({"type": "lifespan.shutdown.complete"})


async def _nothing(_: Any) -> None:
    """Leave a connection as it is: no statement here changes its state."""
