"""The transfer of ownership over HTTP, in two steps."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.core.errors import constraint_name
from app.jobs.invitations import expire_offers
from app.models.auth import User, UserSession
from app.models.team import Organization, OwnershipTransfer, TeamMember
from app.services.team.transfers import cancel_transfer_to
from tests.factories.invitations import make_transfer
from tests.support.accounts import events
from tests.support.personas import Persona, make_colleague

ADDRESS = "/api/team/transfer-ownership"


@pytest.fixture
async def dora(db: SystemSession, alice: Persona) -> Persona:
    """Shall become the owner of Alice's organisation."""
    return await make_colleague(db, alice, "dora", role="designer")


async def member_of(db: SystemSession, organization_id: UUID, person: Persona) -> TeamMember:
    """A membership as it stands in the database."""
    statement = select(TeamMember).where(
        TeamMember.organization_id == organization_id, TeamMember.user_id == person.user_id
    )
    return (await db.execute(statement.execution_options(populate_existing=True))).scalar_one()


async def offer(client: AsyncClient, giver: Persona, member_id: UUID | str) -> Response:
    return await client.post(ADDRESS, headers=giver.headers, json={"member_id": str(member_id)})


async def offer_to(client: AsyncClient, db: SystemSession, giver: Persona, taker: Persona) -> Response:
    return await offer(client, giver, (await member_of(db, giver.organization_id, taker)).id)


async def accept(client: AsyncClient, taker: Persona) -> Response:
    return await client.post(f"{ADDRESS}/accept", headers=taker.headers)


async def close(client: AsyncClient, persona: Persona) -> Response:
    return await client.delete(ADDRESS, headers=persona.headers)


async def read(client: AsyncClient, persona: Persona) -> Response:
    return await client.get(ADDRESS, headers=persona.headers)


async def states(db: SystemSession) -> list[str]:
    """What became of every offer, oldest first."""
    rows = await db.execute(
        select(OwnershipTransfer.status).order_by(OwnershipTransfer.created_at, OwnershipTransfer.id)
    )
    return list(rows.scalars())


async def roles(db: SystemSession, organization_id: UUID, *people: Persona) -> list[str]:
    return [(await member_of(db, organization_id, person)).role for person in people]


async def without_step_up(db: SystemSession, persona: Persona) -> None:
    before = clock.now() - timedelta(seconds=get_settings().step_up_seconds + 1)
    await db.execute(
        update(UserSession).where(UserSession.id == persona.session_id).values(step_up_at=before)
    )
    await db.commit()


def refusal(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_offer_when_the_target_may_own(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, dora: Persona
) -> None:
    answer = await offer_to(client, db, alice, dora)
    assert (answer.status_code, answer.headers["location"]) == (201, ADDRESS)
    body = answer.json()
    member = await member_of(db, alice.organization_id, dora)
    wanted = {"status": "pending", "member_id": str(member.id)}
    assert body.items() >= wanted.items()
    assert body["from_user"] == {"id": str(alice.user_id), "full_name": "Alice", "avatar_url": None}
    assert body["to_user"]["id"] == str(dora.user_id)
    assert (await read(client, bob)).json() == body
    assert await roles(db, alice.organization_id, alice, dora) == ["owner", "designer"]
    people = {"from_user_id": str(alice.user_id), "to_user_id": str(dora.user_id)}
    assert await events(db, "team.ownership_requested") == [{"transfer_id": body["id"], **people}]
    again = await offer_to(client, db, alice, bob)
    assert refusal(again) == (409, "transfer_pending")


async def test_accept_when_the_organization_is_personal(
    client: AsyncClient, db: SystemSession, alice: Persona, dora: Persona
) -> None:
    await offer_to(client, db, alice, dora)
    answer = await accept(client, dora)
    assert answer.status_code == 200, answer.text
    assert answer.json()["role"] == "owner"
    assert answer.json()["organization"]["kind"] == "team"
    assert await roles(db, alice.organization_id, alice, dora) == ["admin", "owner"]
    organization = await db.get_one(Organization, alice.organization_id, populate_existing=True)
    assert (organization.kind, organization.version) == ("team", 2)
    home = (
        await db.execute(
            select(Organization, TeamMember)
            .join(TeamMember, TeamMember.organization_id == Organization.id)
            .where(TeamMember.user_id == alice.user_id, TeamMember.role == "owner")
        )
    ).one()
    assert (home[0].kind, home[0].name, home[1].source) == ("personal", "Alice", "transfer")
    assert home[0].id != alice.organization_id
    assert await states(db) == ["accepted"]
    assert len(await events(db, "team.ownership_transferred")) == 1
    assert refusal(await accept(client, dora)) == (404, "not_found")
    assert refusal(await offer_to(client, db, alice, dora)) == (403, "permission_denied")
    assert (await offer_to(client, db, dora, alice)).status_code == 201


async def test_accept_when_the_organization_is_a_teams(
    client: AsyncClient, db: SystemSession, alice: Persona, dora: Persona
) -> None:
    """No new home is made for a former owner who has one."""
    await db.execute(update(Organization).where(Organization.id == alice.organization_id).values(kind="team"))
    await db.commit()
    await offer_to(client, db, alice, dora)
    assert (await accept(client, dora)).status_code == 200
    owned = select(TeamMember.id).where(TeamMember.user_id == alice.user_id, TeamMember.role == "owner")
    assert (await db.execute(owned)).all() == []
    organization = await db.get_one(Organization, alice.organization_id, populate_existing=True)
    assert organization.version == 1


async def test_offer_when_nobody_else_may_make_it(
    client: AsyncClient, db: SystemSession, alice: Persona, dora: Persona
) -> None:
    admin = await make_colleague(db, alice, "ada", role="admin")
    assert refusal(await offer_to(client, db, admin, dora)) == (403, "permission_denied")
    assert refusal(await offer(client, admin, uuid4())) == (403, "permission_denied")


async def test_acts_when_the_last_check_is_old(
    client: AsyncClient, db: SystemSession, alice: Persona, dora: Persona
) -> None:
    await without_step_up(db, alice)
    assert refusal(await offer_to(client, db, alice, dora)) == (401, "step_up_required")
    await make_transfer(db, owner=alice, target=dora.user_id)
    await without_step_up(db, dora)
    answer = await accept(client, dora)
    assert refusal(answer) == (401, "step_up_required")
    assert "max_age=900" in answer.headers["www-authenticate"]
    assert await states(db) == ["pending"]
    assert (await close(client, alice)).status_code == 204


@pytest.mark.parametrize("member_id", ["x", "", 7, None])
async def test_offer_when_the_body_is_not_valid(client: AsyncClient, alice: Persona, member_id: Any) -> None:
    answer = await client.post(ADDRESS, headers=alice.headers, json={"member_id": member_id})
    assert answer.status_code == 422


async def test_offer_when_the_target_is_the_owner_or_a_stranger(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    own = await member_of(db, alice.organization_id, alice)
    assert refusal(await offer(client, alice, own.id)) == (422, "target_is_owner")
    foreign = await member_of(db, charlie.organization_id, charlie)
    assert refusal(await offer(client, alice, foreign.id)) == (404, "not_found")
    assert refusal(await offer(client, alice, uuid4())) == (404, "not_found")


CHANGES: dict[str, Any] = {
    "member_suspended": lambda dora: (
        update(TeamMember)
        .where(TeamMember.user_id == dora.user_id, TeamMember.role == "designer")
        .values(status="suspended")
    ),
    "account_not_active": lambda dora: (
        update(User).where(User.id == dora.user_id).values(status="pending_erasure")
    ),
    "email_not_confirmed": lambda dora: (
        update(User).where(User.id == dora.user_id).values(email_confirmed_at=None)
    ),
    "managed_account": lambda dora: (
        update(User).where(User.id == dora.user_id).values(managed_by_organization_id=dora.organization_id)
    ),
    "second_factor_missing": lambda dora: (
        update(Organization).where(Organization.id == dora.organization_id).values(sso_enforced=True)
    ),
}


@pytest.mark.parametrize("reason", CHANGES)
async def test_offer_when_the_target_may_not_own(
    client: AsyncClient, db: SystemSession, alice: Persona, dora: Persona, reason: str
) -> None:
    member = await member_of(db, alice.organization_id, dora)
    if reason == "second_factor_missing":
        await db.execute(update(UserSession).where(UserSession.user_id == alice.user_id).values(aal=2))
    await db.execute(CHANGES[reason](dora))
    await db.commit()
    answer = await offer(client, alice, member.id)
    assert refusal(answer) == (409, "target_not_eligible")
    assert answer.json()["reason"] == reason
    assert await states(db) == []


async def test_accept_when_the_target_may_not_own_any_more(
    client: AsyncClient, db: SystemSession, alice: Persona, dora: Persona
) -> None:
    await offer_to(client, db, alice, dora)
    await db.execute(CHANGES["managed_account"](dora))
    await db.commit()
    answer = await accept(client, dora)
    assert (refusal(answer), answer.json()["reason"]) == ((409, "target_not_eligible"), "managed_account")
    assert await states(db) == ["pending"]
    assert await roles(db, alice.organization_id, alice, dora) == ["owner", "designer"]


async def test_accept_when_the_target_owns_as_many_as_one_may(
    client: AsyncClient, db: SystemSession, alice: Persona, dora: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    await offer_to(client, db, alice, dora)
    monkeypatch.setattr(get_settings(), "max_owned_organizations", 1)
    answer = await accept(client, dora)
    assert answer.json()["reason"] == "too_many_organizations"
    monkeypatch.setattr(get_settings(), "max_owned_organizations", 2)
    assert (await accept(client, dora)).status_code == 200


async def test_accept_when_the_session_may_not_enter(
    client: AsyncClient, db: SystemSession, alice: Persona, dora: Persona
) -> None:
    """Who has not passed the second factor that the organisation demands does not come to own it."""
    await make_transfer(db, owner=alice, target=dora.user_id)
    await db.execute(
        update(Organization).where(Organization.id == alice.organization_id).values(require_mfa=True)
    )
    await db.commit()
    assert refusal(await accept(client, dora)) == (403, "mfa_enrollment_required")
    assert await roles(db, alice.organization_id, alice, dora) == ["owner", "designer"]


async def test_accept_when_there_is_no_offer_to_the_caller(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, charlie: Persona, dora: Persona
) -> None:
    await offer_to(client, db, alice, dora)
    for persona in (alice, bob, charlie):
        assert refusal(await accept(client, persona)) == (404, "not_found")
    assert refusal(await close(client, bob)) == (404, "not_found")
    assert refusal(await close(client, charlie)) == (404, "not_found")
    assert refusal(await read(client, charlie)) == (404, "not_found")
    assert await states(db) == ["pending"]


async def test_close_when_the_owner_or_the_target_does_it(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, dora: Persona
) -> None:
    await offer_to(client, db, alice, dora)
    assert (await close(client, alice)).status_code == 204
    assert refusal(await accept(client, dora)) == (404, "not_found")
    assert refusal(await close(client, alice)) == (404, "not_found")
    assert refusal(await read(client, bob)) == (404, "not_found")
    await offer_to(client, db, alice, dora)
    assert (await close(client, dora)).status_code == 204
    assert refusal(await accept(client, dora)) == (404, "not_found")
    assert await states(db) == ["cancelled", "declined"]
    assert len(await events(db, "team.ownership_cancelled")) == 1
    assert len(await events(db, "team.ownership_declined")) == 1
    assert (await offer_to(client, db, alice, bob)).status_code == 201


async def test_accept_when_it_is_too_late(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, bob: Persona, dora: Persona
) -> None:
    transfer = await make_transfer(db, owner=alice, target=dora.user_id)
    transfer.expires_at = clock.now() - timedelta(minutes=1)
    await db.commit()
    assert refusal(await accept(client, dora)) == (410, "transfer_expired")
    assert refusal(await read(client, bob)) == (404, "not_found")
    assert refusal(await close(client, alice)) == (404, "not_found")
    await expire_offers(database)
    assert await states(db) == ["expired"]
    assert refusal(await accept(client, dora)) == (410, "transfer_expired")
    late = await make_transfer(db, owner=alice, target=bob.user_id)
    late.expires_at = clock.now() - timedelta(minutes=1)
    await db.commit()
    assert (await offer_to(client, db, alice, dora)).status_code == 201
    assert await states(db) == ["expired", "expired", "pending"]


async def test_offer_when_there_are_too_many_in_a_day(
    client: AsyncClient, db: SystemSession, alice: Persona, dora: Persona
) -> None:
    for _ in range(5):
        assert (await offer_to(client, db, alice, dora)).status_code == 201
        await close(client, alice)
    assert refusal(await offer_to(client, db, alice, dora)) == (429, "rate_limited")


async def test_transfer_when_its_target_goes(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, bob: Persona, dora: Persona
) -> None:
    await make_transfer(db, owner=alice, target=dora.user_id)
    async with database.transaction() as session:
        assert await cancel_transfer_to(session, alice.organization_id, bob.user_id) == 0
        assert await cancel_transfer_to(session, alice.organization_id, dora.user_id) == 1
    assert await states(db) == ["cancelled"]
    assert len(await events(db, "team.ownership_cancelled")) == 1
    assert refusal(await accept(client, dora)) == (404, "not_found")


@pytest.mark.commits
async def test_owner_when_the_last_one_is_taken_away(db: SystemSession, alice: Persona) -> None:
    """The trigger looks when the transaction commits, whoever wrote past the service."""
    demote = update(TeamMember).where(TeamMember.user_id == alice.user_id).values(role="admin")
    await db.execute(demote)
    with pytest.raises(DBAPIError) as caught:
        await db.commit()
    assert constraint_name(caught.value) == "organization_has_owner"
    await db.rollback()
    assert (await db.scalars(select(TeamMember.role).where(TeamMember.user_id == alice.user_id))).all() == [
        "owner"
    ]


async def test_owner_when_there_would_be_two(db: SystemSession, alice: Persona, dora: Persona) -> None:
    with pytest.raises(DBAPIError) as caught:
        await db.execute(
            update(TeamMember)
            .where(TeamMember.organization_id == alice.organization_id)
            .values(role="owner", status="active")
        )
    assert constraint_name(caught.value) == "team_members_owner_key"
