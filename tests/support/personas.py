"""The people of every story: Alice owns, Bob may look, Charlie is a stranger."""

from dataclasses import dataclass
from uuid import UUID

from app.core.access import Principal
from app.core.database import SystemSession
from app.core.permissions import permissions_of
from app.models.team import Organization
from tests.factories.accounts import access_token_of, make_member, make_session, make_user


@dataclass(frozen=True)
class Persona:
    """A signed-in person in their organisation."""

    user_id: UUID
    organization_id: UUID
    session_id: UUID
    email: str
    role: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def principal(self) -> Principal:
        return Principal(
            kind="user",
            user_id=self.user_id,
            organization_id=self.organization_id,
            permissions=permissions_of(self.role, None),
            role=self.role,
            session_id=self.session_id,
        )


async def make_owner(db: SystemSession, name: str, *, password: str | None = None) -> Persona:
    """A person who owns the personal organisation that sign-up makes."""
    email = f"{name}@luneo.test"
    user = await make_user(db, email=email, full_name=name.capitalize(), password=password)
    return await _signed_in(db, user.id, user.last_organization_id, email, "owner")


async def make_colleague(db: SystemSession, boss: Persona, name: str, *, role: str = "viewer") -> Persona:
    """A member of somebody's organisation, working there."""
    email = f"{name}@luneo.test"
    organization = await db.get_one(Organization, boss.organization_id)
    member = await make_member(db, organization, role=role, email=email)
    return await _signed_in(db, member.user_id, boss.organization_id, email, role)


async def _signed_in(
    db: SystemSession, user_id: UUID, organization_id: UUID | None, email: str, role: str
) -> Persona:
    assert organization_id is not None
    session = await make_session(db, user_id, organization_id=organization_id)
    await db.commit()
    return Persona(user_id, organization_id, session.id, email, role, access_token_of(session))
