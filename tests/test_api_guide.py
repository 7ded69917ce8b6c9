"""The guide for API users names addresses, codes and members that exist, and shows an error as it is."""

import json
import re
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from httpx import AsyncClient

from tests.support.personas import Persona

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "guides" / "api.md").read_text()


def test_addresses_when_looked_up(application: FastAPI) -> None:
    paths: dict[str, Any] = application.openapi()["paths"]
    named = set(re.findall(r"\b(GET|POST|PUT|PATCH|DELETE) (/api/[a-z/-]+)", GUIDE))
    assert len(named) >= 8
    assert [f"{method} {path}" for method, path in named if method.lower() not in paths.get(path, {})] == []


def test_codes_and_members_when_looked_up(application: FastAPI) -> None:
    document = json.dumps(application.openapi())
    named = set(re.findall(r"`-?([a-z]+(?:_[a-z]+)+)`", GUIDE))
    assert {"version_mismatch", "cursor_invalid", "step_up_required"} <= named
    assert sorted(name for name in named if not re.search(rf"\b{name}\b", document)) == []


async def test_error_when_it_is_provoked(client: AsyncClient, alice: Persona) -> None:
    shown = json.loads(re.findall(r"^```json\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)[0])
    answer = await client.post("/api/products", headers=alice.headers, json={"name": "Bag"})
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found.pop("request_id") == answer.headers["x-request-id"]
    del shown["request_id"]
    assert found == shown
