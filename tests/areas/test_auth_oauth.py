"""Sign-in with Google and GitHub over HTTP: the whole way, and whose account it opens."""

from datetime import timedelta

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.jobs.external import prune_trips
from app.models.auth import ExternalSignIn, Identity, OneTimeToken, Password, User, UserSession
from app.models.settings import Profile
from app.models.team import Organization
from tests.factories.accounts import access_token_of, make_session, make_user
from tests.support.accounts import PASSWORD, bearer, events, person, pkce, sign_in, sign_up
from tests.support.links import give_factor, reset_token, templates
from tests.support.oauth import APP, approve, come_back, exchange, fragment, sign_in_with, start

EMAIL = "camille@maison.example"
PROVIDERS = ["google", "github"]


async def identities(db: SystemSession) -> list[Identity]:
    return list((await db.execute(select(Identity).order_by(Identity.created_at))).scalars())


async def count(db: SystemSession, model: type) -> int:
    return int(await db.scalar(select(func.count()).select_from(model)) or 0)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_sign_in_when_nobody_has_the_address(
    client: AsyncClient, db: SystemSession, database: Database, provider: str
) -> None:
    answer = await sign_in_with(client, provider)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    opened = answer.json()
    assert (opened["status"], opened["user"]["email"], opened["user"]["full_name"]) == (
        "ok",
        EMAIL,
        "Camille",
    )
    me = (await client.get("/api/auth/me", headers=bearer(opened))).json()
    assert (me["session"]["auth_method"], me["session"]["aal"]) == ("oauth", 1)
    assert me["user"]["email_confirmed_at"] is not None
    assert me["organization"]["role"] == "owner"
    (identity,) = await identities(db)
    assert (identity.provider, identity.email, identity.is_email_verified) == (provider, EMAIL, True)
    assert identity.last_sign_in_at is not None
    assert await count(db, Password) == 0
    assert [event["method"] for event in await events(db, "auth.signed_up")] == ["oauth"]
    assert await templates(client, database, EMAIL) == ["welcome"]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_sign_in_when_it_is_the_second_time(
    client: AsyncClient, db: SystemSession, provider: str
) -> None:
    first = (await sign_in_with(client, provider, subject="100200300")).json()
    # The subject counts; the address may have changed at the provider, or lost its verification.
    again = await sign_in_with(client, provider, "new@maison.example", subject="100200300", verified="false")
    assert again.status_code == 200, again.text
    assert again.json()["user"]["id"] == first["user"]["id"]
    assert again.json()["user"]["email"] == EMAIL
    (identity,) = await identities(db)
    assert (identity.email, identity.is_email_verified) == ("new@maison.example", False)
    assert await count(db, User) == 1
    assert len(await events(db, "user.identity_linked")) == 1


async def test_start_when_the_browser_is_led_away(client: AsyncClient, db: SystemSession) -> None:
    verifier, challenge = pkce()
    query = {"code_challenge": challenge, "code_challenge_method": "S256", "redirect_to": "/orders?tab=1"}
    answer = await client.get(
        "/api/auth/oauth/google/start", params=query, headers={"X-Device-Key": "k" * 30}
    )
    assert answer.status_code == 302
    assert answer.headers["cache-control"] == "no-store"
    location = answer.headers["location"]
    assert location.startswith(f"{get_settings().api_url}/sandbox/idp/google/authorize?")
    assert verifier not in location
    assert challenge not in location  # The provider gets a challenge of our own.
    trip = (await db.execute(select(ExternalSignIn))).scalar_one()
    assert trip.redirect_to == f"{APP}/orders?tab=1"
    assert (trip.kind, trip.intent, trip.provider, trip.code_challenge) == (
        "oauth",
        "sign_in",
        "google",
        challenge,
    )
    assert trip.device_key_hash is not None
    assert trip.expires_at - trip.created_at == timedelta(minutes=10)


async def test_redirect_when_it_is_named(client: AsyncClient) -> None:
    for redirect_to, lands in (("/orders?tab=1", f"{APP}/orders?tab=1"), (f"{APP}/x", f"{APP}/x")):
        trip = await start(client, redirect_to=redirect_to)
        answer = await client.get(await approve(client, trip))
        assert answer.headers["location"].startswith(f"{lands}#auth_code=luneo_ac_")
    trip = await start(client)
    answer = await client.get(await approve(client, trip))
    assert answer.headers["location"].startswith(f"{APP}/#auth_code=luneo_ac_")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"redirect_to": "https://evil.example/"}, "redirect_not_allowed"),
        ({"redirect_to": "//evil.example"}, "redirect_not_allowed"),
        ({"redirect_to": "/x#y"}, "redirect_not_allowed"),
        ({"code_challenge_method": "plain"}, "validation_error"),
        ({"code_challenge": "short"}, "validation_error"),
        ({"code_challenge": None}, "validation_error"),
        ({"surprise": "1"}, "validation_error"),
        ({"remember": "perhaps"}, "validation_error"),
    ],
)
async def test_start_when_the_question_is_bad(
    client: AsyncClient, db: SystemSession, changed: dict[str, str | None], code: str
) -> None:
    query = {"code_challenge": pkce()[1], "code_challenge_method": "S256", **changed}
    query = {name: value for name, value in query.items() if value is not None}
    answer = await client.get("/api/auth/oauth/google/start", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await count(db, ExternalSignIn) == 0


async def test_start_when_nobody_knows_the_provider(client: AsyncClient) -> None:
    query = {"code_challenge": pkce()[1], "code_challenge_method": "S256"}
    for name in ("facebook", "Google", "sso"):
        answer = await client.get(f"/api/auth/oauth/{name}/start", params=query)
        assert answer.status_code == 404
    assert (await client.get("/api/auth/oauth/facebook/callback?state=x")).status_code == 404


async def test_remembered_sign_in_when_it_is_wished(client: AsyncClient, db: SystemSession) -> None:
    trip = await start(client, remember="true")
    found = await come_back(client, trip)
    answer = await exchange(client, found["auth_code"], trip.verifier)
    session = await db.get_one(UserSession, answer.json()["session_id"])
    assert session.is_remembered
    assert session.amr == ["fed"]


async def test_account_when_its_address_is_confirmed(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    user = await make_user(db, email=EMAIL, password=PASSWORD)
    session = await make_session(db, user)
    trip = await start(client)
    found = await come_back(client, trip, "Camille@Maison.example")
    assert await identities(db) == []  # Nothing is linked before the app has shown its verifier.
    answer = await exchange(client, found["auth_code"], trip.verifier)
    assert answer.json()["user"]["id"] == str(user.id)
    (identity,) = await identities(db)
    assert identity.user_id == user.id
    still = {"Authorization": f"Bearer {access_token_of(session)}"}
    assert (await client.get("/api/auth/me", headers=still)).status_code == 200
    assert (await sign_in(client, EMAIL)).status_code == 200
    assert "identity_linked" in await templates(client, database, EMAIL)


async def test_account_when_its_address_is_not_confirmed(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    """A stranger signed up with the address first, and waits for its owner to make the account good."""
    await sign_up(client, EMAIL)
    user = await person(db, EMAIL)
    assert user is not None
    squatter = await make_session(db, user, organization_id=await home_of(db, user))
    token = await reset_token(client, database, EMAIL)
    answer = await sign_in_with(client)
    assert answer.json()["user"]["id"] == str(user.id)
    assert await count(db, Password) == 0
    assert (await sign_in(client, EMAIL)).json()["code"] == "invalid_credentials"
    gone = {"Authorization": f"Bearer {access_token_of(squatter)}"}
    assert (await client.get("/api/auth/me", headers=gone)).json()["code"] == "session_revoked"
    body = {"token": token, "new_password": "another good phrase"}
    assert (await client.post("/api/auth/password/reset", json=body)).json()["code"] == "token_used"
    assert len(await identities(db)) == 1
    assert {"identity_linked", "welcome"} <= set(await templates(client, database, EMAIL))


async def home_of(db: SystemSession, user: User):
    return (await db.execute(select(Organization.id).where(Organization.created_by == user.id))).scalar_one()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_address_when_it_is_not_verified(client: AsyncClient, db: SystemSession, provider: str) -> None:
    found = await come_back(client, await start(client, provider), verified="false")
    assert found == {"error": "email_not_verified"}
    await make_user(db, email=EMAIL, password=PASSWORD)
    found = await come_back(client, await start(client, provider), verified="false")
    assert found == {"error": "account_exists_link_required"}
    assert await identities(db) == []
    assert await count(db, User) == 1


@pytest.mark.parametrize("email", ["not an address", "a@b", "ä@example.test", "x" * 70 + "@example.test"])
async def test_address_when_it_is_none(client: AsyncClient, db: SystemSession, email: str) -> None:
    found = await come_back(client, await start(client), email)
    assert found == {"error": "email_not_verified"}
    assert await count(db, User) == 0


async def test_account_when_another_subject_is_linked_to_it(client: AsyncClient, db: SystemSession) -> None:
    await sign_in_with(client, subject="111")
    found = await come_back(client, await start(client), subject="222")
    assert found == {"error": "account_exists_link_required"}
    assert len(await identities(db)) == 1
    # Another provider may be added.
    assert (await sign_in_with(client, "github")).status_code == 200
    assert len(await identities(db)) == 2


async def test_account_when_sign_ups_are_closed(
    client: AsyncClient, db: SystemSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mode in ("closed", "invited"):
        monkeypatch.setattr(get_settings(), "signups", mode)
        assert await come_back(client, await start(client)) == {"error": "signup_closed"}
    assert await count(db, User) == 0
    await make_user(db, email=EMAIL)
    assert (await sign_in_with(client)).status_code == 200


async def test_account_when_it_is_suspended(client: AsyncClient, db: SystemSession) -> None:
    user = await make_user(db, email=EMAIL)
    user.status = "suspended"
    await db.commit()
    trip = await start(client)
    found = await come_back(client, trip)
    answer = await exchange(client, found["auth_code"], trip.verifier)
    assert (answer.status_code, answer.json()["code"]) == (403, "account_suspended")
    assert await identities(db) == []
    assert [event["reason"] for event in await events(db, "auth.sign_in_failed")] == ["account_suspended"]
    again = await exchange(client, found["auth_code"], trip.verifier)
    assert (again.status_code, again.json()["code"]) == (410, "token_used")


async def test_profile_when_the_account_is_made(client: AsyncClient, db: SystemSession) -> None:
    await sign_in_with(client, name="Zoë  <b>Durand</b>")
    profile = (await db.execute(select(Profile))).scalar_one()
    assert profile.full_name == "Zoë  <b>Durand</b>"
    assert profile.locale == "fr"


async def test_second_factor_when_the_account_has_one(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    user = await make_user(db, email=EMAIL)
    app = await give_factor(db, user.id)
    answer = await sign_in_with(client)
    assert answer.status_code == 200
    asked = answer.json()
    assert asked["status"] == "mfa_required"
    assert "access_token" not in asked
    assert await identities(db) == []  # A thief of the mailbox alone cannot add a way in.
    assert await count(db, UserSession) == 0
    body = {"mfa_token": asked["mfa_token"], "code": app.code()}
    done = await client.post("/api/auth/mfa/verify", json=body)
    assert done.status_code == 200, done.text
    (identity,) = await identities(db)
    assert identity.user_id == user.id
    me = (await client.get("/api/auth/me", headers=bearer(done.json()))).json()
    assert (me["session"]["auth_method"], me["session"]["aal"]) == ("oauth", 2)
    # The next time the identity is known, and the factor is asked all the same.
    again = await sign_in_with(client)
    assert again.json()["status"] == "mfa_required"


async def test_providers_when_they_are_listed(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = (await client.get("/api/auth/providers")).json()
    both = [{"provider": "google", "name": "Google"}, {"provider": "github", "name": "GitHub"}]
    assert (offered["magic_link"], offered["oauth"]) == (True, both)
    settings = get_settings()
    monkeypatch.setattr(settings, "environment", "production")
    assert (await client.get("/api/auth/providers")).json()["oauth"] == []
    monkeypatch.setattr(settings, "github_client_id", "id")
    monkeypatch.setattr(settings, "github_client_secret", "s3cr3t")
    assert (await client.get("/api/auth/providers")).json()["oauth"] == both[1:]


async def test_start_when_production_has_no_client_id(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = get_settings()
    monkeypatch.setattr(settings, "environment", "production")
    monkeypatch.setattr(settings, "github_client_id", "the-id")
    monkeypatch.setattr(settings, "github_client_secret", "s3cr3t")
    query = {"code_challenge": pkce()[1], "code_challenge_method": "S256"}
    refused = await client.get("/api/auth/oauth/google/start", params=query)
    assert (refused.status_code, refused.json()["code"]) == (503, "provider_not_configured")
    led = await client.get("/api/auth/oauth/github/start", params=query)
    assert led.headers["location"].startswith("https://github.com/login/oauth/authorize?client_id=the-id&")
    assert "s3cr3t" not in led.headers["location"]


async def test_callback_when_the_provider_was_taken_away(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = await approve(client, await start(client))
    monkeypatch.setattr(get_settings(), "environment", "production")
    assert fragment(await client.get(back)) == {"error": "provider_not_configured"}


async def test_trip_when_it_takes_too_long(client: AsyncClient) -> None:
    trip = await start(client)
    with clock.travel(timedelta(minutes=10, seconds=1)):
        late = await client.get(await approve(client, trip))
        assert (late.status_code, late.json()["code"]) == (400, "state_invalid")


async def test_trips_when_they_are_long_over(
    client: AsyncClient, db: SystemSession, database: Database
) -> None:
    await come_back(client, await start(client))
    with clock.travel(timedelta(days=1)):
        await come_back(client, await start(client))
        await sign_up(client, "other@maison.example")
        await prune_trips(database)
        assert await count(db, ExternalSignIn) == 2
    with clock.travel(timedelta(days=1, minutes=11)):
        await prune_trips(database)
    assert await count(db, ExternalSignIn) == 1
    purposes = (await db.execute(select(OneTimeToken.purpose))).scalars().all()
    assert sorted(purposes) == ["auth_code", "email_confirm"]
