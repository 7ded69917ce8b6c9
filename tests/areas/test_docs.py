"""The pages for API users: whole without any other server, under a strict policy, seen in a real browser."""

import re
from pathlib import Path

import pytest
from httpx import AsyncClient

from tests.support.chromium import load
from tests.support.cluster import Cluster
from tests.support.service import serving


async def test_landing_page_leads_to_the_documentation(client: AsyncClient) -> None:
    answer = await client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


async def test_page_allows_itself_nothing_but_this_server(client: AsyncClient) -> None:
    answer = await client.get("/docs")
    assert answer.status_code == 200
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"https?://|<style|\son\w+=|<script>", answer.text)


async def test_everything_that_the_page_names_is_served(client: AsyncClient) -> None:
    page = (await client.get("/docs")).text
    named = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert len(named) >= 5
    for path in named:
        answer = await client.get(path)
        assert (answer.status_code, len(answer.content) > 20) == (200, True), path
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/openapi.json", "/docs/openapi.json", "/docs", "/docs/swagger-ui-bundle.js"]
)
async def test_what_a_browser_has_is_not_sent_again(client: AsyncClient, path: str) -> None:
    first = await client.get(path)
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = await client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_documents_are_of_both_versions(client: AsyncClient) -> None:
    assert (await client.get("/openapi.json")).json()["openapi"] == "3.1.0"
    assert (await client.get("/docs/openapi.json")).json()["openapi"] == "3.0.3"


@pytest.mark.parametrize(
    "path",
    [
        "/docs/index.html",
        "/docs/__init__.py",
        "/docs/..%2f..%2fmain.py",
        "/docs/swagger-ui.css.map",
        "/docs/",
    ],
)
async def test_other_files_are_not_served(client: AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


@pytest.mark.needs("chromium")
async def test_page_shows_the_operations_in_a_browser(
    cluster: Cluster, worker_name: str, tmp_path: Path
) -> None:
    name = f"luneo_{worker_name}_docs"
    url = await cluster.clone(name)
    try:
        with serving(DATABASE_URL=url, DATA_DIR=str(tmp_path), WORKER="external") as service:
            page = load(f"{service.url}/docs", tmp_path)
            operations = sum(len(item) for item in service.get("/openapi.json")["paths"].values())
    finally:
        await cluster.drop(name)
    # The console would tell of anything that the policy has blocked and of anything that was not found.
    assert page.console == []
    assert page.html.count('class="opblock opblock-') == operations
    assert operations > 20
    for text in ("/api/products", "Create a product", "Who calls", "Authorize"):
        assert text in page.html
