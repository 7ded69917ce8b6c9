"""The provider that the service plays in development and test: as strict as a real one where it matters."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from httpx import AsyncClient, Response

from app.core import clock
from app.core.crypto import begin_trip, key_ring, read_trip
from app.core.ids import uuid7
from tests.support.oauth import Trip, approve, start

CLIENT = "luneo-sandbox"


def code_of(back: str) -> str:
    return dict(parse_qsl(urlsplit(back).query))["code"]


def verifier_of(trip: Trip) -> str:
    """What the service derives for this trip."""
    found = read_trip(key_ring(), trip.state)
    assert found is not None
    return found.verifier


async def token(client: AsyncClient, provider: str, **form: Any) -> Response:
    given = {"client_id": CLIENT, "client_secret": CLIENT, **form}
    return await client.post(f"/sandbox/idp/{provider}/token", data=given)


@pytest.mark.parametrize("provider", ["google", "github"])
async def test_page_when_the_browser_comes(client: AsyncClient, provider: str) -> None:
    trip = await start(client, provider)
    page = await client.get(trip.authorize_url)
    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for text in ("Camille Martin", "theo@nowhere.example", "Approve", "Deny", trip.state):
        assert text in page.text
    assert "<script" not in page.text


async def test_page_when_what_it_is_asked_is_markup(client: AsyncClient) -> None:
    trip = await start(client)
    page = await client.get(trip.authorize_url, params={**trip.asked, "state": '"><script>alert(1)</script>'})
    assert page.status_code == 200
    assert "<script" not in page.text


async def test_index_when_somebody_looks(client: AsyncClient) -> None:
    page = await client.get("/sandbox/idp")
    assert page.status_code == 200
    assert "/api/auth/oauth/google/start" in page.text


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "http://api.luneo.test/api/auth/oauth/github/callback"},
        {"redirect_uri": "http://api.luneo.test/api/auth/oauth/google/callback/"},
        {"client_id": "another"},
    ],
)
async def test_question_when_it_is_not_of_this_service(client: AsyncClient, changes: dict[str, str]) -> None:
    """It leads nobody to another place than the one that the service registered."""
    trip = await start(client)
    query = {**trip.asked, **changes}
    assert (await client.get("/sandbox/idp/google/authorize", params=query)).status_code == 400
    query |= {"email": "a@b.example", "decision": "approve"}
    answer = await client.get("/sandbox/idp/google/decide", params=query)
    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_address_when_nobody_plays_that_provider(client: AsyncClient) -> None:
    trip = await start(client)
    for path in ("authorize", "decide"):
        query = {**trip.asked, "email": "a@b.example", "decision": "approve"}
        assert (await client.get(f"/sandbox/idp/facebook/{path}", params=query)).status_code == 404
    for path in ("keys", "user", "user/emails"):
        assert (await client.get(f"/sandbox/idp/facebook/{path}")).status_code == 404
    assert (await token(client, "facebook", code="x", code_verifier="y")).status_code == 404
    assert (await client.get("/sandbox/idp/google/decide")).status_code == 422


@pytest.mark.parametrize(("provider", "status"), [("google", 400), ("github", 200)])
async def test_code_when_it_is_not_proved(client: AsyncClient, provider: str, status: int) -> None:
    trip = await start(client, provider)
    code = code_of(await approve(client, trip))
    verifier = verifier_of(trip)
    foreign = begin_trip(key_ring(), uuid7()).verifier
    wrong: list[dict[str, str]] = [
        {"code": code, "code_verifier": foreign},
        {"code": code, "code_verifier": trip.verifier},
        {"code": code, "code_verifier": verifier, "client_secret": "guessed"},
        {"code": code, "code_verifier": verifier, "client_id": "another"},
        {"code": code[:-1] + ("A" if code[-1] != "A" else "B"), "code_verifier": verifier},
        {"code": "x", "code_verifier": verifier},
    ]
    for form in wrong:
        answer = await token(client, provider, **form)
        assert (answer.status_code, answer.json()["error"]) == (status, "invalid_grant")
    with clock.travel(timedelta(seconds=61)):
        assert (await token(client, provider, code=code, code_verifier=verifier)).json() == {
            "error": "invalid_grant"
        }
    other = "github" if provider == "google" else "google"
    assert (await token(client, other, code=code, code_verifier=verifier)).json()["error"] == "invalid_grant"
    right = await token(client, provider, code=code, code_verifier=verifier)
    assert ("id_token" in right.json()) == (provider == "google")


async def test_user_when_the_token_is_none(client: AsyncClient) -> None:
    for path in ("user", "user/emails"):
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Bearer sandbox_code_AAAA"}):
            assert (await client.get(f"/sandbox/idp/github/{path}", headers=headers)).status_code == 401


async def test_keys_when_they_are_read(client: AsyncClient) -> None:
    (key,) = (await client.get("/sandbox/idp/google/keys")).json()["keys"]
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
    assert "d" not in key
