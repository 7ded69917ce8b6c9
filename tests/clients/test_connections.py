"""Connected services on the wire: what each is sent, and what is made of whatever comes back."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.clients.connections import (
    Addresses,
    Grant,
    OAuthClient,
    ServiceDown,
    ServiceRefused,
    Trip,
)
from app.clients.connections.oauth import OAuthService
from app.clients.connections.registry import OAUTH, SERVICES
from app.clients.connections.shopify import Shopify, is_shop, is_signed, signature_of
from tests.support.outbound import outbound
from tests.support.receivers import Behaviour, Receiver, receiving, reply

CLIENT = OAuthClient("our-id", "our-secret")
GOOD = {"access_token": "at", "token_type": "bearer", "expires_in": 3600, "ok": True}
BACK = "https://api.example/back"


def service_at(receiver: Receiver, name: str = "google_drive") -> OAuthService:
    """The service as its class speaks, at a receiver on loopback."""
    addresses = Addresses(
        authorize="https://x.example",
        token=receiver.url("/token"),
        refresh=receiver.url("/refresh") if name == "figma" else "",
        identify=receiver.url("/identify"),
        test=receiver.url("/test"),
        revoke=receiver.url("/revoke"),
    )
    caller = outbound(receiver.port)
    if name == "shopify":
        return Shopify(CLIENT, caller, addresses, shop="a.myshopify.com")
    return OAUTH[name](CLIENT, caller, addresses)


def json_reply(document: Any, status: int = 200) -> Behaviour:
    return reply(status, json.dumps(document).encode())


async def exchanged(behaviour: Behaviour, name: str = "google_drive") -> Grant:
    async with receiving({"/token": behaviour}) as receiver:
        return await service_at(receiver, name).exchange("the code", "verifier", BACK)


@pytest.mark.parametrize("name", sorted(OAUTH))
async def test_exchange_when_it_is_sent(name: str) -> None:
    async with receiving({"/token": json_reply(GOOD), "/refresh": json_reply(GOOD)}) as receiver:
        service = service_at(receiver, name)
        assert (await service.exchange("the code", "verifier", BACK)).access_token == "at"
        await service.refresh("the token")
    (first, sent), (second, again) = receiver.requests
    assert first.startswith("POST /token HTTP/1.1\r\n")
    assert second.startswith("POST /refresh " if name == "figma" else "POST /token ")
    form, renewed = dict(parse_qsl(sent.decode())), dict(parse_qsl(again.decode()))
    assert (form["code"], form["grant_type"], form["redirect_uri"]) == (
        "the code",
        "authorization_code",
        BACK,
    )
    assert (renewed["refresh_token"], renewed["grant_type"]) == ("the token", "refresh_token")
    # Figma takes the client in the header, the others in the form; nobody both.
    assert ("authorization: Basic" in first) == (name == "figma")
    assert (form.get("client_secret") == "our-secret") == (name != "figma")
    assert ("code_verifier" in form) == service.has_pkce
    assert (form.get("expiring") == "1") == (name == "shopify")


@pytest.mark.parametrize(
    "life", [None, "3600", 0, -1, 1.5, True, [], 10**400], ids=lambda life: str(life)[:8]
)
async def test_life_when_the_service_tells_oddly(life: Any) -> None:
    grant = await exchanged(json_reply({**GOOD, "expires_in": life}))
    assert grant.expires_in is None or (life == 10**400 and grant.expires_in < 10**9)


@pytest.mark.parametrize(
    "behaviour",
    [
        json_reply([]),
        json_reply("at"),
        json_reply({}),
        json_reply({**GOOD, "access_token": ""}),
        json_reply({**GOOD, "access_token": 5}),
        json_reply({**GOOD, "access_token": "a\r\nb"}),
        json_reply({**GOOD, "access_token": "é"}),
        json_reply({**GOOD, "access_token": "a" * 9000}),
        json_reply({**GOOD, "error": "access_denied"}),
        json_reply({"error": "invalid_grant"}, 400),
        json_reply(GOOD, 302),
        reply(200, b"<p>later</p>"),
        reply(200, b"[" * 100_000),
        reply(200, json.dumps({**GOOD, "more": "x" * 300_000}).encode()),
    ],
    ids=range(14),
)
async def test_exchange_when_the_answer_is_no_grant(behaviour: Behaviour) -> None:
    with pytest.raises(ServiceRefused) as refusal:
        await exchanged(behaviour)
    assert refusal.value.code == "exchange_failed"


@pytest.mark.parametrize(
    ("behaviour", "code", "after"),
    [
        (reply(500), "provider_unavailable", None),
        (reply(503, b"{}"), "provider_unavailable", None),
        (reply(429, b"{}", Retry_After="17"), "provider_rate_limited", 17),
        (reply(429, b"{}", Retry_After="-5"), "provider_rate_limited", None),
    ],
    ids=["500", "503", "429", "429 oddly"],
)
async def test_exchange_when_the_service_is_down(behaviour: Behaviour, code: str, after: int | None) -> None:
    with pytest.raises(ServiceDown) as failure:
        await exchanged(behaviour)
    assert (failure.value.code, failure.value.retry_after_s) == (code, after)


@pytest.mark.parametrize(
    ("error", "code"),
    [("internal_error", "provider_unavailable"), ("ratelimited", "provider_rate_limited")],
)
async def test_slack_when_it_is_down_with_200(error: str, code: str) -> None:
    with pytest.raises(ServiceDown) as failure:
        await exchanged(json_reply({"ok": False, "error": error}), "slack")
    assert failure.value.code == code


async def test_exchange_when_nobody_listens() -> None:
    async with receiving({"/token": reply()}) as receiver:
        service = service_at(receiver)
    with pytest.raises(ServiceDown) as failure:
        await service.exchange("code", None, BACK)
    assert (failure.value.code, failure.value.reason) == ("provider_unavailable", "connect_refused")


@pytest.mark.parametrize(
    ("name", "status", "document", "is_gone"),
    [
        ("slack", 200, {"ok": False, "error": "invalid_refresh_token"}, True),
        ("slack", 200, {"ok": False, "error": "bad_client_secret"}, False),
        ("slack", 200, {"access_token": "at"}, False),
        ("hubspot", 400, {"status": "BAD_REFRESH_TOKEN", "message": "gone"}, True),
        ("google_drive", 400, {"error": "invalid_grant"}, True),
        ("google_drive", 401, {"error": "invalid_client"}, False),
        ("google_drive", 400, {"error": {"nested": 1}}, False),
    ],
    ids=range(7),
)
async def test_refresh_when_it_is_refused(
    name: str, status: int, document: dict[str, Any], is_gone: bool
) -> None:
    async with receiving({"/token": json_reply(document, status)}) as receiver:
        with pytest.raises(ServiceRefused) as refusal:
            await service_at(receiver, name).refresh("token")
    assert (refusal.value.code, refusal.value.is_grant_gone) == ("refresh_rejected", is_gone)


@pytest.mark.parametrize("scope", ["a b", "a,b", " a , b ", "a \ud800 b,c\x00"], ids=range(4))
async def test_scopes_when_they_are_told(scope: str) -> None:
    assert (await exchanged(json_reply({**GOOD, "scope": scope}))).scopes == ("a", "b")


async def test_scopes_when_they_are_not_told() -> None:
    assert (await exchanged(json_reply({**GOOD, "scope": ["a"]}))).scopes is None
    assert (await exchanged(json_reply(GOOD))).scopes is None


def test_scopes_when_one_contains_another() -> None:
    assert Shopify.missing_scopes(["write_products"]) == ()
    assert Shopify.missing_scopes(["write_orders"]) == ("read_products",)


@pytest.mark.parametrize("document", [{}, {"sub": ""}, {"sub": ["1"]}, {"sub": "x" * 500}, {"sub": "a\nb"}])
async def test_account_when_it_is_not_named(document: dict[str, Any]) -> None:
    grant = Grant(
        access_token="at", refresh_token=None, token_type=None, expires_in=None, scopes=None, answer={}
    )
    async with receiving({"/identify": json_reply(document)}) as receiver:
        with pytest.raises(ServiceRefused):
            await service_at(receiver).identify(grant)


def test_question_when_it_is_asked_of_each() -> None:
    trip = Trip(state="state", redirect_uri=BACK, scopes=("a", "b"), challenge="challenge")
    assert len(SERVICES) == 9
    for name, kind in OAUTH.items():
        addresses = kind.known_addresses or Addresses(authorize="https://a.example", token="")
        service = (
            Shopify(CLIENT, outbound(443), addresses, shop="a.myshopify.com")
            if name == "shopify"
            else kind(CLIENT, outbound(443), addresses)
        )
        asked = dict(parse_qsl(urlsplit(service.authorize_url(trip)).query))
        assert (asked["state"], asked["client_id"], asked["redirect_uri"]) == ("state", "our-id", BACK)
        assert asked["scope"] == kind.scope_separator.join(("a", "b"))
        assert ("code_challenge" in asked) == kind.has_pkce
        assert kind.missing_scopes(kind.asked_scopes(None)) == ()
        assert kind.allowed_scopes.issuperset(kind.default_scopes)


@pytest.mark.parametrize(
    "text", ["", "a", "A.myshopify.com", "-a.myshopify.com", "a.b.myshopify.com", "a.myshopify.com.", None, 5]
)
def test_shop_when_it_is_none(text: object) -> None:
    assert not is_shop(text)


def test_signature_when_a_way_back_is_signed() -> None:
    """The example of Shopify's own documentation."""
    query = [
        ("shop", "some-shop.myshopify.com"),
        ("timestamp", "1337178173"),
        ("code", "0907a61c0c8d55e99db179b68161bc00"),
    ]
    expected = "4712bf92ffc2917d15a2f5a273e39f0116667419aa4b6ac0b3baaf26fa3c4d20"
    assert signature_of("hush", query) == expected
    assert is_signed("hush", [*query, ("hmac", expected)])
    assert not is_signed("hush", [*query, ("hmac", expected), ("hmac", expected)])
    assert not is_signed("hush", query)
    assert not is_signed("other", [*query, ("hmac", expected)])


@pytest.mark.parametrize(
    ("refreshed", "asked"),
    [
        (json_reply(GOOD), ["/revoke", "/token", "/revoke"]),
        (json_reply({"ok": False, "error": "invalid_refresh_token"}), ["/revoke", "/token"]),
    ],
    ids=["alive", "gone"],
)
async def test_slack_when_a_grant_ends_after_its_access_token(refreshed: Behaviour, asked: list[str]) -> None:
    expired = json_reply({"ok": False, "error": "token_expired"})
    async with receiving({"/revoke": expired, "/token": refreshed}) as receiver:
        slack = service_at(receiver, "slack")
        kept = slack.revocable(account_id="T1", access="old", refresh="lasting")
        await slack.revoke(kept or "")
    assert [head.split(" ")[1] for head, _ in receiver.requests] == asked


async def test_slack_when_its_tokens_do_not_rotate() -> None:
    async with receiving({"/revoke": json_reply({"ok": True, "revoked": True})}) as receiver:
        slack = service_at(receiver, "slack")
        await slack.revoke(slack.revocable(account_id="T1", access="lasting", refresh=None) or "")
    ((head, _),) = receiver.requests
    assert "authorization: bearer lasting\r\n" in head.lower()
