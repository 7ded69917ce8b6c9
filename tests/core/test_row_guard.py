"""The row guard: an OwnerSession sees and writes its principal's rows, whatever the statement is."""

import pytest
from sqlalchemy import delete, exists, func, insert, literal, select, true, update
from sqlalchemy.orm import aliased

from app.core.database import Database, ForeignRowError, SystemSession
from app.core.ids import uuid7
from app.models.auth import Password, UserSession
from app.models.settings import Profile
from app.models.team import TeamMember, TeamRole
from tests.support.personas import Persona


async def role_of(db: SystemSession, owner: Persona, key: str = "craft") -> TeamRole:
    row = TeamRole(
        organization_id=owner.organization_id,
        id=uuid7(),
        key=key,
        name="Craft",
        permissions=["organization:read"],
    )
    db.add(row)
    await db.commit()
    return row


async def test_every_form_of_select_when_the_rows_are_a_strangers(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
):
    role = await role_of(db, alice)
    other = aliased(TeamRole)
    async with database.owner(charlie.principal) as session:
        assert await session.get(TeamRole, (alice.organization_id, role.id)) is None
        assert (await session.scalars(select(TeamRole))).all() == []
        assert await session.scalar(select(func.count()).select_from(TeamRole)) == 0
        assert await session.scalar(select(exists().where(TeamRole.id == role.id))) is False
        assert await session.scalar(select(select(func.count(TeamRole.id)).scalar_subquery())) == 0
        assert (await session.execute(select(select(TeamRole.id).cte().c.id))).all() == []
        assert (await session.execute(select(TeamMember.id, other.id).join(other, true()))).all() == []
        both = select(TeamRole.id).union_all(select(TeamRole.id))
        assert (await session.execute(both)).all() == []
        known = select(TeamMember.id).where(literal(role.id).in_(select(TeamRole.id)))
        assert (await session.execute(known)).all() == []


async def test_the_same_statement_when_two_owners_run_it_in_turn(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
):
    hers = await role_of(db, alice, "hers")
    his = await role_of(db, charlie, "his")
    for persona, expected in ((alice, hers.id), (charlie, his.id), (alice, hers.id)):
        async with database.owner(persona.principal) as session:
            assert (await session.scalars(select(TeamRole.id))).all() == [expected]


async def test_reads_when_there_is_no_owner(database: Database, db: SystemSession, alice: Persona):
    await role_of(db, alice)
    async with database.owner(None) as session:
        for model in (TeamRole, UserSession, Profile, Password):
            assert await session.scalar(select(func.count()).select_from(model)) == 0


async def test_bulk_writes_when_the_rows_are_a_strangers(
    database: Database, db: SystemSession, alice: Persona, charlie: Persona
):
    role = await role_of(db, alice)
    async with database.owner(charlie.principal) as session:
        renamed = await session.execute(update(TeamRole).values(name="Mine").returning(TeamRole.id))
        assert renamed.all() == []
        gone = await session.execute(delete(TeamRole).where(TeamRole.id == role.id).returning(TeamRole.id))
        assert gone.all() == []
        with pytest.raises(ForeignRowError):
            await session.execute(insert(TeamRole).values(organization_id=alice.organization_id))
        with pytest.raises(ForeignRowError):
            await session.execute(update(Profile).values(full_name="Mallory"))


async def test_flush_when_a_new_row_names_another_owner(database: Database, alice: Persona, charlie: Persona):
    async with database.owner(charlie.principal) as session:
        session.add(
            TeamRole(organization_id=alice.organization_id, id=uuid7(), key="craft", name="x", permissions=[])
        )
        with pytest.raises(ForeignRowError):
            await session.flush()


async def test_flush_when_a_new_row_names_no_owner(database: Database, alice: Persona):
    async with database.owner(alice.principal) as session:
        row = TeamRole(id=uuid7(), key="craft", name="x", permissions=["organization:read"])
        session.add(row)
        await session.flush()
        assert row.organization_id == alice.organization_id


async def test_system_rows_when_their_own_person_asks(database: Database, db: SystemSession, alice: Persona):
    db.add(Password(user_id=alice.user_id, hash="x", changed_at=await db.now()))
    await db.commit()
    async with database.owner(alice.principal) as session:
        assert (await session.scalars(select(Password))).all() == []
        session.add(Password(user_id=alice.user_id, hash="y", changed_at=await session.now()))
        with pytest.raises(ForeignRowError):
            await session.flush()


async def test_shared_rows_when_somebody_who_sees_them_writes(
    database: Database, alice: Persona, charlie: Persona
):
    async with database.owner(charlie.principal) as session:
        profile = await session.get_one(Profile, alice.user_id)
        profile.full_name = "Mallory"
        with pytest.raises(ForeignRowError):
            await session.flush()
        await session.rollback()
    async with database.owner(charlie.principal) as session:
        own = await session.get_one(Profile, charlie.user_id)
        own.full_name = "Charles"
        await session.flush()


async def test_personal_rows_when_a_colleague_asks(database: Database, alice: Persona, bob: Persona):
    async with database.owner(bob.principal) as session:
        seen = (await session.scalars(select(UserSession.user_id))).all()
        assert set(seen) == {bob.user_id}
