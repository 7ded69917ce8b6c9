"""Sign-in with other providers against processes of the service, over sockets and in a real browser."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from httpx import AsyncClient

from app.core.crypto import generate_key_text
from tests.support.accounts import bearer, pkce
from tests.support.browser import Browser
from tests.support.cluster import Cluster
from tests.support.oauth import approve, exchange, fragment, start
from tests.support.ports import free_port
from tests.support.provider import PlayedProvider, Reply, playing
from tests.support.service import Service

EMAIL = "camille@maison.example"


class Pair:
    """Two processes over one database, and the app on an origin of its own."""

    def __init__(self, database_url: str, app: PlayedProvider) -> None:
        self.app = app
        self.database_url = database_url
        port = free_port()
        common = {
            "DATABASE_URL": database_url,
            "SECRET_KEYS": generate_key_text(),
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "APP_URL": app.url,
            "WORKER": "external",
        }
        self.services = [Service(PORT=str(port), **common)]
        try:
            self.services.append(Service(**common))
        except AssertionError:
            self.stop()
            raise

    def elsewhere(self, address: str) -> str:
        """The same address at the second process."""
        return self.services[1].url + address.removeprefix(self.services[0].url)

    def client(self, number: int = 0) -> AsyncClient:
        return AsyncClient(base_url=self.services[number].url, timeout=60, trust_env=False)

    async def rows(self, table: str) -> int:
        connection = await asyncpg.connect(self.database_url.replace("+asyncpg", ""))
        try:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608 - a name of ours
        finally:
            await connection.close()

    def stop(self) -> None:
        for service in self.services:
            service.stop()


@pytest.fixture(scope="module")
async def pair(cluster: Cluster, worker_name: str) -> AsyncIterator[Pair]:
    name = f"luneo_{worker_name}_oauth"
    url = await cluster.clone(name)
    with playing() as app:
        landing = "<!doctype html><title>app</title><p>Here is the app.</p>"
        app.replies["/done"] = Reply(landing, headers={"Content-Type": "text/html"})
        running = Pair(url, app)
        try:
            yield running
        finally:
            running.stop()
    await cluster.drop(name)


class Hidden(HTMLParser):
    """The hidden fields of a page's last form."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.action = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.fields, self.action = {}, given["action"]
        if tag == "input" and given.get("type") == "hidden":
            self.fields[given["name"]] = given["value"]


@pytest.mark.parametrize("provider", ["google", "github"])
async def test_sign_in_when_every_step_reaches_another_process(pair: Pair, provider: str) -> None:
    email = f"{provider}@maison.example"
    async with pair.client(0) as first, pair.client(1) as second:
        trip = await start(second, provider, redirect_to="/done")
        page = await first.get(trip.authorize_url)
        assert page.status_code == 200
        form = Hidden()
        form.feed(page.text)
        query = {**form.fields, "name": "Camille", "email": email, "verified": "true", "decision": "approve"}
        back = (await first.get(form.action, params=query)).headers["location"]
        answer = await second.get(pair.elsewhere(back))
        assert answer.headers["location"].startswith(f"{pair.app.url}/done#auth_code=")
        opened = await exchange(first, fragment(answer)["auth_code"], trip.verifier)
        assert opened.status_code == 200, opened.text
        me = await second.get("/api/auth/me", headers=bearer(opened.json()))
        assert me.json()["user"]["email"] == email


async def test_callback_when_both_processes_get_it_ten_times(pair: Pair) -> None:
    async with pair.client(0) as first, pair.client(1) as second:
        before = await pair.rows("one_time_tokens")
        back = await approve(first, await start(first, "github"), "twenty@maison.example")
        requests = [
            *(first.get(back) for _ in range(10)),
            *(second.get(pair.elsewhere(back)) for _ in range(10)),
        ]
        answers = await asyncio.gather(*requests)
        assert Counter(answer.status_code for answer in answers) == {303: 1, 400: 19}
        assert await pair.rows("one_time_tokens") == before + 1


async def test_provider_when_it_is_slow_or_down(pair: Pair) -> None:
    """The service answers other people meanwhile, and no 500 to this one."""
    async with pair.client(0) as client:
        slow = asyncio.create_task(client.get(await approve(client, await start(client), behaves="slow")))
        await asyncio.sleep(0.2)
        assert (await client.get("/api/auth/providers")).status_code == 200
        for behaves in ("down", "nonsense"):
            answer = await client.get(await approve(client, await start(client), behaves=behaves))
            assert fragment(answer) == {"error": "provider_unavailable"}
        assert fragment(await slow) == {"error": "provider_unavailable"}


def begin_in_app(pair: Pair, provider: str) -> tuple[str, str]:
    """What the app does first: the address that the browser opens, and the verifier that it keeps."""
    verifier, challenge = pkce()
    query = f"code_challenge={challenge}&code_challenge_method=S256&redirect_to=/done"
    return f"{pair.services[0].url}/api/auth/oauth/{provider}/start?{query}", verifier


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("provider", ["google", "github"])
async def test_browser_when_somebody_approves(pair: Pair, tmp_path: Path, provider: str) -> None:
    address, verifier = begin_in_app(pair, provider)
    with Browser(tmp_path) as browser:
        browser.open(address)
        assert urlsplit(browser.address).path == f"/sandbox/idp/{provider}/authorize"
        browser.type("#other input[name=email]", f"browser-{provider}@maison.example")
        browser.click("#approve")
        browser.wait_until("location.pathname === '/done' && document.readyState === 'complete'")
        landed, _, rest = browser.address.partition("#")
        assert landed == f"{pair.app.url}/done"
        assert rest.startswith("auth_code=luneo_ac_")
        assert browser.run("document.body.innerText") == "Here is the app."
        assert browser.run("document.cookie") == ""
    async with pair.client() as client:
        opened = await exchange(client, rest.removeprefix("auth_code="), verifier)
        assert opened.json()["user"]["email"] == f"browser-{provider}@maison.example"
    # The provider's code and our state were never shown to the app.
    asked = " ".join(path for _, path, _, _ in pair.app.asked)
    assert "code" not in asked


@pytest.mark.needs("chromium")
async def test_browser_when_a_listed_person_approves_or_somebody_denies(pair: Pair, tmp_path: Path) -> None:
    with Browser(tmp_path) as browser:
        browser.open(begin_in_app(pair, "google")[0])
        browser.click("form.person button")
        browser.wait_until("location.pathname === '/done'")
        assert "#auth_code=" in browser.address
        browser.open(begin_in_app(pair, "google")[0])
        browser.click("#deny")
        browser.wait_until("location.pathname === '/done'")
        assert browser.address.endswith("/done#error=access_denied")


async def test_production_when_nothing_is_configured(cluster: Cluster, worker_name: str) -> None:
    """No sandbox, and a clear answer."""
    name = f"luneo_{worker_name}_oauth_production"
    url = await cluster.clone(name)
    service = Service(
        ENVIRONMENT="production",
        DATABASE_URL=url,
        SECRET_KEYS=generate_key_text(),
        PUBLIC_URL="https://api.luneo.example",
        APP_URL="https://app.luneo.example",
        WORKER="external",
    )
    try:
        async with AsyncClient(base_url=service.url, timeout=60, trust_env=False) as client:
            for path in ("/sandbox/idp", "/sandbox/idp/google/authorize", "/sandbox/idp/google/keys"):
                assert (await client.get(path)).status_code == 404
            assert (await client.post("/sandbox/idp/google/token", data={"code": "x"})).status_code == 404
            query = {"code_challenge": "A" * 43, "code_challenge_method": "S256"}
            for provider in ("google", "github"):
                answer = await client.get(f"/api/auth/oauth/{provider}/start", params=query)
                assert (answer.status_code, answer.json()["code"]) == (503, "provider_not_configured")
            assert (await client.get("/api/auth/providers")).json()["oauth"] == []
    finally:
        service.stop()
        await cluster.drop(name)
