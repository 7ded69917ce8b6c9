"""The access check, over HTTP: each point of its order of judgement, and that it costs one statement."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from httpx import AsyncClient
from sqlalchemy import ColumnElement, update

from app.core import clock
from app.core.database import SystemSession
from app.models.auth import User, UserSession
from app.models.team import Organization, TeamMember
from tests.factories.accounts import make_member
from tests.support.personas import Persona

ROUTE = "/api/products"


def code(response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def change(db: SystemSession, model: type, where: ColumnElement[bool], **values: object) -> None:
    await db.execute(update(model).where(where).values(**values))
    await db.commit()


async def test_request_when_there_is_no_credential(client: AsyncClient):
    answer = await client.get(ROUTE)
    assert code(answer) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert code(await client.get(ROUTE, params={"access_token": "x"})) == (401, "unauthenticated")
    assert code(await client.get(ROUTE, headers={"Authorization": "Basic eDp5"})) == (401, "unauthenticated")


async def test_request_when_the_token_is_forged(client: AsyncClient, alice: Persona):
    answer = await client.get(ROUTE, headers={"Authorization": f"Bearer {alice.token[:-4]}AAAA"})
    assert code(answer) == (401, "access_token_invalid")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_request_when_the_token_has_expired(client: AsyncClient, alice: Persona):
    with clock.travel(timedelta(seconds=611)):
        assert code(await client.get(ROUTE, headers=alice.headers)) == (401, "access_token_expired")


async def test_request_when_the_session_was_revoked(client: AsyncClient, db: SystemSession, alice: Persona):
    await change(db, UserSession, UserSession.id == alice.session_id, revoked_at=clock.now())
    assert code(await client.get(ROUTE, headers=alice.headers)) == (401, "session_revoked")


async def test_request_when_the_person_is_suspended(client: AsyncClient, db: SystemSession, alice: Persona):
    await change(db, User, User.id == alice.user_id, status="suspended")
    assert code(await client.get(ROUTE, headers=alice.headers)) == (401, "session_revoked")


@pytest.mark.parametrize("column", ["expires_at", "last_activity_at"])
async def test_request_when_the_session_is_over(
    client: AsyncClient, db: SystemSession, alice: Persona, column: str
):
    past = clock.now() - timedelta(days=2)
    await change(db, UserSession, UserSession.id == alice.session_id, **{column: past})
    assert code(await client.get(ROUTE, headers=alice.headers)) == (401, "session_expired")


async def test_request_when_the_organization_is_a_strangers(
    client: AsyncClient, alice: Persona, charlie: Persona
):
    for asked in (str(charlie.organization_id), "0197ffff-0000-7000-8000-000000000000", "none", ""):
        answer = await client.get(ROUTE, headers={**alice.headers, "X-Organization-Id": asked})
        assert code(answer) == (404, "not_found")


async def test_request_when_another_own_organization_is_asked(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
):
    organization = await db.get_one(Organization, charlie.organization_id)
    user = await db.get_one(User, alice.user_id)
    await make_member(db, organization, role="viewer", user=user)
    await db.commit()
    headers = {**alice.headers, "X-Organization-Id": str(charlie.organization_id)}
    assert (await client.get(ROUTE, headers=headers)).status_code == 200
    refused = await client.post(ROUTE, headers=headers, json={"name": "Bag", "price": 1})
    assert code(refused) == (403, "permission_denied")


async def test_request_when_the_organization_was_deleted(
    client: AsyncClient, db: SystemSession, alice: Persona
):
    await change(db, Organization, Organization.id == alice.organization_id, deleted_at=clock.now())
    assert code(await client.get(ROUTE, headers=alice.headers)) == (404, "not_found")


async def test_request_when_the_membership_is_suspended(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
):
    here = (TeamMember.user_id == bob.user_id) & (TeamMember.organization_id == alice.organization_id)
    await change(db, TeamMember, here, status="suspended")
    headers = {**bob.headers, "X-Organization-Id": str(alice.organization_id)}
    assert code(await client.get(ROUTE, headers=headers)) == (403, "membership_suspended")


async def test_request_when_the_session_belongs_to_anothers_single_sign_on(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
):
    where = UserSession.id == alice.session_id
    await change(db, UserSession, where, sso_organization_id=charlie.organization_id)
    assert code(await client.get(ROUTE, headers=alice.headers)) == (403, "session_limited_to_organization")


async def test_request_when_the_member_must_use_single_sign_on(
    client: AsyncClient, db: SystemSession, alice: Persona
):
    await change(db, TeamMember, TeamMember.user_id == alice.user_id, must_use_sso=True)
    answer = await client.get(ROUTE, headers=alice.headers)
    assert code(answer) == (403, "sso_required")
    assert answer.json()["login_url"] == "http://app.luneo.test/login"


@pytest.mark.parametrize("demand", ["require_mfa", "sso_enforced"])
async def test_request_when_a_second_factor_is_demanded(
    client: AsyncClient, db: SystemSession, alice: Persona, demand: str
):
    await change(db, Organization, Organization.id == alice.organization_id, **{demand: True})
    assert code(await client.get(ROUTE, headers=alice.headers)) == (403, "mfa_enrollment_required")
    await change(db, UserSession, UserSession.id == alice.session_id, aal=2)
    assert (await client.get(ROUTE, headers=alice.headers)).status_code == 200


async def test_request_when_access_was_withdrawn_after_the_last_check(
    client: AsyncClient, db: SystemSession, alice: Persona
):
    later = clock.now() + timedelta(seconds=1)
    await change(db, TeamMember, TeamMember.user_id == alice.user_id, access_valid_from=later)
    answer = await client.get(ROUTE, headers=alice.headers)
    assert code(answer) == (401, "step_up_required")
    assert "insufficient_user_authentication" in answer.headers["www-authenticate"]


@pytest.mark.parametrize(("limit", "moved"), [("session_max_seconds", "step_up_at")])
async def test_request_when_the_organizations_own_limit_is_over(
    client: AsyncClient, db: SystemSession, alice: Persona, limit: str, moved: str
):
    await change(db, Organization, Organization.id == alice.organization_id, **{limit: 3600})
    past = clock.now() - timedelta(hours=2)
    await change(db, UserSession, UserSession.id == alice.session_id, **{moved: past})
    assert code(await client.get(ROUTE, headers=alice.headers)) == (401, "step_up_required")


async def test_request_when_the_role_lacks_the_permission(client: AsyncClient, bob: Persona):
    answer = await client.post(ROUTE, headers=bob.headers, json={"name": "Bag", "price": 1})
    assert code(answer) == (403, "permission_denied")
    assert answer.json()["permission"] == "products:write"


async def test_role_change_when_the_next_request_comes(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
):
    body = {"name": "Bag", "price": 1}
    assert (await client.post(ROUTE, headers=bob.headers, json=body)).status_code == 403
    here = (TeamMember.user_id == bob.user_id) & (TeamMember.organization_id == alice.organization_id)
    await change(db, TeamMember, here, role="manager")
    assert (await client.post(ROUTE, headers=bob.headers, json=body)).status_code == 201


async def test_check_when_everything_is_well_costs_one_statement(
    client: AsyncClient, alice: Persona, statements: Callable[[], AbstractContextManager[list[str]]]
):
    await client.get(ROUTE, headers=alice.headers)
    with statements() as seen:
        await client.get(ROUTE, headers=alice.headers)
    assert len([line for line in seen if "FROM sessions" in line]) == 1
    assert not [line for line in seen if line.lstrip().startswith("UPDATE sessions")]


async def test_activity_when_the_last_one_is_a_minute_old(
    client: AsyncClient, db: SystemSession, alice: Persona
):
    past = clock.now() - timedelta(minutes=5)
    await change(db, UserSession, UserSession.id == alice.session_id, last_activity_at=past)
    await client.get(ROUTE, headers=alice.headers)
    session = await db.get_one(UserSession, alice.session_id, populate_existing=True)
    assert session.last_activity_at > past
