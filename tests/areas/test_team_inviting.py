"""Sending invitations over HTTP: one, several, again, and taking them back."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, text, update

from app.core import clock
from app.core.config import get_settings
from app.core.database import SystemSession
from app.models.auth import OneTimeToken
from app.models.team import Invitation, TeamMember, TeamRole
from tests.factories.accounts import make_user
from tests.factories.invitations import make_invitation, token_of, tokens_of
from tests.factories.roles import make_role
from tests.support.accounts import events, privates
from tests.support.personas import Persona, make_colleague

NORA = "Nora@Atelier.example"
SEATS = 5
"""Of the free plan; Alice has the first."""


async def invite(client: AsyncClient, persona: Persona, email: str = NORA, **more: Any) -> Response:
    return await client.post("/api/team/invite", headers=persona.headers, json={"email": email, **more})


async def invite_all(client: AsyncClient, persona: Persona, *emails: str, **more: Any) -> Response:
    body = {"emails": list(emails), **more}
    return await client.post("/api/team/invite", headers=persona.headers, json=body)


async def resend(client: AsyncClient, persona: Persona, invitation_id: UUID | str) -> Response:
    return await client.post(f"/api/team/invitations/{invitation_id}/resend", headers=persona.headers)


async def cancel(client: AsyncClient, persona: Persona, invitation_id: UUID | str) -> Response:
    return await client.delete(f"/api/team/invitations/{invitation_id}", headers=persona.headers)


async def look(client: AsyncClient, token: str) -> Response:
    return await client.post("/api/team/invitations/preview", json={"token": token})


async def row(db: SystemSession, invitation_id: UUID | str) -> Invitation:
    """An invitation as it stands in the database."""
    statement = select(Invitation).where(Invitation.id == invitation_id)
    return (await db.execute(statement.execution_options(populate_existing=True))).scalar_one()


def refusal(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_invite_when_the_address_is_new(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    answer = await invite(client, alice, role="designer", message="Bienvenue !")
    assert answer.status_code == 201
    body = answer.json()
    assert answer.headers["location"] == f"/api/team/invitations/{body['id']}"
    assert "deprecation" not in answer.headers
    wanted = {
        "email": NORA,
        "role": "designer",
        "role_name": "Designer",
        "message": "Bienvenue !",
        "status": "pending",
        "invited_by": str(alice.user_id),
        "send_count": 1,
    }
    assert body.items() >= wanted.items()
    assert "luneo_ot_" not in answer.text
    token = (await db.execute(select(OneTimeToken))).scalar_one()
    assert token.expires_at == (await row(db, body["id"])).expires_at
    assert await events(db, "team.member_invited") == [
        {"invitation_id": body["id"], "role": "designer", "changes": {"role": [None, "designer"]}}
    ]
    (private,) = await privates(db, "team.member_invited")
    said = {"organization_id": str(alice.organization_id), "email": NORA, "token_id": str(token.id)}
    assert private.items() >= said.items()
    read = await client.get(answer.headers["location"], headers=alice.headers)
    assert read.json() == body


async def test_invite_when_the_client_sends_a_token_of_its_own(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    answer = await invite(client, alice, token="made-by-the-client")
    assert (answer.status_code, answer.headers["deprecation"]) == (201, "@1767225600")
    assert (await look(client, "made-by-the-client")).status_code == 400
    assert (await look(client, await token_of(db, answer.json()["id"]))).status_code == 200


async def test_answer_when_addresses_have_accounts_or_none(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona, statements: Any
) -> None:
    """Nothing in the answer, the statements or the events tells who has an account."""
    await make_user(db, email="locked@else.example", confirmed=False)
    await invite(client, alice, "first@else.example")  # What is read once per process is read now.
    seen, shapes = [], []
    for email in (charlie.email, "nobody@else.example", "locked@else.example"):
        with statements() as sent:
            answer = await invite(client, alice, email)
        assert answer.status_code == 201
        seen.append(sent)
        body = answer.json()
        shapes.append({name: type(value) for name, value in body.items()} | {"headers": len(answer.headers)})
    assert seen[0] == seen[1] == seen[2]
    assert shapes[0] == shapes[1] == shapes[2]
    assert len(await events(db, "team.member_invited")) == 4


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": NORA, "emails": ["a@b.example"]},
        {"emails": []},
        {"emails": [f"a{n}@b.example" for n in range(21)]},
        {"email": "no address"},
        {"email": NORA, "role": ""},
        {"email": NORA, "role": 7},
        {"email": NORA, "message": "x" * 501},
        {"email": NORA, "message": "\x00"},
        {"email": NORA, "organization_id": str(uuid4())},
        {"email": NORA, "role": "No Such Role"},
    ],
)
async def test_invite_when_the_body_is_not_valid(
    client: AsyncClient, alice: Persona, body: dict[str, Any]
) -> None:
    answer = await client.post("/api/team/invite", headers=alice.headers, json=body)
    assert answer.status_code == 422


async def test_invite_when_the_role_is_unknown(client: AsyncClient, alice: Persona) -> None:
    answer = await invite(client, alice, role="atelier")
    assert refusal(answer) == (422, "unknown_role")
    assert answer.json()["errors"][0]["pointer"] == "/role"


async def test_invite_when_it_is_the_callers_own_address(client: AsyncClient, alice: Persona) -> None:
    assert refusal(await invite(client, alice, alice.email.upper())) == (422, "own_address")


@pytest.mark.parametrize("role", ["owner", "admin"])
async def test_invite_when_the_role_is_above_the_callers(
    client: AsyncClient, db: SystemSession, alice: Persona, role: str
) -> None:
    manager = await make_colleague(db, alice, "mia", role="manager")
    assert refusal(await invite(client, manager, role=role)) == (403, "role_not_grantable")
    assert (await invite(client, manager, role="manager")).status_code == 201


async def test_invite_when_the_owner_offers_ownership(client: AsyncClient, alice: Persona) -> None:
    assert refusal(await invite(client, alice, role="owner")) == (403, "role_not_grantable")


async def test_invite_when_the_role_is_a_custom_one(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    low = await make_role(db, alice.organization_id, key="atelier")
    await make_role(db, alice.organization_id, ["organization:read", "audit:read"], key="auditor")
    manager = await make_colleague(db, alice, "mia", role="manager")
    answer = await invite(client, manager, role="atelier")
    assert (answer.json()["role"], answer.json()["role_name"]) == ("atelier", low.name)
    assert (await row(db, answer.json()["id"])).team_role_id == low.id
    assert refusal(await invite(client, manager, "b@c.example", role="auditor")) == (
        403,
        "role_not_grantable",
    )
    await cancel(client, alice, answer.json()["id"])
    closed = await row(db, answer.json()["id"])
    assert (closed.team_role_id, closed.role_key) == (None, "atelier")


async def test_invite_when_a_viewer_tries(client: AsyncClient, alice: Persona, bob: Persona) -> None:
    assert refusal(await invite(client, bob)) == (403, "permission_denied")
    assert refusal(await invite(client, bob, alice.email)) == (403, "permission_denied")


async def test_invite_when_the_address_is_a_members(
    client: AsyncClient, alice: Persona, bob: Persona
) -> None:
    assert refusal(await invite(client, alice, bob.email)) == (409, "already_member")


async def test_invite_when_the_address_is_invited_already(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    first = await invite(client, alice)
    again = await invite(client, alice, NORA.lower(), message="Other words")
    assert (again.status_code, again.json()) == (200, first.json())
    assert "location" not in again.headers
    assert await events(db, "team.invitation_resent") == []
    assert len(await tokens_of(db, first.json()["id"])) == 1
    other = await invite(client, alice, role="viewer")
    assert refusal(other) == (409, "invitation_pending")
    with clock.travel(timedelta(seconds=61)):
        later = await invite(client, alice)
    assert (later.status_code, later.json()["send_count"]) == (200, 2)
    assert len(await events(db, "team.invitation_resent")) == 1


async def test_invite_when_the_older_invitation_is_too_old(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    late = await make_invitation(db, owner=alice, email=NORA, expires_at=clock.now() - timedelta(minutes=1))
    answer = await invite(client, alice, role="viewer")
    assert answer.status_code == 201
    assert (await row(db, late.id)).status == "expired"
    assert await events(db, "team.invitation_expired") == [{"invitation_id": str(late.id)}]
    assert refusal(await look(client, await token_of(db, late.id)))[0] == 410


async def test_invite_when_all_seats_are_taken(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    await make_invitation(db, owner=alice)
    await make_invitation(db, owner=alice, expires_at=clock.now() - timedelta(minutes=1))
    statement = select(TeamMember).where(
        TeamMember.user_id == bob.user_id, TeamMember.organization_id == alice.organization_id
    )
    suspended = (await db.execute(statement)).scalar_one()
    suspended.status = "suspended"
    await db.commit()
    assert (await invite(client, alice, "one@a.example")).status_code == 201
    last = (await invite(client, alice, "two@a.example")).json()
    full = await invite(client, alice, "three@a.example")
    assert refusal(full) == (402, "plan_limit_reached")
    wanted = {"metric": "team_members", "limit": SEATS, "used": 2, "pending": 3, "requested": 1}
    assert full.json().items() >= wanted.items()
    assert full.json()["upgrade_url"].startswith(get_settings().app_url)
    assert await events(db, "team.limit_reached") == [{"name": "team_members", "limit": SEATS, "used": SEATS}]
    assert (await cancel(client, alice, last["id"])).status_code == 204
    assert (await invite(client, alice, "three@a.example")).status_code == 201


async def test_invite_when_there_are_several_addresses(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    """The order of the list decides who gets the last of three seats."""
    await make_invitation(db, owner=alice, email="other@a.example", role="viewer")
    await make_invitation(db, owner=alice, email="same@a.example")
    answer = await invite_all(
        client,
        alice,
        "same@a.example",
        alice.email,
        bob.email,
        "other@a.example",
        "last@a.example",
        "last@a.example",
        "none@a.example",
    )
    assert answer.status_code == 200
    assert [(item["email"], item["status"], item["code"]) for item in answer.json()["items"]] == [
        ("same@a.example", "already_pending", None),
        (alice.email, "refused", "own_address"),
        (bob.email, "refused", "already_member"),
        ("other@a.example", "refused", "invitation_pending"),
        ("last@a.example", "invited", None),
        ("last@a.example", "already_pending", None),
        ("none@a.example", "refused", "plan_limit_reached"),
    ]
    given = {item["email"]: item["invitation"] for item in answer.json()["items"]}
    assert given["none@a.example"] is None
    assert (await row(db, given["last@a.example"]["id"])).status == "pending"
    assert len(await events(db, "team.member_invited")) == 1
    assert len(await events(db, "team.limit_reached")) == 1


async def test_invite_when_some_of_several_are_no_addresses(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    wrong = ["no address", "", "a@", "é@b.example", f"{'a' * 300}@b.example"]
    answer = await invite_all(client, alice, wrong[0], "good@a.example", *wrong[1:])
    assert answer.status_code == 200
    first, good, *others = answer.json()["items"]
    assert (good["email"], good["status"], good["code"]) == ("good@a.example", "invited", None)
    assert [item["email"] for item in (first, *others)] == wrong
    assert {(item["status"], item["code"]) for item in (first, *others)} == {("refused", "email_invalid")}
    assert len(await events(db, "team.member_invited")) == 1


@pytest.mark.parametrize("wrong", [7, None, "a" * 1001, "a\x00@b.example"])
async def test_invite_when_one_of_several_is_no_text(client: AsyncClient, alice: Persona, wrong: Any) -> None:
    body = {"emails": ["good@a.example", wrong]}
    assert (await client.post("/api/team/invite", headers=alice.headers, json=body)).status_code == 422


async def test_several_addresses_when_the_role_is_not_grantable(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    manager = await make_colleague(db, alice, "mia", role="manager")
    answer = await invite_all(client, manager, "a@b.example", "b@b.example", role="admin")
    assert refusal(answer) == (403, "role_not_grantable")
    assert (await db.execute(select(Invitation))).first() is None


async def test_invitations_when_there_are_too_many_in_an_hour(client: AsyncClient, alice: Persona) -> None:
    for _ in range(18):
        await invite(client, alice)
    emails = [f"a{number}@b.example" for number in range(4)]
    several = (await invite_all(client, alice, *emails)).json()["items"]
    assert [item["code"] for item in several] == [None, None, "rate_limited", "rate_limited"]
    over = await invite(client, alice)
    assert refusal(over) == (429, "rate_limited")
    assert int(over.headers["retry-after"]) > 0
    assert over.headers["ratelimit"].count('"invite"') == 1
    assert refusal(await invite_all(client, alice, "z@b.example")) == (429, "rate_limited")


async def test_invitations_when_there_are_too_many_in_a_day(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "limit_invite_daily", "2/24h")
    assert (await invite(client, alice, "a@b.example")).status_code == 201
    assert (await invite(client, alice, "b@b.example")).status_code == 201
    assert refusal(await invite(client, alice, "c@b.example")) == (429, "rate_limited")


async def test_resend_when_a_minute_has_passed(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    first = (await invite(client, alice)).json()
    old = await token_of(db, first["id"])
    soon = await resend(client, alice, first["id"])
    assert refusal(soon) == (409, "resend_limit_reached")
    assert 0 < int(soon.headers["retry-after"]) <= 60
    admin = await make_colleague(db, alice, "ada", role="admin")
    with clock.travel(timedelta(seconds=61)):
        answer = await resend(client, admin, first["id"])
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/team/invitations/{first['id']}"
    assert answer.json()["send_count"] == 2
    assert answer.json()["expires_at"] > first["expires_at"]
    assert answer.json()["invited_by"] == str(admin.user_id)
    assert refusal(await look(client, old)) == (410, "token_used")
    assert (await look(client, await token_of(db, first["id"]))).status_code == 200
    assert await events(db, "team.invitation_resent") == [{"invitation_id": first["id"], "role": "member"}]


async def test_resend_when_it_was_mailed_five_times(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    first = (await invite(client, alice)).json()
    for turn in range(1, 5):
        with clock.travel(timedelta(seconds=61 * turn)):
            assert (await resend(client, alice, first["id"])).status_code == 202
    with clock.travel(timedelta(minutes=6)):
        assert refusal(await resend(client, alice, first["id"])) == (409, "resend_limit_reached")
        again = await invite(client, alice)
    assert (again.status_code, again.json()["send_count"]) == (200, 5)
    assert len(await tokens_of(db, first["id"])) == 5


@pytest.mark.parametrize("status", ["accepted", "declined", "cancelled", "expired"])
async def test_invitation_when_it_is_closed(
    client: AsyncClient, db: SystemSession, alice: Persona, status: str
) -> None:
    """Closed states are final: no act of the team changes them."""
    invitation = await make_invitation(db, owner=alice)
    stamps = {"accepted": "accepted_at", "declined": "declined_at", "cancelled": "cancelled_at"}
    values = {"status": status} | ({stamps[status]: clock.now()} if status in stamps else {})
    await db.execute(update(Invitation).values(values))
    await db.commit()
    assert refusal(await resend(client, alice, invitation.id)) == (409, "invitation_not_pending")
    assert refusal(await cancel(client, alice, invitation.id)) == (409, "invitation_not_pending")
    assert (await row(db, invitation.id)).status == status
    anew = await invite(client, alice, invitation.email)
    assert anew.status_code == 201
    assert anew.json()["id"] != str(invitation.id)
    assert (await row(db, invitation.id)).status == status


async def test_invitation_when_its_time_is_over(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    late = await make_invitation(db, owner=alice, expires_at=clock.now() - timedelta(minutes=1))
    read = await client.get(f"/api/team/invitations/{late.id}", headers=alice.headers)
    assert read.json()["status"] == "expired"
    assert refusal(await resend(client, alice, late.id)) == (409, "invitation_not_pending")
    assert refusal(await cancel(client, alice, late.id)) == (409, "invitation_not_pending")


async def test_invitation_when_it_offers_more_than_the_caller_has(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    invitation = await make_invitation(db, owner=alice, role="admin")
    manager = await make_colleague(db, alice, "mia", role="manager")
    assert refusal(await resend(client, manager, invitation.id)) == (403, "role_not_grantable")
    assert refusal(await cancel(client, manager, invitation.id)) == (403, "role_not_grantable")
    assert (await row(db, invitation.id)).status == "pending"


async def test_cancel_when_the_invitation_is_open(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    invitation = await make_invitation(db, owner=alice)
    token = await token_of(db, invitation.id)
    assert (await cancel(client, alice, invitation.id)).status_code == 204
    assert (await row(db, invitation.id)).status == "cancelled"
    assert refusal(await look(client, token)) == (410, "token_used")
    assert await events(db, "team.invitation_cancelled") == [{"invitation_id": str(invitation.id)}]
    assert refusal(await cancel(client, alice, invitation.id)) == (409, "invitation_not_pending")


async def test_cancel_when_the_id_stands_in_the_query(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    invitation = await make_invitation(db, owner=alice)
    where = {"id": str(invitation.id)}
    foreign = await client.delete("/api/team/invitations", params=where, headers=charlie.headers)
    assert foreign.status_code == 404
    wrongs: list[dict[str, str]] = [{}, {"id": "x"}, {"id": str(invitation.id), "more": "1"}]
    for wrong in wrongs:
        bad = await client.delete("/api/team/invitations", params=wrong, headers=alice.headers)
        assert bad.status_code == 422
    answer = await client.delete("/api/team/invitations", params=where, headers=alice.headers)
    assert answer.status_code == 204
    assert (await row(db, invitation.id)).status == "cancelled"


async def test_list_when_it_is_narrowed(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    past = clock.now() - timedelta(minutes=1)
    late = await make_invitation(db, owner=alice, email="anna@a.example", expires_at=past)
    open_one = await make_invitation(db, owner=alice, email="Anton@a.example")
    other = await make_invitation(db, owner=alice, email="berta@a.example", role="viewer")

    async def ids(**query: Any) -> list[str]:
        answer = await client.get("/api/team/invitations", params=query, headers=alice.headers)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    assert await ids() == [str(other.id), str(open_one.id), str(late.id)]
    assert await ids(status="pending") == [str(other.id), str(open_one.id)]
    assert await ids(status="expired") == [str(late.id)]
    assert await ids(q="AN") == [str(open_one.id), str(late.id)]
    assert await ids(q="an%") == []
    assert await ids(q="an", status="pending") == [str(open_one.id)]
    first = await client.get("/api/team/invitations", params={"limit": 2}, headers=alice.headers)
    rest = await client.get(
        "/api/team/invitations",
        params={"limit": 2, "cursor": first.json()["next_cursor"]},
        headers=alice.headers,
    )
    assert [item["id"] for item in rest.json()["items"]] == [str(late.id)]


async def test_list_when_a_custom_role_was_deleted(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    role = await make_role(db, alice.organization_id, key="atelier")
    answer = await invite(client, alice, role="atelier")
    await cancel(client, alice, answer.json()["id"])
    await db.delete(await db.get_one(TeamRole, (alice.organization_id, role.id)))
    await db.commit()
    (item,) = (await client.get("/api/team/invitations", headers=alice.headers)).json()["items"]
    assert (item["role"], item["role_name"]) == ("atelier", "atelier")


async def test_database_when_somebody_was_invited_holds_no_token(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """Nothing that lies in any table opens the invitation: the token is made of an id and the key ring."""
    answer = await invite(client, alice)
    token = await token_of(db, answer.json()["id"])
    secret = token.removeprefix("luneo_ot_")
    names = text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    tables = (await db.execute(names)).scalars().all()
    assert {"invitations", "one_time_tokens", "event_outbox", "idempotency_records"} <= set(tables)
    for table in tables:
        rows = text(f'SELECT string_agg(dumped::text, chr(10)) FROM "{table}" AS dumped')  # noqa: S608 - a table
        dump = (await db.execute(rows)).scalar_one() or ""
        assert secret not in dump
        assert "luneo_ot_" not in dump
