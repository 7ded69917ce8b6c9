"""One row of any table, made from its columns and CHECKs, for invariants that need a row of every model."""

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    delete,
    insert,
    text,
)
from sqlalchemy.dialects.postgresql import INET, JSONB, TSVECTOR

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from tests.support.personas import Persona

SAMPLES: dict[str, Any] = {"currency": "EUR", "country": "FR", "period": "2026", "salt": "abc123"}
"""Values of columns whose CHECK is a pattern, by the column's name."""

OWN_SAMPLES: dict[str, dict[str, Any]] = {
    "api_keys": {
        "key_hash": b"planted" * 4 + b"hash",
        "last4": "hash",
        "permissions": ["read"],
        "allowed_ips": [],
        "revoked_at": None,
        "revoke_reason": None,
    },
    # A purge waits for what is still alive at the payment provider.
    "billing_customers": {"stripe_customer_id": None},
    "discount_codes": {"code": "PLANTED", "value": 100},
    "email_templates": {"locale": "fr"},
    "mfa_backup_codes": {"selector": "4SEL"},
    "mfa_factors": {"status": "active", "type": "totp"},
    "order_payments": {"method": "cash"},
    "oauth_states": {"state_hash": b"planted!" * 4},
    "orders": {"status": "draft"},
    "push_subscriptions": {"endpoint_hash": b"planted!" * 4},
    "revenue_tracking": {"source": "order", "account": "merchant"},
    "stock_movements": {"delta_stock": 1},
    "subject_keys": {"key_sealed": b"planted"},
    "stored_files": {"storage_key": "avatars/x/planted.webp", "sha256": "0" * 64, "organization_id": None},
    "subscriptions": {"status": "canceled"},
    "team_members": {"role": "viewer"},
}
"""Values that one table's CHECKs ask for, by the table and the attribute."""

SINGLE_ROWS = {"event_epochs", "team_members"}
"""Tables that hold the row in question already; it makes room for the planted one."""

BY_TYPE: tuple[tuple[type[Any], Callable[[], Any]], ...] = (
    (Uuid, uuid7),
    (DateTime, clock.now),
    (Boolean, lambda: False),
    (Integer, lambda: 1),
    (LargeBinary, lambda: b"planted"),
    (ARRAY, lambda: ["planted"]),
    (JSONB, dict),
    (INET, lambda: "127.0.0.1"),
    (TSVECTOR, lambda: ""),
    (Text, lambda: "planted"),
)


def values_of(model: type[Any], owner: Persona) -> dict[str, Any]:
    """A row of `owner`'s, by attribute: its whole key, and what is not null and has no default."""
    values: dict[str, Any] = {}
    for attribute in model.__mapper__.column_attrs:
        column = attribute.columns[0]
        is_due = column.primary_key or (not column.nullable and column.server_default is None)
        if column.name == "organization_id":
            values[attribute.key] = owner.organization_id
        elif column.name == "user_id":
            values[attribute.key] = owner.user_id
        elif is_due and column.identity is None:
            values[attribute.key] = _sample(column)
    return values | OWN_SAMPLES.get(model.__tablename__, {})


async def plant(db: SystemSession, model: type[Any], owner: Persona) -> tuple[Any, ...]:
    """Insert a row of `owner`'s and answer its primary key. References and triggers are off; CHECKs hold."""
    await db.execute(text("SET LOCAL session_replication_role = replica"))
    if model.__tablename__ in SINGLE_ROWS:
        await db.execute(delete(model))
    table = model.__table__
    statement = insert(model).values(**values_of(model, owner)).returning(*table.primary_key.columns)
    key = (await db.execute(statement)).one()
    await db.execute(text("SET LOCAL session_replication_role = origin"))
    await db.commit()
    return tuple(key)


def _sample(column: Column[Any]) -> Any:
    """A value that the column takes: a word of its closed list, a known name's, or any of its type."""
    table = column.table
    assert isinstance(table, Table)
    if words := _closed_list(table, column.name):
        return words[0]
    if column.name in SAMPLES:
        return SAMPLES[column.name]
    for kind, make in BY_TYPE:
        if isinstance(column.type, kind):
            return make()
    raise AssertionError(f"{column}: teach tests/invariants/rows.py a value of {column.type!r}")


def _closed_list(table: Table, name: str) -> list[str]:
    """The words of a CHECK `name IN ('a', 'b')`."""
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            found = re.match(rf"{name} IN \((.*)\)", str(constraint.sqltext))
            if found:
                return re.findall(r"'([^']*)'", found[1])
    return []
