"""Connecting shops of WooCommerce, which run on servers of their own; these run on loopback."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from app.core.config import get_settings
from app.core.database import SystemSession
from app.models.integrations import Integration
from app.services.integrations.connections import providers
from tests.support.certificates import Authority
from tests.support.connections import row_of
from tests.support.outbound import LOOPBACK, Names, outbound
from tests.support.personas import Persona
from tests.support.receivers import Behaviour, Receiver, receiving, reply

HOST = "shop.example.test"
KEY, SECRET = f"ck_{'0a' * 20}", f"cs_{'1b' * 20}"
STATUS = "/store/wp-json/wc/v3/system_status"
GOOD = reply(200, b'{"environment": {"version": "9.1"}}')


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def shop(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour, **given: Any
) -> AsyncIterator[Receiver]:
    """A shop whose name leads to loopback, and that our client trusts."""
    async with receiving({STATUS: behaviour}, authority.server(HOST)) as receiver:
        monkeypatch.setattr(get_settings(), "outbound_ports", [str(receiver.port)])
        client = outbound(receiver.port, tls=authority.trusting(), **given)
        monkeypatch.setattr(providers, "get_outbound", lambda: client)
        yield receiver


async def connect(client: AsyncClient, who: Persona, url: str, **more: Any) -> Response:
    params = {"store_url": url, "consumer_key": KEY, "consumer_secret": SECRET, **more}
    body = {"service": "woocommerce", "params": params}
    return await client.post("/api/integrations/connect", json=body, headers=who.headers)


async def count(db: SystemSession) -> int:
    return int(await db.scalar(select(func.count()).select_from(Integration)) or 0)


async def test_shop_when_it_takes_the_keys(
    client: AsyncClient,
    db: SystemSession,
    alice: Persona,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with shop(authority, monkeypatch, GOOD) as receiver:
        url = receiver.url("/store/?x=1", scheme="https", host="SHOP.example.test")
        answer = await connect(client, alice, url)
        assert answer.status_code == 201, answer.text
        assert KEY not in answer.text
        assert SECRET not in answer.text
        row = answer.json()
        assert (row["auth_mode"], row["external_account_id"]) == ("api_key", f"{HOST}:{receiver.port}")
        pair = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
        head, _ = receiver.requests[0]
        assert head.startswith(f"GET {STATUS} HTTP/1.1\r\n")
        assert f"Basic {pair}" in head
        kept = await row_of(db, row["id"])
        assert kept.details["store_url"] == f"https://{HOST}:{receiver.port}/store"
        tried = await client.post(f"/api/integrations/{row['id']}/test", headers=alice.headers)
        assert tried.json()["ok"] is True
        again = await connect(client, alice, url)
        assert again.json()["id"] == row["id"]
    tried = await client.post(f"/api/integrations/{row['id']}/test", headers=alice.headers)
    assert (tried.json()["ok"], tried.json()["error_code"]) == (False, "provider_unavailable")
    assert (await row_of(db, row["id"])).status == "error"
    assert (await client.delete(f"/api/integrations/{row['id']}", headers=alice.headers)).status_code == 204
    assert await count(db) == 1


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (reply(401, b'{"code": "woocommerce_rest_cannot_view"}'), 422, "credentials_rejected"),
        (reply(200, b"<p>A blog</p>"), 422, "credentials_rejected"),
        (reply(301, b"", Location="https://www.example.test/"), 422, "credentials_rejected"),
        (reply(502, b"bad gateway"), 503, "provider_unavailable"),
        (reply(429, b"{}"), 503, "provider_unavailable"),
    ],
    ids=["refused", "no shop", "elsewhere", "down", "limited"],
)
async def test_shop_when_it_does_not_take_the_keys(
    client: AsyncClient,
    db: SystemSession,
    alice: Persona,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: Behaviour,
    status: int,
    code: str,
) -> None:
    async with shop(authority, monkeypatch, behaviour) as receiver:
        answer = await connect(client, alice, receiver.url("/store", scheme="https", host=HOST))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await count(db) == 0


async def test_shop_when_its_name_leads_inside(
    client: AsyncClient,
    db: SystemSession,
    alice: Persona,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = Names(["169.254.169.254"])
    async with shop(authority, monkeypatch, GOOD, resolve=inner, addresses=LOOPBACK) as receiver:
        answer = await connect(client, alice, receiver.url("/store", scheme="https", host=HOST))
    assert (answer.status_code, answer.json()["code"]) == (422, "url_not_allowed")
    assert answer.json()["reason"] == "blocked_address"
    assert receiver.requests == []
    assert await count(db) == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://shop.example.test", "scheme_not_allowed"),
        ("https://127.0.0.1", "host_is_address"),
        ("https://user:pass@shop.example.test", "user_info"),
        ("https://localhost", "host_is_local"),
        ("https://shop.example.test:22", "port_not_allowed"),
    ],
)
async def test_shop_when_its_address_is_refused(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch, url: str, reason: str
) -> None:
    monkeypatch.setattr(get_settings(), "outbound_allow_http", True)
    answer = await connect(client, alice, url)
    assert (answer.status_code, answer.json()["code"]) == (422, "url_not_allowed")
    assert answer.json()["reason"] == reason


@pytest.mark.parametrize(
    "more",
    [
        {"consumer_key": "ck_short"},
        {"consumer_secret": KEY},
        {"consumer_key": None},
        {"store_url": None},
        {"shop": "a.myshopify.com"},
    ],
    ids=["short key", "swapped", "no key", "no address", "another's"],
)
async def test_shop_when_something_is_missing(
    client: AsyncClient, alice: Persona, more: dict[str, Any]
) -> None:
    answer = await connect(client, alice, **{"url": "https://shop.example.test"}, **more)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_params")
