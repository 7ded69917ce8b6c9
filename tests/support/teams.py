"""What tests of teams share: looking up memberships, and people with several organisations."""

from uuid import UUID

from sqlalchemy import select

from app.core.database import SystemSession
from app.models.auth import User, UserSession
from app.models.team import Organization, TeamMember
from tests.support.personas import Persona


async def member_id(db: SystemSession, persona: Persona) -> UUID:
    """The membership of a persona in the organisation that they work in."""
    statement = select(TeamMember.id).where(
        TeamMember.user_id == persona.user_id, TeamMember.organization_id == persona.organization_id
    )
    return (await db.execute(statement)).scalar_one()


async def works_in(db: SystemSession, persona: Persona) -> UUID:
    """The active organisation of a persona's session, as it stands now."""
    statement = select(UserSession.organization_id).where(UserSession.id == persona.session_id)
    return (await db.execute(statement)).scalar_one()


async def home_of(db: SystemSession, user_id: UUID) -> UUID:
    """The personal organisation of a person."""
    statement = (
        select(Organization.id)
        .join(TeamMember, TeamMember.organization_id == Organization.id)
        .where(TeamMember.user_id == user_id, TeamMember.role == "owner", Organization.kind == "personal")
    )
    return (await db.execute(statement)).scalar_one()


async def user_of(db: SystemSession, persona: Persona) -> User:
    """The account of a persona."""
    return await db.get_one(User, persona.user_id)
