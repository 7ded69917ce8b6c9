"""Sign-in with Google against a real server on loopback that signs as Google does, or otherwise."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from jose import jws

from app.clients.oauth import ExternalPerson, ProviderRefused, ProviderUnavailable, asking, id_tokens
from app.clients.oauth.google import GoogleEndpoints, GoogleProvider
from app.core import clock
from app.core.crypto import TripSecrets, begin_trip, key_ring
from app.core.ids import uuid7
from tests.support.provider import PlayedProvider, Reply, RsaKey, playing

BACK = "http://api.luneo.test/api/auth/oauth/google/callback"
ISSUER = "https://accounts.google.com"
CLIENT = "the-client.apps.example"

KEY, OTHER_KEY = RsaKey("first"), RsaKey("second")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedProvider]:
    # Another test's provider may have had the same port.
    monkeypatch.setattr(id_tokens, "_kept", {})
    with playing() as provider:
        provider.replies["/keys"] = Reply({"keys": [KEY.public(alg="RS256")]})
        yield provider


@pytest.fixture
def google(played: PlayedProvider) -> GoogleProvider:
    endpoints = GoogleEndpoints(token=f"{played.url}/token", keys=f"{played.url}/keys")
    return GoogleProvider(CLIENT, "s3cr3t", endpoints=endpoints)


@pytest.fixture
def secrets() -> TripSecrets:
    return begin_trip(key_ring(), uuid7())


def claims_for(secrets: TripSecrets, **changes: Any) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    claims = {
        "iss": ISSUER,
        "aud": CLIENT,
        "azp": CLIENT,
        "sub": "117000000000000000042",
        "email": "camille@maison.example",
        "email_verified": True,
        "name": "Camille Martin",
        "locale": "en-GB",
        "nonce": secrets.nonce,
        "iat": now,
        "exp": now + 3600,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def signed(claims: Any, key: RsaKey = KEY, **header: Any) -> str:
    token: str = jws.sign(claims, key.private, {"kid": key.kid, **header}, algorithm="RS256")
    return token


def give(played: PlayedProvider, token: Any) -> None:
    played.replies["/token"] = Reply({"access_token": "x", "id_token": token, "token_type": "Bearer"})


async def ask(google: GoogleProvider, secrets: TripSecrets) -> ExternalPerson:
    return await google.identify("the-code", secrets, BACK)


async def test_person_when_the_token_is_good(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets
) -> None:
    give(played, signed(claims_for(secrets)))
    assert await ask(google, secrets) == ExternalPerson(
        provider="google",
        subject="117000000000000000042",
        email="camille@maison.example",
        is_email_verified=True,
        name="Camille Martin",
        locale="en-GB",
    )
    method, _, form, _ = played.asked[0]
    assert method == "POST"
    assert form == {
        "grant_type": "authorization_code",
        "code": "the-code",
        "client_id": CLIENT,
        "client_secret": "s3cr3t",
        "redirect_uri": BACK,
        "code_verifier": secrets.verifier,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "of-another-trip"},
        {"nonce": None},
        {"nonce": 7},
        {"iss": "https://evil.example"},
        {"iss": "http://accounts.google.com"},
        {"iss": None},
        {"aud": "somebody-else"},
        {"aud": None},
        {"aud": [CLIENT, "somebody-else"]},
        {"aud": [], "azp": CLIENT},
        {"azp": "somebody-else"},
        {"exp": 0},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"iat": 9_999_999_999},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 42},
        {"sub": "x" * 256},
        {"sub": "a\u0000b"},
    ],
    ids=str,
)
async def test_token_when_a_claim_is_wrong(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets, changes: dict[str, Any]
) -> None:
    give(played, signed(claims_for(secrets, **changes)))
    with pytest.raises(ProviderRefused):
        await ask(google, secrets)


async def test_token_when_its_time_is_at_the_edge(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets
) -> None:
    now = int(clock.now().timestamp())
    give(played, signed(claims_for(secrets, iat=now + 50, exp=now - 50)))
    assert (await ask(google, secrets)).subject
    for changes in ({"exp": now - 70}, {"iat": now + 70}):
        give(played, signed(claims_for(secrets, **changes)))
        with pytest.raises(ProviderRefused):
            await ask(google, secrets)


@pytest.mark.parametrize("audience", [CLIENT, [CLIENT]])
@pytest.mark.parametrize("issuer", [ISSUER, "accounts.google.com"])
async def test_token_when_it_is_written_otherwise(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets, audience: Any, issuer: str
) -> None:
    give(played, signed(claims_for(secrets, aud=audience, iss=issuer, azp=None)))
    assert (await ask(google, secrets)).subject


@pytest.mark.parametrize("verified", [False, "true", 1, None, "false"])
async def test_address_when_it_is_not_said_to_be_verified(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets, verified: Any
) -> None:
    give(played, signed(claims_for(secrets, email_verified=verified)))
    assert (await ask(google, secrets)).is_email_verified is False


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(claims: dict[str, Any], header: dict[str, Any], secret: bytes | None) -> str:
    unsigned = f"{part(header)}.{part(claims)}"
    if secret is None:
        return f"{unsigned}."
    tag = hmac.digest(secret, unsigned.encode(), hashlib.sha256)
    return f"{unsigned}.{base64.urlsafe_b64encode(tag).rstrip(b'=').decode()}"


PUBLIC_FORMS = [KEY.public_pem, KEY.public_pem.strip(), json.dumps(KEY.public()).encode(), b"s3cr3t", b""]


@pytest.mark.parametrize("algorithm", ["HS256", "hs256", "RS256"])
@pytest.mark.parametrize("secret", PUBLIC_FORMS)
async def test_token_when_it_is_a_mac_under_the_public_key(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets, secret: bytes, algorithm: str
) -> None:
    give(played, forged(claims_for(secrets), {"alg": algorithm, "typ": "JWT", "kid": KEY.kid}, secret))
    with pytest.raises(ProviderRefused):
        await ask(google, secrets)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, ["RS256"], "RS512", "ES256"])
async def test_token_when_its_algorithm_is_another(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets, algorithm: Any
) -> None:
    give(played, forged(claims_for(secrets), {"alg": algorithm, "kid": KEY.kid}, None))
    with pytest.raises(ProviderRefused):
        await ask(google, secrets)


async def test_token_when_its_header_brings_the_key(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets
) -> None:
    played.replies["/evil"] = Reply({"keys": [OTHER_KEY.public(kid="first")]})
    for header in ({"jwk": OTHER_KEY.public()}, {"jku": f"{played.url}/evil"}, {"x5u": f"{played.url}/evil"}):
        give(played, signed(claims_for(secrets), OTHER_KEY, **{"kid": "first", **header}))
        with pytest.raises(ProviderRefused):
            await ask(google, secrets)
    assert played.count("/evil") == 0
    give(played, signed(claims_for(secrets), crit=["b64"]))
    with pytest.raises(ProviderRefused):
        await ask(google, secrets)


async def test_token_when_it_was_changed(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets
) -> None:
    header, _, tag = signed(claims_for(secrets)).split(".")
    for token in (
        f"{header}.{part(claims_for(secrets, sub='1'))}.{tag}",
        f"{header}.{tag}",
        "a.b.c",
        "...",
        f"{part('text')}.{part({})}.{tag}",
        f"{part({'alg': 'RS256'})}.{part({})}.{tag}",
        "[" * 5000,
        signed(b"no json"),
        signed(b"[" * 9000),
    ):
        give(played, token)
        with pytest.raises(ProviderRefused):
            await ask(google, secrets)


@pytest.mark.parametrize(
    "keys",
    [
        {"keys": [OTHER_KEY.public()]},
        {"keys": [KEY.public(use="enc")]},
        {"keys": [KEY.public(alg="RS512")]},
        {"keys": []},
        {"keys": ["text", 7, None, {"kid": 7}]},
    ],
)
async def test_keys_when_the_right_one_is_not_among_them(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets, keys: Any
) -> None:
    played.replies["/keys"] = Reply(keys)
    give(played, signed(claims_for(secrets)))
    with pytest.raises(ProviderRefused):
        await ask(google, secrets)


@pytest.mark.parametrize(
    "reply",
    [
        Reply([]),
        Reply({"keys": {}}),
        Reply("no json"),
        Reply(status=404),
        Reply(status=500),
        Reply({"keys": [{"kid": "first", "kty": "RSA"}]}),
        Reply({"keys": [{"kid": "first", "kty": "RSA", "n": "!", "e": 7}]}),
        Reply({"keys": [{"kid": "first", "kty": "RSA", "n": [], "e": {}}]}),
        Reply({"keys": [{"kid": "first", "kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}]}),
        Reply({"keys": [{"kid": "first", "kty": "RSA", "n": "A" * 200_000, "e": "A" * 50_000}]}),
        Reply({"keys": [{"kid": "first", "kty": "RSA", "n": "AA", "e": "AA"}]}),
    ],
)
async def test_keys_when_they_cannot_be_read(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets, reply: Reply
) -> None:
    played.replies["/keys"] = reply
    give(played, signed(claims_for(secrets)))
    with pytest.raises(ProviderUnavailable):
        await ask(google, secrets)


async def test_keys_when_google_changes_them(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets
) -> None:
    give(played, signed(claims_for(secrets)))
    for _ in range(3):
        await ask(google, secrets)
    assert played.count("/keys") == 1
    played.replies["/keys"] = Reply({"keys": [OTHER_KEY.public()]})
    give(played, signed(claims_for(secrets), OTHER_KEY))
    with pytest.raises(ProviderRefused):
        await ask(google, secrets)  # They were asked for just now; made-up key ids cost Google nothing.
    assert played.count("/keys") == 1
    with clock.travel(timedelta(minutes=2)):
        give(played, signed(claims_for(secrets), OTHER_KEY))
        await ask(google, secrets)
        assert played.count("/keys") == 2
        give(played, signed(claims_for(secrets)))
        with pytest.raises(ProviderRefused):
            await ask(google, secrets)
    with clock.travel(timedelta(hours=2)):
        give(played, signed(claims_for(secrets), OTHER_KEY))
        await ask(google, secrets)
        assert played.count("/keys") == 3


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply({"error": "invalid_grant"}, 400), ProviderRefused),
        (Reply({"error": "invalid_client"}, 401), ProviderUnavailable),
        (Reply({"error": {"deep": []}}, 400), ProviderUnavailable),
        (Reply({}, 400), ProviderUnavailable),
        (Reply([], 400), ProviderUnavailable),
        (Reply({}), ProviderUnavailable),
        (Reply({"id_token": 7}), ProviderUnavailable),
        (Reply({"id_token": None}), ProviderUnavailable),
        (Reply([1]), ProviderUnavailable),
        (Reply("<html>"), ProviderUnavailable),
        (Reply(""), ProviderUnavailable),
        (Reply(b"\xff\xfe"), ProviderUnavailable),
        (Reply("[" * 100_000), ProviderUnavailable),
        (Reply("9" * 5000), ProviderUnavailable),
        (Reply("x" * 300_000), ProviderUnavailable),
        (Reply(status=500), ProviderUnavailable),
        (Reply(status=429), ProviderUnavailable),
        (Reply(status=302, headers={"Location": "/elsewhere"}), ProviderUnavailable),
        (Reply("{}", headers={"Content-Encoding": "gzip"}), ProviderUnavailable),
    ],
)
async def test_answer_when_it_is_none(
    google: GoogleProvider, played: PlayedProvider, secrets: TripSecrets, reply: Reply, error: type[Exception]
) -> None:
    played.replies["/token"] = reply
    with pytest.raises(error):
        await ask(google, secrets)
    assert played.count("/elsewhere") == 0


async def test_provider_when_it_is_slow_or_gone(
    google: GoogleProvider,
    played: PlayedProvider,
    secrets: TripSecrets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "SECONDS", 0.3)
    is_over, late = threading.Event(), []

    def answer_late(_: dict[str, str]) -> Reply:
        late.append(is_over.wait(60))
        return Reply({})

    played.replies["/token"] = answer_late
    try:
        with pytest.raises(ProviderUnavailable):
            await ask(google, secrets)
        assert late == [], "nobody has waited for the answer"
    finally:
        is_over.set()
    gone = GoogleProvider(CLIENT, "x", endpoints=GoogleEndpoints(token="http://127.0.0.1:9/token"))
    with pytest.raises(ProviderUnavailable):
        await ask(gone, secrets)
    wrong = GoogleProvider(CLIENT, "x", endpoints=GoogleEndpoints(token="no address"))
    with pytest.raises(ProviderUnavailable):
        await ask(wrong, secrets)


def test_endpoints_when_nothing_is_said() -> None:
    """Only the sandbox gives others."""
    google = GoogleProvider(CLIENT, "s3cr3t")
    hosts = [google.endpoints.authorize, google.endpoints.token, google.endpoints.keys]
    assert [address.split("/")[2] for address in hosts] == [
        "accounts.google.com",
        "oauth2.googleapis.com",
        "www.googleapis.com",
    ]
    assert google.endpoints.algorithm == "RS256"
    url = google.authorize_url(begin_trip(key_ring(), uuid7()), BACK)
    assert url.startswith("https://accounts.google.com/o/oauth2/v2/auth?response_type=code&")
    assert "s3cr3t" not in url
