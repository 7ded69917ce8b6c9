"""Linked accounts: listing, linking and unlinking them over HTTP."""

from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select

from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.models.auth import Identity, User, UserSession
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.factories.identities import make_identity
from tests.support.accounts import PASSWORD, events, pkce, privates
from tests.support.links import mail_of, templates
from tests.support.oauth import come_back, exchange, finish_link, link, sign_in_with, start, start_link
from tests.support.personas import Persona

PROBLEM = "application/problem+json"


async def rows(db: SystemSession) -> list[Identity]:
    return list((await db.execute(select(Identity).order_by(Identity.created_at))).scalars())


async def body_of(provider: str = "google", **more: Any) -> dict[str, Any]:
    return {"provider": provider, "code_challenge": pkce()[1], "code_challenge_method": "S256", **more}


@pytest.mark.parametrize("provider", ["google", "github"])
async def test_link_when_the_person_approves(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, provider: str
) -> None:
    trip = await start_link(client, alice.headers, provider)
    found = await come_back(client, trip, "elsewhere@home.example", verified="false")
    assert await rows(db) == []  # The callback only brings a code.
    answer = await finish_link(client, alice.headers, found["auth_code"], trip.verifier)
    assert answer.status_code == 201, answer.text
    linked = answer.json()
    assert answer.headers["location"] == f"/api/settings/identities/{linked['id']}"
    assert set(linked) == {"id", "provider", "email", "is_email_verified", "created_at", "last_sign_in_at"}
    assert (linked["provider"], linked["email"], linked["is_email_verified"]) == (
        provider,
        "elsewhere@home.example",
        False,
    )
    assert linked["last_sign_in_at"] is None
    listed = (await client.get("/api/settings/identities", headers=alice.headers)).json()
    assert listed["items"] == [linked]
    mail = await mail_of(client, database, alice.email, "identity_linked")
    assert {"google": "Google", "github": "GitHub"}[provider] in mail["subject"]
    # Whatever its address, that account opens this one from now on.
    opened = await sign_in_with(client, provider, "elsewhere@home.example")
    assert opened.json()["user"]["id"] == str(alice.user_id)
    listed = (await client.get("/api/settings/identities", headers=alice.headers)).json()
    assert listed["items"][0]["last_sign_in_at"] is not None


async def test_link_when_the_subject_is_somebody_elses(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    assert (await link(client, charlie.headers, subject="42")).status_code == 201
    refused = await link(client, alice.headers, subject="42")
    assert (refused.status_code, refused.json()["code"]) == (409, "identity_in_use")
    assert [row.user_id for row in await rows(db)] == [charlie.user_id]


async def test_link_when_the_provider_is_linked_already(client: AsyncClient, alice: Persona) -> None:
    waiting = await start_link(client, alice.headers)
    assert (await link(client, alice.headers, subject="1")).status_code == 201
    again = await client.post("/api/settings/identities", json=await body_of(), headers=alice.headers)
    assert (again.status_code, again.json()["code"]) == (409, "identity_already_linked")
    found = await come_back(client, waiting, subject="2")
    late = await finish_link(client, alice.headers, found["auth_code"], waiting.verifier)
    assert (late.status_code, late.json()["code"]) == (409, "identity_already_linked")


async def test_link_when_somebody_else_finishes_it(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    trip = await start_link(client, alice.headers)
    found = await come_back(client, trip)
    stolen = await finish_link(client, charlie.headers, found["auth_code"], trip.verifier)
    assert (stolen.status_code, stolen.json()["code"]) == (400, "token_invalid")
    assert await rows(db) == []
    mine = await finish_link(client, alice.headers, found["auth_code"], trip.verifier)
    assert mine.status_code == 201
    twice = await finish_link(client, alice.headers, found["auth_code"], trip.verifier)
    assert (twice.status_code, twice.json()["code"]) == (410, "token_used")


async def test_link_when_the_verifier_is_wrong(client: AsyncClient, alice: Persona) -> None:
    trip = await start_link(client, alice.headers)
    found = await come_back(client, trip)
    wrong = await finish_link(client, alice.headers, found["auth_code"], pkce()[0])
    assert (wrong.status_code, wrong.json()["code"]) == (401, "verifier_invalid")
    late = await finish_link(client, alice.headers, found["auth_code"], trip.verifier)
    assert (late.status_code, late.json()["code"]) == (410, "token_used")


async def test_code_when_it_is_of_the_other_intent(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """A code to link opens no session, and a code to sign in links nothing."""
    linking = await start_link(client, alice.headers)
    found = await come_back(client, linking)
    answer = await exchange(client, found["auth_code"], linking.verifier)
    assert (answer.status_code, answer.json()["code"]) == (400, "token_invalid")
    await make_user(db, email="camille@maison.example")
    signing = await start(client)
    found = await come_back(client, signing)
    answer = await finish_link(client, alice.headers, found["auth_code"], signing.verifier)
    assert (answer.status_code, answer.json()["code"]) == (400, "token_invalid")
    assert await rows(db) == []


async def test_start_when_it_is_not_allowed(
    client: AsyncClient, db: SystemSession, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await make_session(db, alice.user_id, step_up=False)
    stale = {"Authorization": f"Bearer {access_token_of(session)}"}
    answer = await client.post("/api/settings/identities", json=await body_of(), headers=stale)
    assert (answer.status_code, answer.json()["code"]) == (401, "step_up_required")
    bad = await body_of(redirect_to="https://evil.example")
    answer = await client.post("/api/settings/identities", json=bad, headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "redirect_not_allowed")
    for wrong in (
        {"provider": "facebook"},
        {"code_challenge_method": "plain"},
        {"user_id": str(alice.user_id)},
    ):
        body = {**await body_of(), **wrong}
        assert (
            await client.post("/api/settings/identities", json=body, headers=alice.headers)
        ).status_code == 422
    monkeypatch.setattr(get_settings(), "environment", "production")
    answer = await client.post("/api/settings/identities", json=await body_of(), headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_not_configured")


async def test_own_sign_in_when_an_organisation_signs_the_person_in(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    identity = await make_identity(db, alice.user_id, provider="google")
    session = await db.get_one(UserSession, alice.session_id)
    session.auth_method = "sso"
    await db.commit()
    started = await client.post("/api/settings/identities", json=await body_of(), headers=alice.headers)
    ended = await client.delete(f"/api/settings/identities/{identity.id}", headers=alice.headers)
    for answer in (started, ended):
        assert (answer.status_code, answer.json()["code"]) == (403, "own_sign_in_required")
    session.auth_method = "password"
    user = await db.get_one(User, alice.user_id)
    user.managed_by_organization_id = alice.organization_id
    await db.commit()
    started = await client.post("/api/settings/identities", json=await body_of(), headers=alice.headers)
    ended = await client.delete(f"/api/settings/identities/{identity.id}", headers=alice.headers)
    for answer in (started, ended):
        assert (answer.status_code, answer.json()["code"]) == (409, "user_sso_managed")


async def test_start_when_it_is_repeated(client: AsyncClient, alice: Persona) -> None:
    headers = {**alice.headers, "Idempotency-Key": "link-1"}
    body = await body_of()
    first = await client.post("/api/settings/identities", json=body, headers=headers)
    again = await client.post("/api/settings/identities", json=body, headers=headers)
    assert first.json()["authorize_url"].startswith("http")
    assert again.json() == {"authorize_url": None}


async def test_unlink_when_there_is_another_way_in(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    user = await make_user(db, email="camille@maison.example", password=PASSWORD)
    identity = await make_identity(db, user.id, provider="google", subject="7")
    session = await make_session(db, user)
    headers = {"Authorization": f"Bearer {access_token_of(session)}"}
    answer = await client.delete(f"/api/settings/identities/{identity.id}", headers=headers)
    assert answer.status_code == 204
    assert await rows(db) == []
    assert await events(db, "user.identity_unlinked") == [{"user_id": str(user.id), "provider": "google"}]
    (private,) = await privates(db, "user.identity_unlinked")
    assert {"device", "place", "time"} <= set(private)
    assert await templates(client, database, user.email) == ["identity_unlinked"]
    assert (
        await client.delete(f"/api/settings/identities/{identity.id}", headers=headers)
    ).status_code == 404


async def test_unlink_when_it_is_the_last_way_in(client: AsyncClient, db: SystemSession) -> None:
    opened = (await sign_in_with(client)).json()
    headers = {"Authorization": f"Bearer {opened['access_token']}"}
    (identity,) = await rows(db)
    refused = await client.delete(f"/api/settings/identities/{identity.id}", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "last_credential")
    assert (await sign_in_with(client, "github")).status_code == 200
    assert (
        await client.delete(f"/api/settings/identities/{identity.id}", headers=headers)
    ).status_code == 204


async def test_unlink_when_it_is_single_sign_on(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await make_identity(db, alice.user_id, provider="google")
    identity = await make_identity(db, alice.user_id, provider="sso:0198c0de")
    answer = await client.delete(f"/api/settings/identities/{identity.id}", headers=alice.headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "user_sso_managed")


async def test_unlink_when_the_identity_is_somebody_elses(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    identity = await make_identity(db, alice.user_id, provider="google")
    await make_identity(db, alice.user_id, provider="github")
    answer = await client.delete(f"/api/settings/identities/{identity.id}", headers=bob.headers)
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
    assert (await client.get("/api/settings/identities", headers=bob.headers)).json()["items"] == []
    assert await db.scalar(select(func.count()).select_from(Identity)) == 2


async def test_list_when_it_has_pages(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    for name in ("google", "github", "sso:1"):
        await make_identity(db, alice.user_id, provider=name)
    first = (await client.get("/api/settings/identities?limit=2", headers=alice.headers)).json()
    assert [item["provider"] for item in first["items"]] == ["sso:1", "github"]
    cursor = first["next_cursor"]
    rest = await client.get(f"/api/settings/identities?limit=2&cursor={cursor}", headers=alice.headers)
    assert [item["provider"] for item in rest.json()["items"]] == ["google"]
