"""What the database itself refuses about accounts and organisations."""

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from app.core import clock
from app.core.database import SystemSession
from app.core.errors import constraint_name
from app.core.ids import uuid7
from app.models.auth import OneTimeToken, User, UserSession
from app.models.team import Organization, TeamMember
from tests.factories.accounts import make_member, make_organization, make_session, make_user


def owner_of(organization: Organization):
    return (TeamMember.organization_id == organization.id) & (TeamMember.role == "owner")


async def refused(db: SystemSession) -> str | None:
    with pytest.raises(IntegrityError) as caught:
        await db.commit()
    await db.rollback()
    return constraint_name(caught.value)


@pytest.mark.commits
async def test_owner_when_an_organization_would_lose_them(db: SystemSession) -> None:
    organization = await make_organization(db)
    statements = (
        delete(TeamMember).where(owner_of(organization)),
        update(TeamMember).where(owner_of(organization)).values(role="admin"),
    )
    for statement in statements:
        await db.execute(statement)
        assert await refused(db) == "organization_has_owner"
        await db.refresh(organization)


@pytest.mark.commits
async def test_owner_when_an_organization_is_made_without_one(db: SystemSession) -> None:
    db.add(Organization(name="Nobody's", slug="nobodys", kind="team"))
    assert await refused(db) == "organization_has_owner"


@pytest.mark.commits
async def test_owner_when_the_ownership_moves(db: SystemSession) -> None:
    organization = await make_organization(db)
    heir = await make_member(db, organization, "admin")
    await db.execute(update(TeamMember).where(owner_of(organization)).values(role="admin"))
    await db.execute(update(TeamMember).where(TeamMember.id == heir.id).values(role="owner"))
    await db.commit()


@pytest.mark.commits
async def test_owner_when_the_organization_ends(db: SystemSession) -> None:
    closed, purged = await make_organization(db), await make_organization(db)
    closed.deleted_at = clock.now()
    await db.commit()
    await db.execute(delete(TeamMember).where(owner_of(closed)))
    await db.execute(delete(Organization).where(Organization.id == purged.id))
    await db.commit()
    closed.deleted_at = None
    assert await refused(db) == "organization_has_owner"


async def flushed(db: SystemSession, row: object) -> str | None:
    savepoint = await db.begin_nested()
    db.add(row)
    with pytest.raises(IntegrityError) as caught:
        await db.flush()
    await savepoint.rollback()
    return constraint_name(caught.value)


async def test_owner_when_there_would_be_two(db: SystemSession) -> None:
    organization = await make_organization(db)
    other = await make_user(db)
    member = TeamMember(
        organization_id=organization.id,
        user_id=other.id,
        role="owner",
        source="transfer",
        joined_at=clock.now(),
    )
    assert await flushed(db, member) == "team_members_owner_key"


async def test_address_when_two_accounts_would_share_it(db: SystemSession) -> None:
    user = await make_user(db, email="camille@maison.example")
    twin = {"email": "Camille@maison.example", "email_canonical": "camille@maison.example"}
    assert await flushed(db, User(**twin)) == "users_email_canonical_key"
    user.status = "erased"
    await db.flush()
    db.add(User(**twin))
    await db.flush()


async def test_token_when_two_of_a_purpose_would_be_live(db: SystemSession) -> None:
    user = await make_user(db)
    token = {
        "purpose": "email_confirm", "owner_key": str(user.id), "user_id": user.id, "expires_at": clock.now(),
    }  # fmt: skip
    db.add(OneTimeToken(**token, consumed_at=clock.now()))
    db.add(OneTimeToken(**token, voided_at=clock.now()))
    db.add(OneTimeToken(**token))
    await db.flush()
    assert await flushed(db, OneTimeToken(**token)) == "one_time_tokens_live_key"


async def test_session_when_its_person_is_deleted(db: SystemSession) -> None:
    user = await make_user(db)
    await make_session(db, user)
    await db.execute(delete(Organization).where(Organization.created_by == user.id))
    await db.execute(delete(User).where(User.id == user.id))
    assert (await db.execute(select(UserSession).where(UserSession.user_id == user.id))).all() == []


async def test_role_when_a_member_holds_none_of_the_custom_ones(db: SystemSession) -> None:
    organization = await make_organization(db)
    user = await make_user(db)
    member = {
        "organization_id": organization.id,
        "user_id": user.id,
        "source": "invitation",
        "joined_at": clock.now(),
    }
    assert await flushed(db, TeamMember(**member, role="custom")) == "team_members_team_role_id"
    assert await flushed(db, TeamMember(**member, role="admin", team_role_id=uuid7())) is not None
    assert await flushed(db, TeamMember(**member, role="emperor")) == "team_members_role"
