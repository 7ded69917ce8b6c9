"""One organisation with many members who are signed in, and its products, made directly in the database."""

import secrets
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from app.core.crypto import key_ring, seal
from app.core.ids import uuid7
from benchmarks.seeding import OWNERS, PRODUCT_ROWS, SESSIONS, Owner, signed_in

ORGANIZATION = """
    INSERT INTO organizations (id, name, slug, kind, created_by) VALUES ($1, 'Maison', 'maison', 'team', $2)
"""

MEMBERS = """
    INSERT INTO team_members (organization_id, id, user_id, role, source, joined_at)
      SELECT $1, uuidv7(), user_id, CASE WHEN n = 1 THEN 'owner' ELSE 'viewer' END, 'invitation', now()
      FROM unnest($2::uuid[]) WITH ORDINALITY AS m (user_id, n)
"""


@dataclass(frozen=True)
class House:
    """An organisation, its owner, its other members and its products."""

    organization_id: UUID
    owner: Owner
    members: list[Owner]
    products: list[str]


async def settle(url: str, *, members: int, products: int) -> House:
    """Fill an empty database. Everybody has a session of their own; members may read, and no more."""
    users = [uuid7() for _ in range(members + 1)]
    sessions = [uuid7() for _ in users]
    organization_id = uuid7()
    organizations = [organization_id] * len(users)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(OWNERS, users, organizations)
        await connection.execute(ORGANIZATION, organization_id, users[0])
        await connection.execute(MEMBERS, organization_id, users)
        key = seal(key_ring(), secrets.token_bytes(32), context="sessions.refresh_key_sealed:benchmark")
        await connection.execute(SESSIONS, sessions, users, organizations, key)
        await connection.execute(PRODUCT_ROWS, users[:1], organizations[:1], 12_000, products)
        rows = await connection.fetch("SELECT id FROM products ORDER BY id")
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    everybody = {person.user_id: person for person in await signed_in(url)}
    people = [everybody[user_id] for user_id in users]
    return House(organization_id, people[0], people[1:], [str(row["id"]) for row in rows])
