"""The fixtures keep their promise: a test leaves nothing behind, unless it has a database of its own."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database import Database, SystemSession
from app.models.auth import User
from tests.support.personas import Persona


async def persons_seen_by(engine: AsyncEngine, email: str) -> int:
    """How many people with this address another connection sees."""
    async with engine.connect() as connection:
        statement = select(func.count()).select_from(User).where(User.email == email)
        return (await connection.execute(statement)).scalar_one()


async def test_commit_when_the_test_runs_in_the_outer_transaction(
    worker_engine: AsyncEngine, db: SystemSession, alice: Persona
):
    await db.commit()
    assert await db.scalar(select(User.id).where(User.email == alice.email)) == alice.user_id
    assert await persons_seen_by(worker_engine, alice.email) == 0


@pytest.mark.commits
async def test_commit_when_the_test_has_a_database_of_its_own(
    database: Database, worker_engine: AsyncEngine, db: SystemSession, alice: Persona
):
    await db.commit()
    assert await persons_seen_by(database.engine, alice.email) == 1
    assert await persons_seen_by(worker_engine, alice.email) == 0
