"""Sign-in with GitHub against a real server on loopback."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.clients.oauth import ExternalPerson, ProviderRefused, ProviderUnavailable
from app.clients.oauth.github import GitHubEndpoints, GitHubProvider
from app.core.crypto import TripSecrets, begin_trip, key_ring
from app.core.ids import uuid7
from tests.support.provider import PlayedProvider, Reply, playing

BACK = "http://api.luneo.test/api/auth/oauth/github/callback"

EMAILS = [
    {"email": "old@maison.example", "primary": False, "verified": True},
    {"email": "camille@maison.example", "primary": True, "verified": True},
    {"email": "583231+camille@users.noreply.example", "primary": False, "verified": True},
]


@pytest.fixture
def played() -> Iterator[PlayedProvider]:
    with playing() as provider:
        provider.replies["/token"] = Reply({"access_token": "gho_x", "token_type": "bearer"})
        provider.replies["/user"] = Reply(
            {"id": 583231, "login": "camille", "name": "Camille", "email": "a@b.c"}
        )
        provider.replies["/user/emails"] = Reply(EMAILS)
        yield provider


@pytest.fixture
def github(played: PlayedProvider) -> GitHubProvider:
    endpoints = GitHubEndpoints(
        token=f"{played.url}/token", user=f"{played.url}/user", emails=f"{played.url}/user/emails"
    )
    return GitHubProvider("the-client", "s3cr3t", endpoints=endpoints)


@pytest.fixture
def secrets() -> TripSecrets:
    return begin_trip(key_ring(), uuid7())


async def ask(github: GitHubProvider, secrets: TripSecrets) -> ExternalPerson:
    return await github.identify("the-code", secrets, BACK)


async def test_person_when_the_answers_are_good(
    github: GitHubProvider, played: PlayedProvider, secrets: TripSecrets
) -> None:
    assert await ask(github, secrets) == ExternalPerson(
        provider="github",
        subject="583231",
        email="camille@maison.example",
        is_email_verified=True,
        name="Camille",
    )
    assert [asked[:2] for asked in played.asked] == [
        ("POST", "/token"),
        ("GET", "/user"),
        ("GET", "/user/emails"),
    ]
    assert played.asked[0][2]["code_verifier"] == secrets.verifier
    assert [asked[3] for asked in played.asked] == [None, "Bearer gho_x", "Bearer gho_x"]


@pytest.mark.parametrize(
    ("emails", "email", "is_verified"),
    [
        ([{"email": "a@b.example", "primary": True, "verified": False}], "a@b.example", False),
        ([{"email": "a@b.example", "primary": True, "verified": "true"}], "a@b.example", False),
        ([{"email": "a@b.example", "primary": True}], "a@b.example", False),
        ([{"email": "a@b.example", "primary": False, "verified": True}], None, False),
        ([{"email": None, "primary": True, "verified": True}], None, True),
        ([{"email": ["a@b.example"], "primary": True, "verified": True}], None, True),
        ([], None, False),
        (["text", 7, None, []], None, False),
    ],
)
async def test_address_when_the_list_is_odd(
    github: GitHubProvider,
    played: PlayedProvider,
    secrets: TripSecrets,
    emails: Any,
    email: str | None,
    is_verified: bool,
) -> None:
    played.replies["/user/emails"] = Reply(emails)
    found = await ask(github, secrets)
    assert (found.email, found.is_email_verified) == (email, is_verified)


@pytest.mark.parametrize("name", [None, 7, "x" * 121, "two\nlines", ""])
async def test_name_when_it_is_none(
    github: GitHubProvider, played: PlayedProvider, secrets: TripSecrets, name: Any
) -> None:
    played.replies["/user"] = Reply({"id": 1, "name": name})
    assert (await ask(github, secrets)).name is None


@pytest.mark.parametrize(
    ("path", "reply", "error"),
    [
        ("/token", Reply({"error": "bad_verification_code"}), ProviderRefused),
        ("/token", Reply({"error": "incorrect_client_credentials"}), ProviderUnavailable),
        ("/token", Reply({"access_token": ""}), ProviderUnavailable),
        ("/token", Reply({"access_token": "two\nlines"}), ProviderUnavailable),
        ("/token", Reply({"access_token": "gho_é"}), ProviderUnavailable),
        ("/token", Reply('{"access_token": "gho_\\ud800"}'), ProviderUnavailable),
        ("/token", Reply([]), ProviderUnavailable),
        ("/token", Reply(status=503), ProviderUnavailable),
        ("/user", Reply({"id": "583231"}), ProviderUnavailable),
        ("/user", Reply({"id": True}), ProviderUnavailable),
        ("/user", Reply({}), ProviderUnavailable),
        ("/user", Reply({"message": "Bad credentials"}, 401), ProviderUnavailable),
        ("/user", Reply("<html>"), ProviderUnavailable),
        ("/user/emails", Reply({"message": "Not Found"}, 404), ProviderUnavailable),
        ("/user/emails", Reply({}), ProviderUnavailable),
        ("/user/emails", Reply(status=500), ProviderUnavailable),
    ],
)
async def test_answer_when_it_is_none(
    github: GitHubProvider,
    played: PlayedProvider,
    secrets: TripSecrets,
    path: str,
    reply: Reply,
    error: type[Exception],
) -> None:
    played.replies[path] = reply
    with pytest.raises(error):
        await ask(github, secrets)


def test_endpoints_when_nothing_is_said() -> None:
    """Only the sandbox gives others."""
    github = GitHubProvider("the-client", "s3cr3t")
    assert github.issuer == "https://github.com/login/oauth"
    hosts = [github.endpoints.token, github.endpoints.user, github.endpoints.emails]
    assert [address.split("/")[2] for address in hosts] == ["github.com", "api.github.com", "api.github.com"]
    url = github.authorize_url(begin_trip(key_ring(), uuid7()), BACK)
    assert url.startswith("https://github.com/login/oauth/authorize?client_id=the-client&")
    assert "s3cr3t" not in url
