"""Sign-in with other providers where something is wrong: states, codes, verifiers, the provider's word."""

import itertools
import time
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select

from app.clients.oauth import asking
from app.core import clock
from app.core.crypto import begin_trip, key_ring
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.auth import ExternalSignIn, Identity, OneTimeToken, User, UserSession
from app.services.auth.external.sandbox import SLOWNESS_SECONDS
from tests.factories.accounts import make_user
from tests.support.accounts import bearer, events, pkce, refresh
from tests.support.links import give_factor
from tests.support.oauth import approve, come_back, exchange, fragment, start

EMAIL = "camille@maison.example"


async def count(db: SystemSession, model: type) -> int:
    return int(await db.scalar(select(func.count()).select_from(model)) or 0)


def changed(address: str, **values: str | None) -> str:
    """The address with other parameters; None takes one out."""
    path, _, query = address.partition("?")
    given = {**dict(parse_qsl(query)), **values}
    return f"{path}?{urlencode({name: value for name, value in given.items() if value is not None})}"


async def test_callback_when_the_state_was_used(client: AsyncClient, db: SystemSession) -> None:
    back = await approve(client, await start(client))
    assert "auth_code" in fragment(await client.get(back))
    replayed = await client.get(back)
    assert (replayed.status_code, replayed.json()["code"]) == (400, "state_invalid")
    assert "location" not in replayed.headers
    assert await count(db, OneTimeToken) == 1
    assert await count(db, User) == 1


def states() -> list[str]:
    mine = begin_trip(key_ring(), uuid7()).state
    flipped = mine[:-2] + ("A" if mine[-2] != "A" else "B") + mine[-1]
    return ["", "x", mine, flipped, mine + "A", "luneo_ot_", "luneo_ot_é", mine.replace("_ot_", "_ac_")]


@pytest.mark.parametrize("state", states(), ids=itertools.count())
async def test_callback_when_the_state_is_not_ours(client: AsyncClient, state: str) -> None:
    for path in ("/api/auth/oauth/google/callback", "/api/auth/callback"):
        answer = await client.get(path, params={"code": "x", "state": state})
        assert (answer.status_code, answer.json()["code"]) == (400, "state_invalid")
    assert (await client.get("/api/auth/callback")).json()["code"] == "state_invalid"


async def test_callback_when_the_state_is_of_another_provider(client: AsyncClient) -> None:
    back = await approve(client, await start(client, "google"))
    answer = await client.get(back.replace("/google/callback", "/github/callback"))
    assert (answer.status_code, answer.json()["code"]) == (400, "state_invalid")
    assert (await client.get(back)).status_code == 400  # It is used up all the same.


@pytest.mark.parametrize("provider", ["google", "github"])
async def test_callback_when_it_comes_to_the_old_address(client: AsyncClient, provider: str) -> None:
    trip = await start(client, provider)
    back = (await approve(client, trip)).replace(f"/oauth/{provider}/callback", "/callback")
    found = fragment(await client.get(back))
    assert (await exchange(client, found["auth_code"], trip.verifier)).status_code == 200


async def test_callback_when_the_person_said_no(client: AsyncClient, db: SystemSession) -> None:
    back = await approve(client, await start(client), decision="deny")
    assert fragment(await client.get(back)) == {"error": "access_denied"}
    assert (await client.get(back)).json()["code"] == "state_invalid"
    assert await count(db, User) == 0


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("access_denied", "access_denied"),
        ("temporarily_unavailable", "provider_unavailable"),
        ("server_error", "provider_unavailable"),
        ("invalid_scope", "provider_refused"),
        ("<script>", "provider_refused"),
    ],
)
async def test_callback_when_the_provider_reports_an_error(
    client: AsyncClient, error: str, told: str
) -> None:
    trip = await start(client)
    query = {"state": trip.state, "error": error, "error_description": "x", "error_uri": "https://x.example"}
    assert fragment(await client.get("/api/auth/oauth/google/callback", params=query)) == {"error": told}


async def test_callback_when_it_brings_neither_code_nor_error(client: AsyncClient) -> None:
    trip = await start(client)
    answer = await client.get("/api/auth/oauth/google/callback", params={"state": trip.state})
    assert fragment(answer) == {"error": "provider_refused"}


async def test_callback_when_a_parameter_comes_twice(client: AsyncClient) -> None:
    back = await approve(client, await start(client))
    twice = await client.get(f"{back}&code=other")
    assert twice.status_code == 422
    assert "auth_code" in fragment(await client.get(f"{back}&scope=a&authuser=0&prompt=consent"))


@pytest.mark.parametrize("provider", ["google", "github"])
@pytest.mark.parametrize("code", ["x", "sandbox_code_AAAA", "\x00", "é" * 100])
async def test_callback_when_the_code_is_made_up(
    client: AsyncClient, db: SystemSession, provider: str, code: str
) -> None:
    trip = await start(client, provider)
    query = {"state": trip.state, "code": code}
    answer = await client.get(f"/api/auth/oauth/{provider}/callback", params=query)
    if code == "\x00":
        assert answer.status_code == 422
    else:
        assert fragment(answer) == {"error": "provider_refused"}
    assert await count(db, User) == 0


@pytest.mark.parametrize("provider", ["google", "github"])
async def test_callback_when_the_code_is_of_another_trip(
    client: AsyncClient, db: SystemSession, provider: str
) -> None:
    """A stolen code is put into somebody else's sign-in: PKCE towards the provider refuses it."""
    stolen = dict(parse_qsl(urlsplit(await approve(client, await start(client, provider))).query))["code"]
    mine = await approve(client, await start(client, provider), "mallory@evil.example")
    assert fragment(await client.get(changed(mine, code=stolen))) == {"error": "provider_refused"}
    assert await count(db, User) == 0


@pytest.mark.parametrize("provider", ["google", "github"])
@pytest.mark.parametrize("issuer", ["https://somebody-else.example", "", "http://api.luneo.test"])
async def test_callback_when_another_issuer_answers(
    client: AsyncClient, db: SystemSession, provider: str, issuer: str
) -> None:
    back = await approve(client, await start(client, provider))
    assert fragment(await client.get(changed(back, iss=issuer or "x"))) == {"error": "provider_refused"}
    assert await count(db, User) == 0
    foreign = await approve(client, await start(client, provider), behaves="foreign_answer")
    assert fragment(await client.get(foreign)) == {"error": "provider_refused"}


BAD_TOKENS = [
    "wrong_nonce",
    "wrong_issuer",
    "wrong_audience",
    "expired",
    "alg_none",
    "alg_hs256",
    "foreign_key",
]


@pytest.mark.parametrize("behaves", BAD_TOKENS)
async def test_id_token_when_it_is_no_proof(client: AsyncClient, db: SystemSession, behaves: str) -> None:
    found = await come_back(client, await start(client), behaves=behaves)
    assert found == {"error": "provider_refused"}
    for model in (User, Identity, OneTimeToken):
        assert await count(db, model) == 0


@pytest.mark.parametrize("provider", ["google", "github"])
@pytest.mark.parametrize("behaves", ["down", "nonsense"])
async def test_provider_when_it_fails(
    client: AsyncClient, db: SystemSession, provider: str, behaves: str
) -> None:
    found = await come_back(client, await start(client, provider), behaves=behaves)
    assert found == {"error": "provider_unavailable"}
    assert await count(db, User) == 0


@pytest.mark.parametrize("provider", ["google", "github"])
async def test_provider_when_it_is_slow(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    monkeypatch.setattr(asking, "SECONDS", 0.3)
    trip = await start(client, provider)
    back = await approve(client, trip, behaves="slow")
    began = time.monotonic()
    assert fragment(await client.get(back)) == {"error": "provider_unavailable"}
    assert time.monotonic() - began < SLOWNESS_SECONDS


async def test_exchange_when_the_browser_is_another(client: AsyncClient, db: SystemSession) -> None:
    """A callback that somebody is lured into yields nothing: the verifier is in the browser that began."""
    trip = await start(client)
    found = await come_back(client, trip)
    foreign = await exchange(client, found["auth_code"], pkce()[0])
    assert (foreign.status_code, foreign.json()["code"]) == (401, "verifier_invalid")
    late = await exchange(client, found["auth_code"], trip.verifier)
    assert (late.status_code, late.json()["code"]) == (410, "token_used")
    assert await count(db, UserSession) == 0


async def test_exchange_when_the_code_is_used_twice(client: AsyncClient, db: SystemSession) -> None:
    trip = await start(client)
    found = await come_back(client, trip)
    opened = (await exchange(client, found["auth_code"], trip.verifier)).json()
    assert (await client.get("/api/auth/me", headers=bearer(opened))).status_code == 200
    # Without the verifier a thief of the used code ends nothing.
    thief = await exchange(client, found["auth_code"], pkce()[0])
    assert thief.json()["code"] == "verifier_invalid"
    assert (await client.get("/api/auth/me", headers=bearer(opened))).status_code == 200
    again = await exchange(client, found["auth_code"], trip.verifier)
    assert (again.status_code, again.json()["code"]) == (410, "token_used")
    assert (await client.get("/api/auth/me", headers=bearer(opened))).json()["code"] == "session_revoked"
    assert (await refresh(client, opened["refresh_token"])).json()["code"] == "session_revoked"
    session = await db.get_one(UserSession, UUID(opened["session_id"]), populate_existing=True)
    assert session.revoked_reason == "auth_code_reused"
    assert len(await events(db, "session.revoked")) == 1
    assert (await exchange(client, found["auth_code"], trip.verifier)).status_code == 410
    assert len(await events(db, "session.revoked")) == 1


@pytest.mark.parametrize("is_finished", [True, False])
async def test_exchange_when_a_code_with_a_second_factor_is_used_twice(
    client: AsyncClient, db: SystemSession, is_finished: bool
) -> None:
    user = await make_user(db, email=EMAIL)
    app = await give_factor(db, user.id)
    trip = await start(client)
    found = await come_back(client, trip)
    asked = (await exchange(client, found["auth_code"], trip.verifier)).json()
    proof = {"mfa_token": asked["mfa_token"], "code": app.code()}
    opened = {}
    if is_finished:
        opened = (await client.post("/api/auth/mfa/verify", json=proof)).json()
        assert opened["status"] == "ok"
    again = await exchange(client, found["auth_code"], trip.verifier)
    assert again.json()["code"] == "token_used"
    if is_finished:
        answer = await client.get("/api/auth/me", headers=bearer(opened))
        assert answer.json()["code"] == "session_revoked"
    else:
        answer = await client.post("/api/auth/mfa/verify", json=proof)
        assert answer.json()["code"] == "mfa_token_invalid"


async def test_exchange_when_it_is_late(client: AsyncClient, db: SystemSession) -> None:
    trip = await start(client)
    found = await come_back(client, trip)
    with clock.travel(timedelta(seconds=61)):
        answer = await exchange(client, found["auth_code"], trip.verifier)
    assert (answer.status_code, answer.json()["code"]) == (410, "token_expired")
    assert await count(db, UserSession) == 0


@pytest.mark.parametrize("code", ["x", "luneo_ac_", "luneo_ac_" + "A" * 64, "é", "\ud800"])
async def test_exchange_when_the_code_is_forged(client: AsyncClient, code: str) -> None:
    verifier = pkce()[0]
    if code == "\ud800":
        content = f'{{"auth_code": "\\ud800", "code_verifier": "{verifier}"}}'
        headers = {"Content-Type": "application/json"}
        assert (await client.post("/api/auth/token", content=content, headers=headers)).status_code == 422
        return
    answer = await exchange(client, code, verifier)
    assert (answer.status_code, answer.json()["code"]) == (400, "token_invalid")


async def test_exchange_when_the_state_is_taken_for_a_code(client: AsyncClient) -> None:
    trip = await start(client)
    for text in (trip.state, trip.state.replace("luneo_ot_", "luneo_ac_")):
        assert (await exchange(client, text, trip.verifier)).json()["code"] == "token_invalid"


async def test_exchange_when_the_answer_is_repeated(client: AsyncClient) -> None:
    trip = await start(client)
    found = await come_back(client, trip)
    headers = {"Idempotency-Key": "sign-in-1"}
    first = await exchange(client, found["auth_code"], trip.verifier, **headers)
    again = await exchange(client, found["auth_code"], trip.verifier, **headers)
    assert first.json()["access_token"] is not None
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.json()["access_token"], again.json()["refresh_token"]) == (None, None)
    assert (await client.get("/api/auth/me", headers=bearer(first.json()))).status_code == 200


async def test_trip_when_it_is_kept(client: AsyncClient, db: SystemSession) -> None:
    """Nothing in the tables opens anything: state, nonce, verifier and code are derived."""
    trip = await start(client)
    found = await come_back(client, trip)
    rows = [
        *(await db.execute(select(ExternalSignIn))).scalars(),
        *(await db.execute(select(OneTimeToken))).scalars(),
    ]
    kept = " ".join(str(value) for row in rows for value in vars(row).values())
    for secret in (trip.state, trip.asked["nonce"], trip.verifier, found["auth_code"]):
        assert secret not in kept
