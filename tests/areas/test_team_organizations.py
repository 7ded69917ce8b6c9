"""Organisations: one's own, making, changing, securing, deleting, restoring and purging them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select, update

from app.core import clock
from app.core.database import Database, SystemSession
from app.jobs.organizations import purge_organizations
from app.models.auth import User, UserSession
from app.models.base import Base, Owned, OwnedKept
from app.models.billing import DocumentCounter, PlanGrant
from app.models.orders import Order
from app.models.products import Product, StockMovement
from app.models.team import Organization, TeamMember
from tests.factories.accounts import access_token_of, make_member, make_organization, make_session
from tests.factories.billing import grant_plan, subscribe
from tests.factories.integrations import make_api_key_row
from tests.factories.orders import place_order
from tests.factories.products import make_product
from tests.factories.roles import give_role, make_role
from tests.factories.second_factor import make_factor
from tests.invariants.rows import plant
from tests.support.accounts import events
from tests.support.events import handle_events
from tests.support.personas import Persona, make_colleague
from tests.support.teams import home_of, user_of, works_in


async def house_of(
    db: SystemSession, owner: Persona, name: str = "Maison Test"
) -> tuple[Organization, Persona]:
    """A team organisation of the owner's, and the owner at work in it."""
    organization = await make_organization(db, owner=await user_of(db, owner), name=name)
    session = await make_session(db, owner.user_id, organization=organization)
    at_work = Persona(
        owner.user_id, organization.id, session.id, owner.email, "owner", access_token_of(session)
    )
    return organization, at_work


async def create(client: AsyncClient, caller: Persona, **body: Any) -> Any:
    return await client.post("/api/organizations", headers=caller.headers, json=body)


async def patch(client: AsyncClient, caller: Persona, **body: Any) -> Any:
    path = f"/api/organizations/{caller.organization_id}"
    return await client.patch(path, headers=caller.headers, json=body)


async def delete(client: AsyncClient, caller: Persona, slug: str | None) -> Any:
    path = f"/api/organizations/{caller.organization_id}"
    return await client.delete(path, headers=caller.headers, params={"confirm": slug} if slug else {})


async def secure(client: AsyncClient, caller: Persona, **body: Any) -> Any:
    path = f"/api/organizations/{caller.organization_id}/security"
    return await client.put(path, headers=caller.headers, json=body)


async def restore(client: AsyncClient, caller: Persona, organization_id: UUID) -> Any:
    path = f"/api/organizations/{organization_id}/restore"
    return await client.post(path, headers=caller.headers)


async def test_organization_when_it_is_made(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    answer = await create(client, alice, name="Maison Élise & Fils")
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["Location"] == f"/api/organizations/{made['id']}"
    assert answer.headers["ETag"] == '"1"'
    assert (made["slug"], made["kind"], made["role"]) == ("maison-elise-fils", "team", "owner")
    assert (made["plan"], made["members_count"], made["version"]) == ("free", 1, 1)
    assert await works_in(db, alice) == alice.organization_id
    entered = await client.post(
        "/api/auth/switch-organization", headers=alice.headers, json={"organization_id": made["id"]}
    )
    assert entered.status_code == 200
    found = await client.get(answer.headers["Location"], headers=alice.headers)
    assert found.json() == made
    home = f"/api/organizations/{alice.organization_id}"
    assert (await client.get(home, headers=alice.headers)).status_code == 404, "it is not the active one"
    (told,) = await events(db, "organization.created")
    assert told == {"organization_id": made["id"]}


async def test_slug_when_it_is_made_from_names(client: AsyncClient, alice: Persona) -> None:
    slugs = [(await create(client, alice, name=name)).json()["slug"] for name in ("Ateliers", "Ateliers")]
    assert slugs[0] == "ateliers"
    assert slugs[1].startswith("ateliers-")
    assert (await create(client, alice, name="Admin")).json()["slug"].startswith("admin-")
    assert (await create(client, alice, name="A")).json()["slug"].startswith("a-")
    assert (await create(client, alice, name="工房")).json()["slug"] == "organization"
    long = (await create(client, alice, name="Maison " * 17)).json()["slug"]
    assert 3 <= len(long) <= 48


@pytest.mark.parametrize(
    "slug",
    ["ab", "a" * 49, "-abc", "abc-", "ABC", "a b c", "admin", "api", "www", "é-cole", "", 1, "abc\x00"],
)
async def test_slug_when_it_is_not_valid(client: AsyncClient, alice: Persona, slug: Any) -> None:
    assert (await create(client, alice, name="A house", slug=slug)).status_code == 422
    assert (await patch(client, alice, slug=slug)).status_code == 422


async def test_organization_when_its_body_is_not_valid(client: AsyncClient, alice: Persona) -> None:
    for body in (
        {},
        {"name": ""},
        {"name": " "},
        {"name": "x" * 121},
        {"name": 1},
        {"name": "a", "kind": "team"},
    ):
        assert (await create(client, alice, **body)).status_code == 422
    changes: list[dict[str, Any]] = [{}, {"version": 1}, {"name": None}, {"slug": None}, {"kind": "team"}]
    for body in changes:
        assert (await patch(client, alice, **body)).status_code == 422


async def test_organization_when_its_slug_is_taken(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    assert (await create(client, alice, name="One", slug="taken-slug")).status_code == 201
    second = await create(client, alice, name="Two", slug="taken-slug")
    assert (second.status_code, second.json()["code"]) == (409, "slug_taken")
    third = await patch(client, alice, slug="taken-slug")
    assert (third.status_code, third.json()["code"]) == (409, "slug_taken")
    assert await db.scalar(select(func.count(Organization.id)).where(Organization.slug == "taken-slug")) == 1


async def test_organization_when_there_are_enough(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    for number in range(9):
        assert (await create(client, alice, name=f"House {number}")).status_code == 201
    refused = await create(client, alice, name="One too many")
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_organizations")
    assert refused.json()["limit"] == 10


async def test_organization_when_the_session_is_limited_to_another(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    await db.execute(
        update(UserSession)
        .where(UserSession.id == alice.session_id)
        .values(sso_organization_id=alice.organization_id)
    )
    await db.commit()
    refused = await create(client, alice, name="Elsewhere")
    assert (refused.status_code, refused.json()["code"]) == (403, "session_limited_to_organization")


async def test_organization_when_it_is_changed(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    changed = await patch(client, alice, name="New name", slug="new-name", version=1)
    assert (changed.status_code, changed.json()["version"], changed.headers["ETag"]) == (200, 2, '"2"')
    assert (changed.json()["name"], changed.json()["slug"]) == ("New name", "new-name")
    late = await patch(client, alice, name="Late", version=1)
    assert (late.status_code, late.json()["code"], late.json()["version"]) == (412, "version_mismatch", 2)
    path = f"/api/organizations/{alice.organization_id}"
    stale = {**alice.headers, "If-Match": '"1"'}
    assert (await client.put(path, headers=stale, json={"name": "Late"})).status_code == 412
    assert (await patch(client, alice, name="New name")).json()["version"] == 2
    assert [one["fields"] for one in await events(db, "organization.updated")] == [["name", "slug"]]


async def test_list_when_organizations_are_closed_to_the_session(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    strict = await make_organization(db, name="Strict")
    gone = await make_organization(db, name="Gone")
    resting = await make_organization(db, name="Resting")
    custom = await make_organization(db, name="Custom")
    bob_user = await user_of(db, bob)
    for organization in (strict, gone, custom):
        await make_member(db, organization, role="manager", user=bob_user)
    await make_member(db, resting, user=bob_user, status="suspended")
    found = await db.scalars(
        select(TeamMember).where(TeamMember.organization_id == custom.id, TeamMember.user_id == bob.user_id)
    )
    await give_role(db, found.one(), await make_role(db, custom.id, key="craft"))
    await grant_plan(db, custom.id, "premium")
    await subscribe(db, custom.id, "business")
    await subscribe(db, resting.id, "business", status="unpaid")
    await subscribe(db, strict.id, "premium", status="incomplete")
    strict.require_mfa, gone.deleted_at = True, clock.now()
    await db.commit()
    answer = await client.get("/api/organizations", headers=bob.headers, params={"count": True})
    items = answer.json()["items"]
    shown = [
        (one["name"], one["role"], one["status"], one["blocked_by"], one["plan"], one["members_count"])
        for one in items
    ]
    assert shown == [
        ("Resting", "viewer", "suspended", "membership_suspended", "business", 2),
        ("Custom", "craft", "active", None, "business", 2),
        ("Strict", "manager", "active", "mfa_enrollment_required", "free", 2),
        (items[3]["name"], "viewer", "active", None, "free", 2),
        (items[4]["name"], "owner", "active", None, "free", 1),
    ]
    assert answer.json()["total"] == 5
    assert {"id", "slug", "kind", "joined_at"} <= items[0].keys()


async def test_security_when_it_is_demanded(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, bob: Persona
) -> None:
    refused = await secure(client, alice, require_mfa=True)
    assert (refused.status_code, refused.json()["code"]) == (409, "enable_own_second_factor_first")
    softer = await secure(client, alice, session_max_seconds=3600, session_idle_seconds=300)
    assert softer.json() == {
        "require_mfa": False,
        "sso_enforced": False,
        "session_max_seconds": 3600,
        "session_idle_seconds": 300,
        "members_without_mfa": 2,
        "version": 2,
    }
    await db.execute(
        update(UserSession)
        .where(UserSession.id == bob.session_id)
        .values(step_up_at=clock.now() - timedelta(hours=2))
    )
    await db.commit()
    assert (await client.get("/api/products", headers=bob.headers)).json()["code"] == "step_up_required"
    cleared = await secure(client, alice, session_max_seconds=None)
    assert (cleared.json()["session_max_seconds"], cleared.json()["version"]) == (None, 3)
    assert (await client.get("/api/products", headers=bob.headers)).status_code == 200
    told = await events(db, "organization.security_updated")
    assert told[1]["changes"] == {"session_max_seconds": [3600, None]}
    for body in ({}, {"session_max_seconds": 3599}, {"session_idle_seconds": 604_801}, {"require_mfa": 1}):
        assert (await secure(client, alice, **body)).status_code == 422
    await handle_events(database)
    mails = (await client.get("/sandbox/mail.json", params={"to": alice.email})).json()["items"]
    assert [mail["template"] for mail in mails] == ["security_changed", "security_changed"]
    assert "3600" in mails[1]["text"]


async def test_security_when_a_second_factor_is_demanded(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona
) -> None:
    await make_factor(db, alice.user_id)
    session = await make_session(db, alice.user_id, organization_id=alice.organization_id, aal=2)
    strong = replace(alice, session_id=session.id, token=access_token_of(session))
    demanded = await secure(client, strong, require_mfa=True)
    assert (demanded.status_code, demanded.json()["require_mfa"]) == (200, True)
    assert demanded.json()["members_without_mfa"] == 1
    refused = await client.get("/api/products", headers=bob.headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "mfa_enrollment_required")
    assert (await client.get("/api/products", headers=strong.headers)).status_code == 200
    members = (await client.get("/api/team/members", headers=strong.headers)).json()["items"]
    assert [member["mfa_enabled"] for member in members] == [False, True]


async def test_security_when_the_second_check_is_old(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    organization, owner = await house_of(db, alice)
    await db.execute(update(UserSession).values(step_up_at=clock.now() - timedelta(hours=1)))
    await db.commit()
    answers = [
        await secure(client, owner, session_max_seconds=3600),
        await delete(client, owner, organization.slug),
        await restore(client, owner, organization.id),
    ]
    assert [(one.status_code, one.json()["code"]) for one in answers] == [(401, "step_up_required")] * 3


async def test_organization_when_it_is_deleted_and_restored(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    organization, owner = await house_of(db, alice)
    await grant_plan(db, organization.id, "premium")
    viewer = await make_colleague(db, owner, "viewer")
    admin = await make_colleague(db, owner, "admin", role="admin")
    _, secret = await make_api_key_row(db, owner=owner, permissions=["products:read"])
    by_key = {"Authorization": f"Bearer {secret}"}
    assert (await client.get("/api/products", headers=by_key)).status_code == 200
    for confirm in (None, "wrong", organization.slug.upper()):
        refused = await delete(client, owner, confirm)
        assert (refused.status_code, refused.json()["code"]) == (422, "confirmation_mismatch")
    assert (await delete(client, owner, organization.slug)).status_code == 204
    for persona in (owner, viewer, admin):
        there = {**persona.headers, "X-Organization-Id": str(organization.id)}
        assert (await client.get("/api/products", headers=there)).status_code == 404
        assert await works_in(db, persona) == await home_of(db, persona.user_id)
        listed = (await client.get("/api/organizations", headers=persona.headers)).json()["items"]
        assert str(organization.id) not in [one["id"] for one in listed]
    assert (await client.get("/api/products", headers=by_key)).status_code in {401, 403, 404}
    assert (await restore(client, admin, organization.id)).status_code == 404
    await handle_events(database)
    for persona, count in ((owner, 1), (admin, 1), (viewer, 0)):
        found = await client.get("/sandbox/mail.json", params={"to": persona.email})
        templates = [mail["template"] for mail in found.json()["items"]]
        assert templates.count("organization_deleted") == count
    back = await restore(client, alice, organization.id)
    assert (back.status_code, back.json()["plan"]) == (200, "free")
    assert (await restore(client, alice, organization.id)).json()["version"] == back.json()["version"]
    there = {**viewer.headers, "X-Organization-Id": str(organization.id)}
    assert (await client.get("/api/products", headers=there)).status_code == 200
    assert (await client.get("/api/products", headers=by_key)).status_code == 200
    assert len(await events(db, "organization.restored")) == 1
    assert await db.scalar(select(PlanGrant.ends_at).where(PlanGrant.organization_id == organization.id))


async def test_organization_when_it_is_personal(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    slug = await db.scalar(select(Organization.slug).where(Organization.id == alice.organization_id))
    refused = await delete(client, alice, slug)
    assert (refused.status_code, refused.json()["code"]) == (409, "personal_organization")
    assert (await client.get("/api/products", headers=alice.headers)).status_code == 200


async def test_restoring_when_it_is_too_late_or_too_much(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    organization, owner = await house_of(db, alice)
    await delete(client, owner, organization.slug)
    for number in range(9):
        await create(client, alice, name=f"House {number}")
    assert (await restore(client, alice, organization.id)).json()["code"] == "too_many_organizations"
    await db.execute(
        update(Organization)
        .where(Organization.id == organization.id)
        .values(purge_after=clock.now() - timedelta(minutes=1))
    )
    await db.commit()
    late = await restore(client, alice, organization.id)
    assert (late.status_code, late.json()["code"]) == (410, "organization_purged")


async def test_purge_when_the_time_is_over(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """Every row of the organisation goes, except what the law keeps; others lose nothing."""
    organization, owner = await house_of(db, alice)
    viewer = await make_colleague(db, owner, "viewer")
    role = await make_role(db, organization.id)
    found = await db.scalars(select(TeamMember).where(TeamMember.user_id == viewer.user_id))
    member = next(one for one in found if one.organization_id == organization.id)
    await give_role(db, member, role)
    product = await make_product(db, owner=owner, stock=5)
    await place_order(client, owner, product)
    await make_product(db, owner=alice)
    await delete(client, owner, organization.slug)
    await purge_organizations(database)
    assert await db.scalar(select(func.count(Organization.id)).where(Organization.id == organization.id)) == 1
    await db.execute(
        update(Organization)
        .where(Organization.id == organization.id)
        .values(purge_after=clock.now() - timedelta(minutes=1))
    )
    await db.commit()
    await purge_organizations(database)
    await purge_organizations(database)
    assert await db.scalar(select(func.count(Organization.id)).where(Organization.id == organization.id)) == 0
    for model in (TeamMember, Product, Order, StockMovement):
        left = select(func.count()).select_from(model).where(model.organization_id == organization.id)
        assert await db.scalar(left) == 0
    kept = select(func.count()).select_from(DocumentCounter)
    assert await db.scalar(kept.where(DocumentCounter.organization_id == organization.id)) == 1
    assert await db.scalar(select(func.count(Product.id))) == 1
    assert await db.scalar(select(func.count(User.id)).where(User.id == viewer.user_id)) == 1
    assert await works_in(db, viewer) == await home_of(db, viewer.user_id)
    assert [one["organization_id"] for one in await events(db, "organization.purged")] == [
        str(organization.id)
    ]
    assert (await restore(client, alice, organization.id)).status_code == 404


async def test_purge_when_every_table_has_a_row(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """A table of an organisation is emptied by its purge, unless the law keeps it."""
    organization, owner = await house_of(db, alice)
    await delete(client, owner, organization.slug)
    owned: list[type[Any]] = [one.class_ for one in Base.registry.mappers if issubclass(one.class_, Owned)]
    for model in owned:
        await plant(db, model, owner)
    await db.execute(
        update(Organization)
        .where(Organization.id == organization.id)
        .values(purge_after=clock.now() - timedelta(minutes=1))
    )
    await db.commit()
    await purge_organizations(database)
    left = {
        model.__tablename__
        for model in owned
        if await db.scalar(
            select(func.count()).select_from(model).where(model.organization_id == organization.id)
        )
    }
    kept: list[type[Any]] = [model for model in owned if issubclass(model, OwnedKept)]
    assert left == {model.__tablename__ for model in kept}
    assert "document_counters" in left
