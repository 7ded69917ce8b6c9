"""Sending invitations over HTTP: one, several, again, and taking them back."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select

from app.core import clock
from app.core.database import SystemSession
from app.models.auth import OneTimeToken
from app.models.team import Invitation, Organization, TeamMember
from tests.factories.accounts import make_member, make_user
from tests.factories.invitations import make_invitation, make_role, token_of, tokens_of
from tests.support.accounts import events, privates
from tests.support.personas import Persona, make_colleague

NORA = "Nora@Atelier.example"


async def invite(client: AsyncClient, persona: Persona, email: str = NORA, **more: Any) -> Response:
    return await client.post("/api/team/invite", headers=persona.headers, json={"email": email, **more})


async def row(db: SystemSession, invitation_id: Any) -> Invitation:
    """An invitation as it stands in the database."""
    statement = select(Invitation).where(Invitation.id == invitation_id)
    return (await db.execute(statement.execution_options(populate_existing=True))).scalar_one()


async def test_invite_when_the_address_is_new(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    answer = await invite(client, alice, role="designer", message="Bienvenue !")
    assert answer.status_code == 201
    body = answer.json()
    assert answer.headers["location"] == f"/api/team/invitations/{body['id']}"
    assert "deprecation" not in answer.headers
    assert body.items() >= {
        "email": NORA,
        "role": "designer",
        "role_name": "Designer",
        "message": "Bienvenue !",
        "status": "pending",
        "invited_by": str(alice.user_id),
        "send_count": 1,
    }.items()
    assert "luneo_ot_" not in answer.text
    token = (await db.execute(select(OneTimeToken))).scalar_one()
    assert await events(db, "team.member_invited") == [{"invitation_id": body["id"], "role": "designer"}]
    (private,) = await privates(db, "team.member_invited")
    said = {"organization_id": str(alice.organization_id), "email": NORA, "token_id": str(token.id)}
    assert private.items() >= said.items()
    read = await client.get(answer.headers["location"], headers=alice.headers)
    assert read.json() == body
