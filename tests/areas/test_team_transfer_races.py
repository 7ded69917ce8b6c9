"""Transfers of ownership under parallel requests, with real commits: there is one owner at every moment."""

import asyncio
from collections import Counter
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select

from app.core.config import get_settings
from app.core.database import SystemSession
from app.models.team import OwnershipTransfer, TeamMember
from tests.areas.test_team_transfers import accept, close, member_of, offer
from tests.factories.invitations import make_transfer
from tests.support.personas import Persona, make_colleague

pytestmark = pytest.mark.commits

ROUNDS = 20


@pytest.fixture(autouse=True)
def many_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many offers as a test likes."""
    monkeypatch.setattr(get_settings(), "limit_transfer", "1000/24h")
    monkeypatch.setattr(get_settings(), "max_owned_organizations", 1000)


async def owner_of(db: SystemSession, organization_id: UUID) -> UUID:
    """The one owner; more or less than one is an error."""
    statement = select(TeamMember.user_id).where(
        TeamMember.organization_id == organization_id, TeamMember.role == "owner"
    )
    found = (await db.execute(statement)).scalar_one()
    await db.commit()
    return found


async def pending(db: SystemSession, organization_id: UUID) -> int:
    statement = select(func.count(OwnershipTransfer.id)).where(
        OwnershipTransfer.organization_id == organization_id, OwnershipTransfer.status == "pending"
    )
    found = int(await db.scalar(statement) or 0)
    await db.commit()
    return found


async def test_ownership_when_two_offers_and_two_acceptances_race(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The owner offers it to two people at once, both accept at once; then the new owner does the same."""
    people = [alice, *[await make_colleague(db, alice, name, role="admin") for name in ("dora", "emil")]]
    members = {person.user_id: (await member_of(db, alice.organization_id, person)).id for person in people}
    by_id = {person.user_id: person for person in people}
    await db.commit()
    for _ in range(ROUNDS):
        owner = by_id[await owner_of(db, alice.organization_id)]
        rivals = [person for person in people if person is not owner]
        offers = await asyncio.gather(*(offer(client, owner, members[rival.user_id]) for rival in rivals))
        assert Counter(answer.status_code for answer in offers) == {201: 1, 409: 1}
        taken = await asyncio.gather(*(accept(client, rival) for rival in (*rivals, *rivals)))
        assert Counter(answer.status_code for answer in taken) == {200: 1, 404: 3}
        winner = offers[0] if offers[0].status_code == 201 else offers[1]
        assert str(await owner_of(db, alice.organization_id)) == winner.json()["to_user"]["id"]
        assert await pending(db, alice.organization_id) == 0


async def test_ownership_when_acceptance_and_cancelling_race(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    dora = await make_colleague(db, alice, "dora", role="admin")
    giver, taker = alice, dora
    for number in range(ROUNDS):
        transfer = await make_transfer(db, owner=giver, target=taker.user_id)
        acts = [accept(client, taker), close(client, giver)]
        answers = await asyncio.gather(*(reversed(acts) if number % 2 else acts))
        accepted, closed = reversed(answers) if number % 2 else answers
        status = await db.scalar(select(OwnershipTransfer.status).where(OwnershipTransfer.id == transfer.id))
        owner = await owner_of(db, alice.organization_id)
        if status == "accepted":
            assert (accepted.status_code, closed.status_code) == (200, 404)
            assert owner == taker.user_id
            giver, taker = taker, giver
        else:
            assert (status, accepted.status_code, closed.status_code) == ("cancelled", 404, 204)
            assert owner == giver.user_id


async def test_ownership_when_the_target_accepts_and_declines_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    dora = await make_colleague(db, alice, "dora", role="admin")
    giver, taker = alice, dora
    for number in range(ROUNDS):
        await make_transfer(db, owner=giver, target=taker.user_id)
        acts = [accept(client, taker), close(client, taker)]
        answers = await asyncio.gather(*(reversed(acts) if number % 2 else acts))
        accepted, closed = reversed(answers) if number % 2 else answers
        assert sorted([accepted.status_code, closed.status_code]) in ([200, 404], [204, 404])
        owner = await owner_of(db, alice.organization_id)
        assert owner == (taker if accepted.status_code == 200 else giver).user_id
        if accepted.status_code == 200:
            giver, taker = taker, giver


async def test_ownership_when_the_target_is_removed_at_the_same_moment(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Whoever is removed owns nothing, and the owner is never removed."""
    owner = alice
    for number in range(ROUNDS):
        target = await make_colleague(db, alice, f"target{number}", role="admin")
        member = await member_of(db, alice.organization_id, target)
        await make_transfer(db, owner=owner, target=target.user_id)
        address = f"/api/team/members/{member.id}"
        acts = [accept(client, target), client.delete(address, headers=owner.headers)]
        answers = await asyncio.gather(*(reversed(acts) if number % 2 else acts))
        accepted, removed = reversed(answers) if number % 2 else answers
        found = await owner_of(db, alice.organization_id)
        if accepted.status_code == 200:
            assert removed.status_code == 409
            assert found == target.user_id
            owner = target
        else:
            assert (accepted.status_code, removed.status_code) == (404, 204)
            assert found == owner.user_id
        assert await pending(db, alice.organization_id) == 0


async def test_ownership_when_the_target_leaves_at_the_same_moment(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    owner = alice
    for number in range(ROUNDS):
        target = await make_colleague(db, alice, f"target{number}", role="member")
        await make_transfer(db, owner=owner, target=target.user_id)
        acts = [accept(client, target), client.post("/api/team/leave", headers=target.headers)]
        answers = await asyncio.gather(*(reversed(acts) if number % 2 else acts))
        accepted, left = reversed(answers) if number % 2 else answers
        found = await owner_of(db, alice.organization_id)
        assert found == (target if accepted.status_code == 200 else owner).user_id
        assert (left.status_code == 204) == (accepted.status_code != 200)
        if accepted.status_code == 200:
            owner = target
