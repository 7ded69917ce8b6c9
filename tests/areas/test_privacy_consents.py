"""Consents: a ledger that only grows, the texts they are about, and what sign-up and the account say."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DBAPIError

from app.core import clock
from app.core.database import Database, SystemSession
from app.models.auth import User
from app.models.privacy import Consent, PolicyDocument
from app.services.privacy.consents import address_prefix, subject_ref
from tests.factories.accounts import make_user
from tests.factories.invitations import make_invitation, token_of
from tests.factories.privacy import VERSION, make_consent, make_policy
from tests.support.accounts import OTHER_PASSWORD, bearer, events, link_token, person, sign_in, sign_up
from tests.support.links import magic_link, reset, reset_token, verify_link
from tests.support.personas import Persona

EMAIL = "Camille@Maison.example"
ADDRESS = EMAIL.lower()
LEDGER = "/api/privacy/consents"
POLICIES = "/api/privacy/policies"


def choice(purpose: str, is_granted: Any = True, version: str = VERSION) -> dict[str, Any]:
    return {"purpose": purpose, "is_granted": is_granted, "policy_version": version}


NEEDED = [choice("terms"), choice("privacy_policy")]


async def say(
    client: AsyncClient, who: Persona, purpose: str, is_granted: Any = True, **more: Any
) -> Response:
    return await client.post(LEDGER, headers=who.headers, json={**choice(purpose, is_granted), **more})


async def current(client: AsyncClient, who: Persona) -> dict[str, dict[str, Any]]:
    answer = await client.get(f"{LEDGER}/current", headers=who.headers)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["next_cursor"], body["total"]) == (None, None)
    return {item["purpose"]: item for item in body["items"]}


async def required(client: AsyncClient, headers: dict[str, str]) -> list[str]:
    me = (await client.get("/api/auth/me", headers=headers)).json()
    return [item["purpose"] for item in me["consents_required"]]


async def rows_of(db: SystemSession, user: User) -> list[tuple[str, bool, str]]:
    statement = select(Consent).where(Consent.user_id == user.id).order_by(Consent.created_at, Consent.id)
    rows = (await db.scalars(statement.execution_options(populate_existing=True))).all()
    return [(row.purpose, row.is_granted, row.source) for row in rows]


async def test_consent_when_it_is_given(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    answer = await client.post(
        LEDGER,
        headers={**alice.headers, "User-Agent": "x" * 300},
        json={**choice("analytics"), "source": "banner"},
    )
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["purpose"], body["is_granted"], body["source"]) == ("analytics", True, "banner")
    assert answer.headers["location"] == f"{LEDGER}?purpose=analytics"
    text_shown = (await client.get(f"{POLICIES}/analytics/{VERSION}?locale=fr")).json()
    assert body["policy_sha256"] == text_shown["sha256"]
    row = (await db.scalars(select(Consent))).one()
    assert (row.user_id, row.subject_ref) == (alice.user_id, subject_ref(alice.user_id))
    assert row.user_agent == "x" * 200
    said = {"consent_id": body["id"], "policy_version": VERSION, "purpose": "analytics", "source": "banner"}
    assert await events(db, "privacy.consent_given") == [{"user_id": str(alice.user_id), **said}]


async def test_consent_when_it_is_withdrawn(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    assert (await say(client, alice, "marketing_email")).status_code == 201
    assert (await current(client, alice))["marketing_email"]["is_granted"] is True
    answer = await say(client, alice, "marketing_email", False)
    assert (answer.status_code, answer.json()["source"]) == (201, "settings")
    assert (await current(client, alice))["marketing_email"]["is_granted"] is False
    (told,) = await events(db, "privacy.consent_withdrawn")
    assert told["consent_id"] == answer.json()["id"]
    history = (await client.get(LEDGER, headers=alice.headers)).json()["items"]
    assert [item["is_granted"] for item in history] == [False, True]


@pytest.mark.parametrize("purpose", ["terms", "privacy_policy"])
async def test_consent_when_the_service_needs_it(client: AsyncClient, alice: Persona, purpose: str) -> None:
    answer = await say(client, alice, purpose, False)
    assert (answer.status_code, answer.json()["code"]) == (409, "consent_needed_for_service")
    assert "/api/privacy/erasure" in answer.json()["detail"]
    assert (await client.get(LEDGER, headers=alice.headers)).json()["items"] == []


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"purpose": "selling"}, "/purpose"),
        ({"is_granted": "true"}, "/is_granted"),
        ({"is_granted": 1}, "/is_granted"),
        ({"policy_version": "latest"}, "/policy_version"),
        ({"policy_version": "2020-01-01"}, "/policy_version"),
        ({"policy_sha256": "0" * 64}, "/policy_sha256"),
        ({"source": "unsubscribe"}, "/source"),
        ({"user_id": "0198c0de-0000-7000-8000-000000000001"}, "/user_id"),
    ],
)
async def test_consent_when_a_field_is_wrong(
    client: AsyncClient, db: SystemSession, alice: Persona, more: dict[str, Any], pointer: str
) -> None:
    answer = await client.post(LEDGER, headers=alice.headers, json={**choice("analytics"), **more})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert await db.scalar(select(func.count()).select_from(Consent)) == 0


async def test_consent_when_its_version_is_of_another_purpose_or_not_published_yet(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    terms = await make_policy(db, name="terms")
    later = await make_policy(db, name="analytics", published_at=clock.now() + timedelta(days=1))
    for version in (terms.version, later.version):
        answer = await say(client, alice, "analytics", policy_version=version)
        assert (answer.status_code, answer.json()["code"]) == (422, "policy_version_unknown")
    assert (await client.get(f"{POLICIES}/analytics/{later.version}")).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_ledger_when_it_is_to_be_changed_over_http(
    client: AsyncClient, alice: Persona, method: str
) -> None:
    assert (await client.request(method, LEDGER, headers=alice.headers)).status_code == 405


@pytest.mark.parametrize(
    "change",
    [
        update(Consent).values(is_granted=False),
        update(Consent).values(user_id=None, purpose="terms"),
        update(Consent).values(user_agent="another"),
        delete(Consent),
        text("TRUNCATE consents"),
        update(PolicyDocument).values(body="Something else."),
        delete(PolicyDocument),
        text("TRUNCATE policy_documents"),
    ],
    ids=str,
)
async def test_rows_when_they_are_to_be_changed(db: SystemSession, alice: Persona, change: Any) -> None:
    await make_consent(db, owner=alice)
    with pytest.raises(DBAPIError, match="refuses"):
        async with db.begin_nested():
            await db.execute(change)


async def test_rows_when_the_person_is_forgotten(db: SystemSession, alice: Persona) -> None:
    consent = await make_consent(db, owner=alice, ip_prefix="192.0.2.0/24", user_agent="Browser")
    await db.execute(update(Consent).values(user_id=None, ip_prefix=None, user_agent=None))
    await db.refresh(consent)
    assert (consent.user_id, consent.ip_prefix, consent.user_agent) == (None, None, None)
    assert consent.subject_ref == subject_ref(alice.user_id)
    await db.execute(text("SET LOCAL luneo.retention = 'on'"))
    await db.execute(delete(Consent))
    await db.execute(text("SET LOCAL luneo.retention = 'off'"))
    assert await db.scalar(select(func.count()).select_from(Consent)) == 0


async def test_ledger_when_somebody_else_asks(
    client: AsyncClient, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    """Neither a colleague nor a stranger sees what a person said."""
    await say(client, alice, "analytics")
    for other in (bob, charlie):
        assert (await client.get(LEDGER, headers=other.headers)).json()["items"] == []
        assert (await current(client, other))["analytics"]["is_granted"] is False
    assert len((await client.get(LEDGER, headers=alice.headers)).json()["items"]) == 1
    assert (await client.get(LEDGER)).status_code == 401


async def test_ledger_when_it_is_paged(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for day in range(5):
        await make_consent(db, owner=alice, is_granted=day % 2 == 0, created_at=start + timedelta(days=day))
    await make_consent(db, owner=alice, purpose="terms", created_at=start)
    seen: list[str] = []
    cursor: str | None = None
    while cursor is not None or not seen:
        query: dict[str, Any] = {"limit": 2, "purpose": "analytics", **({"cursor": cursor} if cursor else {})}
        page = (await client.get(LEDGER, headers=alice.headers, params=query)).json()
        seen += [item["created_at"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)
    counted = await client.get(LEDGER, headers=alice.headers, params={"count": True})
    assert counted.json()["total"] == 6
    refused = await client.get(LEDGER, headers=alice.headers, params={"purpose": "selling"})
    assert refused.status_code == 422


async def test_current_when_nobody_was_asked(client: AsyncClient, alice: Persona) -> None:
    found = await current(client, alice)
    assert list(found) == ["terms", "privacy_policy", "marketing_email", "analytics"]
    for purpose, item in found.items():
        assert item == {
            "purpose": purpose,
            "is_granted": False,
            "policy_version": None,
            "latest_version": VERSION,
            "is_required": purpose in ("terms", "privacy_policy"),
            "is_outdated": False,
            "decided_at": None,
        }


@pytest.mark.commits
async def test_ledger_when_answers_come_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    answers = await asyncio.gather(*(say(client, alice, "analytics", n % 2 == 0) for n in range(6)))
    assert [answer.status_code for answer in answers] == [201] * 6
    history = (await client.get(LEDGER, headers=alice.headers)).json()["items"]
    assert {item["id"] for item in history} == {answer.json()["id"] for answer in answers}
    newest = max(history, key=lambda item: (item["created_at"], item["id"]))
    assert history[0] == newest
    assert (await current(client, alice))["analytics"]["is_granted"] is newest["is_granted"]


async def test_account_when_texts_change(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    """What is needed and missing is asked, and what is granted after a material change; nothing else."""
    assert await required(client, alice.headers) == ["terms", "privacy_policy"]
    for purpose in ("terms", "privacy_policy", "analytics"):
        await say(client, alice, purpose)
    assert await required(client, alice.headers) == []
    await make_policy(db, name="privacy_policy", is_material=False)
    assert await required(client, alice.headers) == []
    terms = await make_policy(db, name="terms")
    await make_policy(db, name="analytics")
    await make_policy(db, name="marketing_email")
    assert await required(client, alice.headers) == ["terms", "analytics"]
    assert (await current(client, alice))["terms"]["is_outdated"] is True
    assert (await say(client, alice, "terms", policy_version=terms.version)).status_code == 201
    assert (await say(client, alice, "analytics", False)).status_code == 201
    assert await required(client, alice.headers) == []
    assert (await client.get("/api/products", headers=alice.headers)).status_code == 200


async def test_signup_when_it_brings_consents(client: AsyncClient, db: SystemSession) -> None:
    consents = [*NEEDED, choice("marketing_email", False)]
    assert (await sign_up(client, EMAIL, locale="en", consents=consents)).status_code == 202
    user = await person(db, EMAIL)
    assert user is not None
    assert sorted(await rows_of(db, user)) == [
        ("marketing_email", False, "signup"),
        ("privacy_policy", True, "signup"),
        ("terms", True, "signup"),
    ]
    shown = (await client.get(f"{POLICIES}/terms/{VERSION}?locale=en")).json()["sha256"]
    row = (await db.scalars(select(Consent).where(Consent.purpose == "terms"))).one()
    assert row.policy_sha256.hex() == shown
    assert {told["purpose"] for told in await events(db, "privacy.consent_given")} == {
        "terms",
        "privacy_policy",
    }


async def test_signup_when_it_brings_none(client: AsyncClient, db: SystemSession) -> None:
    assert (await sign_up(client, EMAIL, consents=[])).status_code == 202
    user = await person(db, EMAIL)
    assert user is not None
    assert await rows_of(db, user) == []


async def test_signup_when_it_is_repeated(client: AsyncClient, db: SystemSession) -> None:
    """Whoever signs up last may be another than who granted: only the last one's word stands."""
    await sign_up(client, EMAIL, consents=[*NEEDED, choice("marketing_email")])
    await sign_up(client, EMAIL, consents=[choice("terms")])
    user = await person(db, EMAIL)
    assert user is not None
    assert sorted((await rows_of(db, user))[3:]) == [
        ("marketing_email", False, "signup"),
        ("privacy_policy", False, "signup"),
        ("terms", True, "signup"),
    ]


async def test_signup_when_the_address_has_an_account(
    client: AsyncClient, db: SystemSession, statements: Any
) -> None:
    """Nothing is recorded for its owner, and it costs the same as for a new address."""
    await sign_up(client, "first@maison.example", consents=NEEDED)  # What is read once is read now.
    user = await make_user(db, email=EMAIL)
    costs = []
    for address in (EMAIL, "new@maison.example"):
        with statements() as seen:
            assert (await sign_up(client, address, consents=NEEDED)).status_code == 202
        costs.append(sum("consents" in statement for statement in seen))
    assert costs == [1, 1]
    assert await rows_of(db, user) == []


@pytest.mark.parametrize(
    ("consents", "pointer"),
    [
        ([*NEEDED, choice("analytics", version="2020-01-01")], "/consents/2/policy_version"),
        ([choice("selling")], "/consents/0/purpose"),
        ([choice("terms", "yes")], "/consents/0/is_granted"),
        ([choice("terms"), choice("terms", False)], "/consents"),
        ([{**choice("terms"), "source": "import"}], "/consents/0/source"),
    ],
)
@pytest.mark.parametrize("is_known", [True, False])
async def test_signup_when_a_consent_is_wrong(
    client: AsyncClient, db: SystemSession, consents: Any, pointer: str, is_known: bool
) -> None:
    if is_known:
        await make_user(db, email=EMAIL)
    answer = await sign_up(client, EMAIL, consents=consents)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert (await person(db, EMAIL) is not None) is is_known


async def test_invited_signup_when_it_brings_consents(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    invitation = await make_invitation(db, owner=alice, email=EMAIL, role="designer")
    token = await token_of(db, invitation.id)
    unknown = [choice("terms", version="2020-01-01")]
    refused = await sign_up(client, EMAIL, invitation_token=token, consents=unknown)
    assert (refused.status_code, refused.json()["code"]) == (422, "policy_version_unknown")
    assert await person(db, EMAIL) is None
    answer = await sign_up(client, EMAIL, invitation_token=token, consents=[choice("terms")])
    assert answer.status_code == 201, answer.text
    assert await required(client, bearer(answer.json())) == ["privacy_policy"]


async def stands(db: SystemSession, user: User) -> dict[str, bool]:
    """What a person's ledger says last of each purpose."""
    return {purpose: is_granted for purpose, is_granted, _ in await rows_of(db, user)}


@pytest.mark.parametrize("way", ["magic link", "reset", "invitation"])
async def test_consents_when_the_owner_of_the_address_takes_the_account_over(
    client: AsyncClient, database: Database, db: SystemSession, alice: Persona, way: str
) -> None:
    """Somebody signed up with the address; what they granted is not the owner's word."""
    await sign_up(client, ADDRESS, consents=[*NEEDED, choice("marketing_email")])
    user = await person(db, ADDRESS)
    assert user is not None
    if way == "magic link":
        link = await magic_link(client, database, ADDRESS)
        opened = await verify_link(client, **link.by_token())
        assert await required(client, bearer(opened.json())) == ["terms", "privacy_policy"]
    elif way == "reset":
        token = await reset_token(client, database, ADDRESS)
        assert (await reset(client, token, OTHER_PASSWORD)).status_code == 200
        opened = await sign_in(client, ADDRESS, OTHER_PASSWORD)
        assert await required(client, bearer(opened.json())) == ["terms", "privacy_policy"]
    else:
        invitation = await make_invitation(db, owner=alice, email=ADDRESS, role="designer")
        token = await token_of(db, invitation.id)
        opened = await sign_up(client, ADDRESS, invitation_token=token, consents=NEEDED)
        assert await required(client, bearer(opened.json())) == []
    is_own = way == "invitation"
    assert await stands(db, user) == {"marketing_email": False, "terms": is_own, "privacy_policy": is_own}
    told = {event["purpose"] for event in await events(db, "privacy.consent_withdrawn")}
    assert told == {"marketing_email", "terms", "privacy_policy"}


async def test_consents_when_a_signup_is_confirmed(
    client: AsyncClient, database: Database, db: SystemSession
) -> None:
    """Whoever signed up reads the mail of that sign-up: what they granted stands, also after a reset."""
    await sign_up(client, ADDRESS, consents=NEEDED)
    user = await person(db, ADDRESS)
    assert user is not None
    confirmed = await client.post("/api/auth/confirm", json={"token": await link_token(db, ADDRESS)})
    assert confirmed.status_code == 200, confirmed.text
    token = await reset_token(client, database, ADDRESS)
    assert (await reset(client, token, OTHER_PASSWORD)).status_code == 200
    assert await stands(db, user) == {"terms": True, "privacy_policy": True}


async def test_policies_when_anybody_asks(client: AsyncClient, db: SystemSession) -> None:
    page = (await client.get(POLICIES, params={"count": True})).json()
    assert page["total"] == 8
    assert all("body" not in item for item in page["items"])
    one = (await client.get(POLICIES, params={"name": "terms", "locale": "en"})).json()["items"]
    assert [(item["version"], item["title"]) for item in one] == [(VERSION, "Terms of use")]
    newer = await make_policy(db, name="terms")
    latest = (await client.get(f"{POLICIES}/terms/latest")).json()
    assert (latest["version"], latest["body"]) == (newer.version, newer.body)
    paged = (await client.get(POLICIES, params={"limit": 3})).json()
    rest = (await client.get(POLICIES, params={"limit": 9, "cursor": paged["next_cursor"]})).json()
    assert len({str(item) for item in paged["items"] + rest["items"]}) == 9


@pytest.mark.parametrize(
    "path", ["selling/latest", "terms/2020-01-01", "terms/newest", "terms/%00", "%00/latest"]
)
async def test_policy_when_there_is_none(client: AsyncClient, path: str) -> None:
    assert (await client.get(f"{POLICIES}/{path}")).status_code == 404


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        (None, None),
    ],
)
def test_address_when_it_is_kept(address: str | None, prefix: str | None) -> None:
    assert address_prefix(address) == prefix
