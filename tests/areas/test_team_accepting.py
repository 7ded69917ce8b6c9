"""Answering invitations over HTTP: looking, accepting and declining, by token and by one's own address."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, update

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.jobs.invitations import expire_offers
from app.models.auth import User, UserSession
from app.models.settings import Profile
from app.models.team import Invitation, Organization, TeamMember, TeamRole
from app.services.team.invitations import cancel_invitations_of
from tests.factories.accounts import make_organization, make_user
from tests.factories.billing import grant_plan
from tests.factories.invitations import make_invitation, token_of
from tests.factories.roles import make_role
from tests.support.accounts import events, privates
from tests.support.personas import Persona, make_colleague

GONE = (410, "token_used")


async def accept(client: AsyncClient, persona: Persona, token: str, **more: Any) -> Response:
    body = {"token": token, **more}
    return await client.post("/api/team/invitations/accept", headers=persona.headers, json=body)


async def accept_mine(client: AsyncClient, persona: Persona, invitation_id: UUID, **more: Any) -> Response:
    where = f"/api/team/invitations/mine/{invitation_id}/accept"
    return await client.post(where, headers=persona.headers, **more)


async def decline(client: AsyncClient, token: str) -> Response:
    return await client.post("/api/team/invitations/decline", json={"token": token})


async def decline_mine(client: AsyncClient, persona: Persona, invitation_id: UUID) -> Response:
    where = f"/api/team/invitations/mine/{invitation_id}/decline"
    return await client.post(where, headers=persona.headers)


async def look(client: AsyncClient, token: str) -> Response:
    return await client.post("/api/team/invitations/preview", json={"token": token})


async def mine(client: AsyncClient, persona: Persona) -> list[dict[str, Any]]:
    answer = await client.get("/api/team/invitations/mine", headers=persona.headers)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def refusal(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def row(db: SystemSession, invitation_id: UUID) -> Invitation:
    """An invitation as it stands in the database."""
    statement = select(Invitation).where(Invitation.id == invitation_id)
    return (await db.execute(statement.execution_options(populate_existing=True))).scalar_one()


async def membership(db: SystemSession, boss: Persona, person: Persona) -> TeamMember | None:
    """Somebody's membership in the boss's organisation."""
    statement = select(TeamMember).where(
        TeamMember.organization_id == boss.organization_id, TeamMember.user_id == person.user_id
    )
    return (await db.execute(statement.execution_options(populate_existing=True))).scalar_one_or_none()


async def active_organization(client: AsyncClient, persona: Persona) -> str:
    me = (await client.get("/api/auth/me", headers=persona.headers)).json()
    return str(me["session"]["organization"]["id"])


@pytest.fixture
async def invitation(db: SystemSession, alice: Persona, charlie: Persona) -> Invitation:
    """Alice invites Charlie, whose address she wrote in capitals."""
    return await make_invitation(db, owner=alice, email=charlie.email.upper(), role="designer")


async def test_accept_when_the_address_is_the_callers(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    token = await token_of(db, invitation.id)
    answer = await accept(client, charlie, token)
    assert answer.status_code == 200, answer.text
    organization = await db.get_one(Organization, alice.organization_id)
    assert answer.json() == {
        "organization": {
            "id": str(organization.id),
            "name": organization.name,
            "slug": organization.slug,
            "kind": organization.kind,
        },
        "role": "designer",
    }
    member = await membership(db, alice, charlie)
    assert member is not None
    assert (member.role, member.status, member.source) == ("designer", "active", "invitation")
    assert member.invited_by == alice.user_id
    closed = await row(db, invitation.id)
    assert (closed.status, closed.accepted_by) == ("accepted", charlie.user_id)
    assert closed.accepted_at is not None
    assert await active_organization(client, charlie) == str(alice.organization_id)
    assert (await db.get_one(User, charlie.user_id, populate_existing=True)).last_organization_id == (
        alice.organization_id
    )
    joined = {"member_id": str(member.id), "user_id": str(charlie.user_id)}
    assert await events(db, "team.member_joined") == [{**joined, "role": "designer", "source": "invitation"}]
    (private,) = await privates(db, "team.member_joined")
    assert private["invited_by"] == str(alice.user_id)
    assert refusal(await accept(client, charlie, token)) == GONE
    assert refusal(await decline(client, token)) == GONE
    assert refusal(await look(client, token)) == GONE


async def test_accept_when_the_session_shall_stay_where_it_is(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    answer = await accept(client, charlie, await token_of(db, invitation.id), switch=False)
    assert answer.status_code == 200
    assert await active_organization(client, charlie) == str(charlie.organization_id)
    there = {**charlie.headers, "X-Organization-Id": str(alice.organization_id)}
    assert (await client.get("/api/products", headers=there)).status_code == 200


async def test_accept_when_the_organization_demands_a_second_factor(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    """Charlie joins; the session stays, because it could do nothing there."""
    (await db.get_one(Organization, alice.organization_id)).require_mfa = True
    await db.commit()
    assert (await accept(client, charlie, await token_of(db, invitation.id))).status_code == 200
    assert await membership(db, alice, charlie) is not None
    assert await active_organization(client, charlie) == str(charlie.organization_id)


async def test_accept_when_the_address_is_another_ones(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    thief = await make_colleague(db, alice, "thief")
    token = await token_of(db, invitation.id)
    assert refusal(await accept(client, thief, token)) == (403, "invitation_email_mismatch")
    assert (await row(db, invitation.id)).status == "pending"
    assert (await accept_mine(client, thief, invitation.id)).status_code == 404
    assert (await decline_mine(client, thief, invitation.id)).status_code == 404
    assert (await accept(client, charlie, token)).status_code == 200


async def test_accept_when_the_session_is_bound_to_another_single_sign_on(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    bound = await db.get_one(UserSession, charlie.session_id)
    bound.sso_organization_id = charlie.organization_id
    await db.commit()
    answer = await accept(client, charlie, await token_of(db, invitation.id))
    assert refusal(answer) == (403, "session_limited_to_organization")
    assert await membership(db, alice, charlie) is None
    assert (await row(db, invitation.id)).status == "pending"


@pytest.mark.parametrize("token", ["", "x", "luneo_ot_", "luneo_ot_" + "A" * 64, "é" * 40])
async def test_token_when_it_is_none_of_ours(client: AsyncClient, charlie: Persona, token: str) -> None:
    wanted = {400, 422} if token == "" else {400}
    for answer in (
        await accept(client, charlie, token),
        await decline(client, token),
        await look(client, token),
    ):
        assert answer.status_code in wanted


async def test_token_when_its_time_is_over(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    token = await token_of(db, invitation.id)
    with clock.travel(timedelta(days=8)):
        assert refusal(await decline(client, token)) == (410, "token_expired")
        assert refusal(await look(client, token)) == (410, "token_expired")
    late = await make_invitation(
        db, owner=charlie, email=alice.email, expires_at=clock.now() - timedelta(minutes=1)
    )
    assert refusal(await accept(client, alice, await token_of(db, late.id))) == (410, "token_expired")
    assert (await accept_mine(client, alice, late.id)).status_code == 404


async def test_accept_when_the_inviter_may_not_give_the_role_any_more(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    """The inviter was demoted, suspended, removed, or lost the permission; each alone is enough."""
    manager = await make_colleague(db, alice, "mia", role="manager")
    invitation = await make_invitation(
        db, owner=alice, email=charlie.email, role="designer", invited_by=manager.user_id
    )
    token = await token_of(db, invitation.id)
    member = await membership(db, alice, manager)
    assert member is not None
    for change in ({"role": "designer"}, {"role": "viewer"}, {"status": "suspended"}):
        await db.execute(update(TeamMember).where(TeamMember.id == member.id).values(change))
        await db.commit()
        assert refusal(await look(client, token)) == (410, "invitation_revoked")
        assert refusal(await accept(client, charlie, token)) == (410, "invitation_revoked")
        assert refusal(await accept_mine(client, charlie, invitation.id)) == (410, "invitation_revoked")
        before = {"role": "manager", "status": "active"}
        await db.execute(update(TeamMember).where(TeamMember.id == member.id).values(before))
        await db.commit()
    suspended = update(User).where(User.id == manager.user_id)
    await db.execute(suspended.values(status="suspended"))
    await db.commit()
    assert refusal(await accept(client, charlie, token)) == (410, "invitation_revoked")
    await db.execute(suspended.values(status="active"))
    await db.commit()
    assert (await row(db, invitation.id)).status == "pending"
    assert (await accept(client, charlie, token)).status_code == 200


async def test_accept_when_the_inviter_is_gone(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    await db.execute(update(Invitation).values(invited_by=None))
    await db.commit()
    answer = await accept(client, charlie, await token_of(db, invitation.id))
    assert refusal(answer) == (410, "invitation_revoked")


async def test_accept_when_a_custom_role_has_grown_above_the_inviter(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    manager = await make_colleague(db, alice, "mia", role="manager")
    role = await make_role(db, alice.organization_id, key="atelier")
    invitation = await make_invitation(
        db, owner=alice, email=charlie.email, custom=role, invited_by=manager.user_id
    )
    token = await token_of(db, invitation.id)
    rows = update(TeamRole).where(TeamRole.id == role.id)
    await db.execute(rows.values(permissions=["organization:read", "audit:read"]))
    await db.commit()
    assert refusal(await accept(client, charlie, token)) == (410, "invitation_revoked")
    await db.execute(rows.values(permissions=["organization:read", "products:read"]))
    await db.commit()
    assert (await accept(client, charlie, token)).json()["role"] == "atelier"
    member = await membership(db, alice, charlie)
    assert member is not None
    assert (member.role, member.team_role_id) == ("custom", role.id)
    assert (await row(db, invitation.id)).team_role_id is None


async def test_accept_when_the_organization_is_deleted(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    (await db.get_one(Organization, alice.organization_id)).deleted_at = clock.now()
    await db.commit()
    token = await token_of(db, invitation.id)
    assert refusal(await accept(client, charlie, token)) == (410, "invitation_revoked")
    assert refusal(await look(client, token)) == (410, "invitation_revoked")
    assert refusal(await decline(client, token)) == (410, "invitation_revoked")
    assert refusal(await decline_mine(client, charlie, invitation.id)) == (410, "invitation_revoked")
    assert await mine(client, charlie) == []


async def test_accept_when_the_caller_is_a_member_already(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    """The invitation is of no use to anybody, so it is cancelled although the answer is a refusal."""
    invitation = await make_invitation(db, owner=alice, email=bob.email, role="admin")
    token = await token_of(db, invitation.id)
    assert refusal(await accept(client, bob, token)) == (409, "already_member")
    assert (await row(db, invitation.id)).status == "cancelled"
    assert await events(db, "team.invitation_cancelled") == [{"invitation_id": str(invitation.id)}]
    member = await membership(db, alice, bob)
    assert member is not None
    assert member.role == "viewer"
    assert refusal(await accept(client, bob, token)) == GONE


async def test_accept_when_the_plan_has_no_seat_left(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    """The plan became smaller: seven seats are promised where there are five."""
    grant = await grant_plan(db, alice.organization_id, "premium")
    others = [await make_invitation(db, owner=alice) for _ in range(5)]
    await db.delete(grant)
    await db.commit()
    token = await token_of(db, invitation.id)
    full = await accept(client, charlie, token)
    assert refusal(full) == (402, "plan_limit_reached")
    assert full.json().items() >= {"limit": 5, "used": 1, "pending": 5, "requested": 1}.items()
    assert len(await events(db, "team.limit_reached")) == 1
    assert (await row(db, invitation.id)).status == "pending"
    for other in others[:2]:
        where = f"/api/team/invitations/{other.id}"
        assert (await client.delete(where, headers=alice.headers)).status_code == 204
    assert (await accept(client, charlie, token)).status_code == 200


async def test_preview_when_the_token_is_good(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    answer = await look(client, await token_of(db, invitation.id))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "organization_name": "Alice",
        "logo_url": None,
        "inviter_name": "Alice",
        "role_name": "Designer",
        "email_masked": "C***@LUNEO.TEST",
        "expires_at": answer.json()["expires_at"],
        "has_account": True,
    }
    assert (await row(db, invitation.id)).status == "pending"
    await make_user(db, email="open@a.example", confirmed=False)
    for email in ("new@a.example", "open@a.example"):
        other = await make_invitation(db, owner=alice, email=email)
        assert (await look(client, await token_of(db, other.id))).json()["has_account"] is False


async def test_decline_when_it_is_repeated(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    token = await token_of(db, invitation.id)
    assert (await decline(client, token)).status_code == 204
    assert (await decline(client, token)).status_code == 204
    assert (await decline_mine(client, charlie, invitation.id)).status_code == 204
    closed = await row(db, invitation.id)
    assert closed.status == "declined"
    assert closed.declined_at is not None
    assert await events(db, "team.invitation_declined") == [{"invitation_id": str(invitation.id)}]
    assert refusal(await accept(client, charlie, token)) == GONE
    assert (await accept_mine(client, charlie, invitation.id)).status_code == 404
    assert await membership(db, alice, charlie) is None


async def test_mine_when_several_teams_invite(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    house = await make_organization(db, name="Maison Seconde")
    second = await make_invitation(
        db, owner=alice, organization_id=house.id, email=charlie.email, role="viewer"
    )
    await make_invitation(db, owner=alice, email="somebody@else.example")
    found = await mine(client, charlie)
    assert [item["id"] for item in found] == [str(second.id), str(invitation.id)]
    assert found[0].items() >= {"role": "viewer", "role_name": "Viewer", "inviter_name": "Alice"}.items()
    assert found[0]["organization"] == {"id": str(house.id), "name": "Maison Seconde", "logo_url": None}
    assert await mine(client, alice) == []
    assert (await decline_mine(client, charlie, second.id)).status_code == 204
    assert [item["id"] for item in await mine(client, charlie)] == [str(invitation.id)]
    token = await token_of(db, invitation.id)
    assert (await accept_mine(client, charlie, invitation.id, json={"switch": False})).status_code == 200
    assert await active_organization(client, charlie) == str(charlie.organization_id)
    assert await mine(client, charlie) == []
    assert refusal(await accept(client, charlie, token)) == GONE


async def test_accept_mine_when_nothing_is_sent(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    assert (await accept_mine(client, charlie, invitation.id)).status_code == 200
    assert await active_organization(client, charlie) == str(alice.organization_id)


async def test_invitations_when_their_sender_goes(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, charlie: Persona
) -> None:
    manager = await make_colleague(db, alice, "mia", role="manager")
    hers = await make_invitation(db, owner=alice, email=charlie.email, invited_by=manager.user_id)
    other = await make_invitation(db, owner=alice)
    elsewhere = await make_invitation(db, owner=charlie, invited_by=manager.user_id)
    async with database.transaction() as session:
        assert await cancel_invitations_of(session, alice.organization_id, manager.user_id) == 1
        assert await cancel_invitations_of(session, alice.organization_id, manager.user_id) == 0
    assert [(await row(db, one.id)).status for one in (hers, other, elsewhere)] == [
        "cancelled",
        "pending",
        "pending",
    ]
    assert refusal(await accept(client, charlie, await token_of(db, hers.id))) == GONE


async def test_invitations_when_the_job_looks_at_the_late_ones(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, charlie: Persona
) -> None:
    past = clock.now() - timedelta(minutes=1)
    role = await make_role(db, alice.organization_id, key="atelier")
    late = await make_invitation(db, owner=alice, custom=role, expires_at=past)
    foreign = await make_invitation(db, owner=charlie, expires_at=past)
    (await db.get_one(Organization, charlie.organization_id)).deleted_at = past
    await db.commit()
    fresh = await make_invitation(db, owner=alice)
    await expire_offers(database)
    await expire_offers(database)
    found = [await row(db, one.id) for one in (late, foreign, fresh)]
    assert [one.status for one in found] == ["expired", "expired", "pending"]
    assert found[0].team_role_id is None
    assert sorted(event["invitation_id"] for event in await events(db, "team.invitation_expired")) == sorted(
        [str(late.id), str(foreign.id)]
    )


async def test_accept_when_the_answer_was_lost(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, invitation: Invitation
) -> None:
    """With an idempotency key the repeated request gets the first answer; nothing happens twice."""
    token = await token_of(db, invitation.id)
    headers = {**charlie.headers, "Idempotency-Key": "once"}
    bodies = [
        await client.post(
            "/api/team/invitations/accept", headers=headers, json={"token": token, "switch": False}
        )
        for _ in range(2)
    ]
    assert [answer.status_code for answer in bodies] == [200, 200]
    assert bodies[1].headers["idempotency-replayed"] == "true"
    assert bodies[0].json() == bodies[1].json()
    assert len(await events(db, "team.member_joined")) == 1


async def test_limit_when_tokens_are_tried(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "limit_invitation_token", "1/15m")
    monkeypatch.setattr(get_settings(), "limit_factor", 1)
    assert (await look(client, "x")).status_code == 400
    assert refusal(await look(client, "x")) == (429, "rate_limited")


async def test_names_when_the_inviter_has_none(
    client: AsyncClient, db: SystemSession, alice: Persona, invitation: Invitation
) -> None:
    await db.execute(update(Profile).where(Profile.user_id == alice.user_id).values(full_name=""))
    await db.commit()
    assert (await look(client, await token_of(db, invitation.id))).json()["inviter_name"] is None
