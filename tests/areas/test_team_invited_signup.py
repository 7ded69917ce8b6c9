"""Signing up with the token of an invitation: confirmed, a member and signed in at once, or nothing."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select, update

from app.core import clock
from app.core.config import get_settings
from app.core.database import SystemSession
from app.models.auth import User, UserSession
from app.models.settings import Profile
from app.models.team import Invitation, Organization, TeamMember
from tests.factories.accounts import make_user
from tests.factories.invitations import make_invitation, token_of
from tests.support.accounts import (
    OTHER_PASSWORD,
    PASSWORD,
    bearer,
    counted_hashes,
    events,
    link_token,
    person,
    pkce,
    sign_in,
    sign_up,
)
from tests.support.personas import Persona, make_colleague

NORA = "Nora@Atelier.example"


@pytest.fixture
async def token(db: SystemSession, alice: Persona) -> str:
    """What the mail to Nora holds."""
    invitation = await make_invitation(db, owner=alice, email=NORA, role="designer")
    return await token_of(db, invitation.id)


def refusal(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def invited(client: AsyncClient, token: str, email: str = NORA, **more: Any) -> Response:
    body = {"full_name": "Nora", "locale": "en", "invitation_token": token, **more}
    return await sign_up(client, email, **body)


async def is_untouched(db: SystemSession, email: str = NORA) -> bool:
    """Whether the invitation is open and the address has no account."""
    statement = select(Invitation.status).execution_options(populate_existing=True)
    return (await db.scalars(statement)).all() == ["pending"] and await person(db, email) is None


async def test_signup_when_the_token_is_of_that_address(
    client: AsyncClient, db: SystemSession, alice: Persona, token: str
) -> None:
    answer = await invited(client, token, NORA.lower(), company="Atelier Nora")
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == "/api/auth/me"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["status"], body["token_type"]) == ("ok", "Bearer")
    assert body["organization"]["id"] == str(alice.organization_id)
    assert body["organization"]["role"] == "designer"
    user = await person(db, NORA)
    assert user is not None
    assert user.email_confirmed_at is not None
    profile = await db.get_one(Profile, user.id)
    assert (profile.full_name, profile.company, profile.locale) == ("Nora", "Atelier Nora", "en")
    rows = await db.execute(
        select(Organization.kind, Organization.name, TeamMember.role, TeamMember.source)
        .join(TeamMember, TeamMember.organization_id == Organization.id)
        .where(TeamMember.user_id == user.id)
        .order_by(Organization.name)
    )
    assert [tuple(row) for row in rows] == [
        ("personal", "Alice", "designer", "invitation"),
        ("personal", "Atelier Nora", "owner", "signup"),
    ]
    session = await db.get_one(UserSession, body["session_id"])
    assert (session.auth_method, session.aal) == ("invitation", 1)
    me = (await client.get("/api/auth/me", headers=bearer(body))).json()
    assert me["organization"]["role"] == "designer"
    (joined,) = await events(db, "team.member_joined")
    assert joined.items() >= {"user_id": str(user.id), "role": "designer", "source": "invitation"}.items()
    assert len(await events(db, "user.email_confirmed")) == 1
    assert await events(db, "auth.confirmation_requested") == []
    assert (await sign_in(client, NORA)).status_code == 200


async def test_signup_when_the_token_was_used(client: AsyncClient, db: SystemSession, token: str) -> None:
    assert (await invited(client, token)).status_code == 201
    assert refusal(await invited(client, token, password=OTHER_PASSWORD)) == (410, "token_used")
    assert (await sign_in(client, NORA)).status_code == 200


async def test_signup_when_the_address_has_an_account(
    client: AsyncClient, db: SystemSession, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_user(db, email=NORA, full_name="Nora", password=PASSWORD)
    with counted_hashes(monkeypatch) as hashes:
        assert refusal(await invited(client, token, password=OTHER_PASSWORD)) == (409, "account_exists")
    assert hashes == []
    assert (await db.scalars(select(Invitation.status))).all() == ["pending"]
    assert (await sign_in(client, NORA)).status_code == 200


async def test_signup_when_a_stranger_came_first(
    client: AsyncClient, db: SystemSession, alice: Persona, token: str
) -> None:
    """Who signed up without having the mailbox is left with neither the password nor a link that works."""
    _, challenge = pkce()
    await sign_up(client, NORA, OTHER_PASSWORD, full_name="Stranger", code_challenge=challenge)
    old = await link_token(db, NORA)
    answer = await invited(client, token)
    assert answer.status_code == 201
    assert await db.scalar(select(func.count()).select_from(User).where(User.email == NORA)) == 1
    assert (await sign_in(client, NORA, OTHER_PASSWORD)).status_code == 401
    assert (await client.post("/api/auth/confirm", json={"token": old})).status_code == 410
    user = await person(db, NORA)
    assert user is not None
    assert (await db.get_one(Profile, user.id, populate_existing=True)).full_name == "Nora"
    assert (await sign_in(client, NORA)).status_code == 200


async def test_signup_when_the_token_is_of_another_address(
    client: AsyncClient, db: SystemSession, token: str
) -> None:
    answer = await invited(client, token, "thief@else.example")
    assert refusal(answer) == (403, "invitation_email_mismatch")
    assert await is_untouched(db, "thief@else.example")


@pytest.mark.parametrize("text", ["x", "luneo_ot_" + "A" * 64])
async def test_signup_when_the_token_is_none_of_ours(
    client: AsyncClient, db: SystemSession, text: str
) -> None:
    assert refusal(await invited(client, text)) == (400, "token_invalid")
    assert await person(db, NORA) is None


async def test_signup_when_the_token_is_too_old(client: AsyncClient, db: SystemSession, token: str) -> None:
    with clock.travel(timedelta(days=8)):
        assert refusal(await invited(client, token)) == (410, "token_expired")
    assert await is_untouched(db)


async def test_signup_when_the_inviter_was_demoted(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    manager = await make_colleague(db, alice, "mia", role="manager")
    invitation = await make_invitation(db, owner=alice, email=NORA, invited_by=manager.user_id)
    demoted = update(TeamMember).where(TeamMember.user_id == manager.user_id, TeamMember.role == "manager")
    await db.execute(demoted.values(role="viewer"))
    await db.commit()
    answer = await invited(client, await token_of(db, invitation.id))
    assert refusal(answer) == (410, "invitation_revoked")
    assert await is_untouched(db)


async def test_signup_when_the_password_is_weak(client: AsyncClient, db: SystemSession, token: str) -> None:
    assert refusal(await invited(client, token, password="12345678")) == (422, "password_rejected")
    assert await is_untouched(db)


async def test_signup_when_no_seat_is_left(
    client: AsyncClient, db: SystemSession, alice: Persona, token: str
) -> None:
    for _ in range(5):
        await make_invitation(db, owner=alice)
    assert refusal(await invited(client, token)) == (402, "plan_limit_reached")
    assert await person(db, NORA) is None
    assert len(await events(db, "team.limit_reached")) == 1
    assert await events(db, "auth.signed_up") == []


@pytest.mark.parametrize(
    ("signups", "with_token", "status"),
    [
        ("open", True, 201),
        ("invited", True, 201),
        ("invited", False, 403),
        ("closed", True, 403),
        ("closed", False, 403),
    ],
)
async def test_signup_when_it_is_not_for_everybody(
    client: AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    signups: str,
    with_token: bool,
    status: int,
) -> None:
    monkeypatch.setattr(get_settings(), "signups", signups)
    answer = await (invited(client, token) if with_token else sign_up(client, NORA))
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "signup_closed"


async def test_signup_when_the_organization_demands_a_second_factor(
    client: AsyncClient, db: SystemSession, alice: Persona, token: str
) -> None:
    """The new person joins and is signed in at home, where the factor can be set up."""
    (await db.get_one(Organization, alice.organization_id)).require_mfa = True
    await db.commit()
    answer = await invited(client, token)
    assert answer.status_code == 201
    assert answer.json()["organization"]["role"] == "owner"
    me = (await client.get("/api/auth/me", headers=bearer(answer.json()))).json()
    blocked = {item["id"]: item["blocked_by"] for item in me["organizations"]}
    assert blocked[str(alice.organization_id)] == "mfa_enrollment_required"


async def test_signup_when_it_is_repeated_with_the_same_key(
    client: AsyncClient, db: SystemSession, token: str
) -> None:
    """A replay says that it worked, without the tokens."""
    body = {"email": NORA, "password": PASSWORD, "invitation_token": token}
    headers = {"Idempotency-Key": "once"}
    first, second = [await client.post("/api/auth/signup", json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["access_token"]
    assert (second.json()["access_token"], second.json()["refresh_token"]) == (None, None)
    assert second.json()["session_id"] == first.json()["session_id"]
