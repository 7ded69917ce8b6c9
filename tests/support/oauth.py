"""What tests of sign-in with other providers share: an app that begins, a browser that travels."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from httpx import AsyncClient, Response

from tests.support.accounts import pkce

APP = "http://app.luneo.test"


@dataclass
class Trip:
    """A sign-in on its way: what the app keeps, and where the browser stands."""

    provider: str
    verifier: str
    authorize_url: str
    asked: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.asked = dict(parse_qsl(urlsplit(self.authorize_url).query))

    @property
    def state(self) -> str:
        return self.asked["state"]


async def start(client: AsyncClient, provider: str = "google", **more: Any) -> Trip:
    """The app begins, and the browser is led to the provider."""
    verifier, challenge = pkce()
    query = {"code_challenge": challenge, "code_challenge_method": "S256", **more}
    answer = await client.get(f"/api/auth/oauth/{provider}/start", params=query)
    assert answer.status_code == 302, answer.text
    return Trip(provider, verifier, answer.headers["location"])


async def approve(client: AsyncClient, trip: Trip, email: str = "camille@maison.example", **more: Any) -> str:
    """The person approves at the provider (or denies); the address that the browser is sent back to."""
    query = {
        **trip.asked,
        "email": email,
        "name": "Camille",
        "verified": "true",
        "decision": "approve",
        **more,
    }
    answer = await client.get(f"/sandbox/idp/{trip.provider}/decide", params=query)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def fragment(answer: Response) -> dict[str, str]:
    """What the app finds behind the `#`; the browser is on its way to the app."""
    assert answer.status_code == 303, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    return {name: value[0] for name, value in parse_qs(urlsplit(answer.headers["location"]).fragment).items()}


async def come_back(
    client: AsyncClient, trip: Trip, email: str = "camille@maison.example", **more: Any
) -> dict[str, str]:
    """Approve and go back; what the app finds behind the `#`."""
    return fragment(await client.get(await approve(client, trip, email, **more)))


async def exchange(client: AsyncClient, auth_code: str, verifier: str, **headers: str) -> Response:
    body = {"auth_code": auth_code, "code_verifier": verifier}
    return await client.post("/api/auth/token", json=body, headers=headers)


async def sign_in_with(
    client: AsyncClient, provider: str = "google", email: str = "camille@maison.example", **more: Any
) -> Response:
    """The whole way: begin, approve, come back, exchange."""
    trip = await start(client, provider)
    found = await come_back(client, trip, email, **more)
    assert set(found) == {"auth_code"}, found
    return await exchange(client, found["auth_code"], trip.verifier)


async def start_link(client: AsyncClient, headers: dict[str, str], provider: str = "google") -> Trip:
    """A signed-in person begins to link a provider."""
    verifier, challenge = pkce()
    body = {"provider": provider, "code_challenge": challenge, "code_challenge_method": "S256"}
    answer = await client.post("/api/settings/identities", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return Trip(provider, verifier, answer.json()["authorize_url"])


async def finish_link(
    client: AsyncClient, headers: dict[str, str], auth_code: str, verifier: str
) -> Response:
    body = {"auth_code": auth_code, "code_verifier": verifier}
    return await client.post("/api/settings/identities/link", json=body, headers=headers)


async def link(
    client: AsyncClient, headers: dict[str, str], provider: str = "google", **more: Any
) -> Response:
    """Begin, approve, come back and link."""
    trip = await start_link(client, headers, provider)
    found = await come_back(client, trip, **more)
    return await finish_link(client, headers, found["auth_code"], trip.verifier)
