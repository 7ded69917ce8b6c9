"""Invitations under parallel requests, with real commits: no seat is given twice, a race has one winner."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from app.core.database import SystemSession
from app.models.auth import User
from app.models.team import Invitation, TeamMember
from tests.areas.test_team_accepting import accept, decline, membership
from tests.areas.test_team_inviting import cancel, invite, invite_all, resend
from tests.factories.billing import grant_plan
from tests.factories.invitations import make_invitation, token_of
from tests.support.accounts import PASSWORD, events
from tests.support.personas import Persona, make_colleague, make_owner

pytestmark = pytest.mark.commits

ROUNDS = 20
SEATS = 5
"""Of the free plan; Alice has the first."""


def outcomes(answers: Sequence[Response]) -> Counter[tuple[int, str | None]]:
    """How often each status and code was answered."""
    return Counter(
        (answer.status_code, answer.json().get("code") if answer.content else None) for answer in answers
    )


async def members_of(db: SystemSession, organization_id: UUID) -> int:
    statement = select(func.count(TeamMember.id)).where(TeamMember.organization_id == organization_id)
    return int(await db.scalar(statement) or 0)


async def pending_of(db: SystemSession, organization_id: UUID) -> int:
    statement = select(func.count(Invitation.id)).where(
        Invitation.organization_id == organization_id, Invitation.status == "pending"
    )
    return int(await db.scalar(statement) or 0)


async def status_of(db: SystemSession, invitation: Invitation) -> str:
    statement = select(Invitation.status).where(Invitation.id == invitation.id)
    found: str = (await db.execute(statement)).scalar_one()
    await db.commit()
    return found


async def guests(db: SystemSession, alice: Persona, count: int) -> list[tuple[Persona, str]]:
    """People with an account whom Alice has invited, each with their token."""
    made = []
    for number in range(count):
        guest = await make_owner(db, f"guest{number}")
        invitation = await make_invitation(db, owner=alice, email=guest.email)
        made.append((guest, await token_of(db, invitation.id)))
    return made


async def test_seats_when_twenty_acceptances_come_for_the_last_four(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Each of four invited people sends five at once."""
    people = await guests(db, alice, SEATS - 1)
    answers = await asyncio.gather(*(accept(client, guest, token) for guest, token in people * 5))
    assert outcomes(answers) == {(200, None): 4, (410, "token_used"): 16}
    assert await members_of(db, alice.organization_id) == SEATS
    assert len(await events(db, "team.member_joined")) == 4


async def test_seats_when_twenty_were_promised_and_five_are_left(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """A plan that became smaller: there is no sixth member, whoever comes first."""
    grant = await grant_plan(db, alice.organization_id, "business")
    people = await guests(db, alice, 20)
    await db.delete(grant)
    await db.commit()
    answers = await asyncio.gather(*(accept(client, guest, token) for guest, token in people))
    assert {answer.status_code for answer in answers} <= {200, 402}
    assert await members_of(db, alice.organization_id) <= SEATS
    await asyncio.gather(*(decline(client, token) for _, token in people[6:]))
    answers = await asyncio.gather(*(accept(client, guest, token) for guest, token in people[:6]))
    assert outcomes(answers)[402, "plan_limit_reached"] >= 2
    assert await members_of(db, alice.organization_id) <= SEATS
    await asyncio.gather(*(decline(client, token) for _, token in people[4:6]))
    await asyncio.gather(*(accept(client, guest, token) for guest, token in people[:4]))
    assert await members_of(db, alice.organization_id) == SEATS
    assert await pending_of(db, alice.organization_id) == 0


async def test_seats_when_twenty_are_invited_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    answers = await asyncio.gather(*(invite(client, alice, f"a{number}@b.example") for number in range(20)))
    assert outcomes(answers) == {(201, None): 4, (402, "plan_limit_reached"): 16}
    assert await pending_of(db, alice.organization_id) == 4
    assert len(await events(db, "team.member_invited")) == 4


async def test_seats_when_several_lists_are_invited_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    lists = [[f"a{number}@b.example" for number in range(first, first + 4)] for first in range(0, 20, 4)]
    answers = await asyncio.gather(*(invite_all(client, alice, *emails) for emails in lists))
    items = [item for answer in answers for item in answer.json()["items"]]
    assert Counter(item["status"] for item in items) == {"invited": 4, "refused": 16}
    assert await pending_of(db, alice.organization_id) == 4


async def test_address_when_it_is_invited_twenty_times_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """One row and one mail; the others are told that it is there."""
    answers = await asyncio.gather(*(invite(client, alice, "nora@b.example") for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 19}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await pending_of(db, alice.organization_id) == 1
    assert len(await events(db, "team.member_invited")) == 1
    assert await events(db, "team.invitation_resent") == []


async def test_seats_when_people_accept_while_others_are_invited(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    people = await guests(db, alice, 3)
    accepting = [accept(client, guest, token) for guest, token in people]
    inviting = [invite(client, alice, f"a{number}@b.example") for number in range(12)]
    answers = await asyncio.gather(*inviting[:6], *accepting, *inviting[6:])
    assert outcomes(answers) == {(200, None): 3, (201, None): 1, (402, "plan_limit_reached"): 11}
    assert await members_of(db, alice.organization_id) == 4
    assert await pending_of(db, alice.organization_id) == 1


async def test_acceptance_when_it_is_cancelled_at_the_same_moment(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    guest = await make_owner(db, "guest")
    seen: Counter[str] = Counter()
    for number in range(ROUNDS):
        invitation = await make_invitation(db, owner=alice, email=guest.email)
        token = await token_of(db, invitation.id)
        both = [accept(client, guest, token, switch=False), cancel(client, alice, invitation.id)]
        if number % 2:
            cancelled, accepted = await asyncio.gather(*reversed(both))
        else:
            accepted, cancelled = await asyncio.gather(*both)
        status = await status_of(db, invitation)
        seen[status] += 1
        member = await membership(db, alice, guest)
        if status == "accepted":
            assert (accepted.status_code, cancelled.status_code) == (200, 409)
            assert member is not None
            await db.delete(member)
        else:
            assert (status, cancelled.status_code) == ("cancelled", 204)
            assert (accepted.status_code, accepted.json()["code"]) == (410, "token_used")
            assert member is None
        await db.commit()
    assert sum(seen.values()) == ROUNDS


async def test_acceptance_when_it_is_declined_and_resent_at_the_same_moment(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    guest = await make_owner(db, "guest")
    for number in range(ROUNDS):
        invitation = await make_invitation(db, owner=alice, email=guest.email)
        token = await token_of(db, invitation.id)
        acts = [
            accept(client, guest, token, switch=False),
            decline(client, token),
            resend(client, alice, invitation.id),
        ]
        turn = number % 3
        answers = await asyncio.gather(*acts[turn:], *acts[:turn])
        accepted, declined, resent = (*answers[3 - turn :], *answers[: 3 - turn])
        status = await status_of(db, invitation)
        assert [accepted.status_code == 200, declined.status_code == 204].count(True) <= 1
        assert (accepted.status_code == 200) == (status == "accepted")
        assert (declined.status_code == 204) == (status == "declined")
        assert resent.status_code in (202, 409)
        if status == "pending":
            assert resent.status_code == 202
            assert (await cancel(client, alice, invitation.id)).status_code == 204
        member = await membership(db, alice, guest)
        assert (member is not None) == (status == "accepted")
        if member is not None:
            await db.delete(member)
        await db.commit()


async def test_acceptance_when_its_sender_is_demoted_at_the_same_moment(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    manager = await make_colleague(db, alice, "mia", role="manager")
    hers = await membership(db, alice, manager)
    assert hers is not None
    address = f"/api/team/members/{hers.id}"
    guest = await make_owner(db, "guest")
    for number in range(ROUNDS):
        invitation = await make_invitation(
            db, owner=alice, email=guest.email, role="manager", invited_by=manager.user_id
        )
        token = await token_of(db, invitation.id)
        acts = [
            accept(client, guest, token, switch=False),
            client.patch(address, headers=alice.headers, json={"role": "viewer"}),
        ]
        answers = await asyncio.gather(*(reversed(acts) if number % 2 else acts))
        accepted, demoted = reversed(answers) if number % 2 else answers
        assert demoted.status_code == 200
        assert outcomes([accepted]).keys() <= {(200, None), (410, "invitation_revoked")}
        member = await membership(db, alice, guest)
        assert (member is not None) == (accepted.status_code == 200)
        assert (await accept(client, guest, token)).status_code == 410
        if member is not None:
            await db.delete(member)
        else:
            assert (await cancel(client, alice, invitation.id)).status_code == 204
        await db.commit()
        restored = await client.patch(address, headers=alice.headers, json={"role": "manager"})
        assert restored.status_code == 200


async def test_signups_when_the_same_token_is_used_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Two of them race with each other, and with two that have no token."""
    for number in range(5):
        email = f"nora{number}@b.example"
        invitation = await make_invitation(db, owner=alice, email=email)
        body = {"email": email, "password": PASSWORD}
        invited = {**body, "invitation_token": await token_of(db, invitation.id)}
        sent = [invited, body, invited, body]
        answers = await asyncio.gather(*(client.post("/api/auth/signup", json=one) for one in sent))
        by_token = [answers[0], answers[2]]
        assert Counter(answer.status_code for answer in by_token)[201] == 1
        assert {answer.status_code for answer in by_token} <= {201, 409, 410}
        assert [answers[1].status_code, answers[3].status_code] == [202, 202]
        people = (await db.execute(select(User).where(User.email == email))).scalars().all()
        assert len(people) == 1
        joined = select(TeamMember).where(
            TeamMember.organization_id == alice.organization_id, TeamMember.user_id == people[0].id
        )
        member = (await db.execute(joined)).scalar_one()
        await db.delete(member)
        await db.commit()
