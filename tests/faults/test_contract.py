"""The whole OpenAPI document against a real service: whatever is sent, the answer is a documented one."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import Installation, Shop, basket, open_shop

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "allow_header_conformance",
)
ENDS_THE_SESSION = "/api/auth/logout|/api/settings/sessions"
"""Called with success these would sign the caller out; the tests of auth call them."""

DRAWN = (("method", "GET"), ("method", "PUT"), ("path", "/api/products/import"))
"""Queries of lists are of few kinds, PUT is PATCH by another name, and imports take what POST takes: a few
cases that are drawn do for them. What else changes something gets every case that its schema asks for."""

NEVER_ENDS = "/stream$"
"""An answer that goes on for ever; the tests of streams read it."""


async def an_order(shop: Shop, product_id: str) -> str:
    answer = await shop.http.post("/api/orders", json=basket(product_id))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.fault
@pytest.mark.timeout(900)
async def test_every_answer_when_requests_are_generated_from_the_document(
    installation: Installation, tmp_path: Path
):
    async with installation.client() as http:
        shop = await open_shop(http, "fuzz@luneo.test")
        product_id = await shop.product("Bag", stock=1_000_000)
        order_id = await an_order(shop, product_id)
        # With ids that exist, and without a made-up key beside the token, requests get as far as the rules.
        (tmp_path / "schemathesis.toml").write_text(
            "[generation]\nwith-security-parameters = false\n"
            f'[parameters]\n"path.product_id" = "{product_id}"\n"path.order_id" = "{order_id}"\n'
            + "".join(
                f'[[operations]]\ninclude-method = "{method}"\nphases.fuzzing.enabled = false\n'
                for method in ("POST", "PATCH", "DELETE")
            )
            + "".join(
                f'[[operations]]\ninclude-{kind} = "{value}"\n'
                "phases.coverage.enabled = false\nphases.fuzzing.enabled = true\n"
                for kind, value in DRAWN
            )
        )
        ran = await asyncio.to_thread(
            subprocess.run,
            [
                str(Path(sys.executable).parent / "schemathesis"),
                *("--config-file", str(tmp_path / "schemathesis.toml")),
                *("run", f"{installation.url}/openapi.json", "--phases", "examples,coverage,fuzzing"),
                *("--checks", ",".join(CHECKS), "--max-examples", "3", "--seed", "1", "--no-color"),
                *("--exclude-path-regex", f"{ENDS_THE_SESSION}|{NEVER_ENDS}"),
                "--exclude-deprecated",
                # On a busy machine answers and drawings may take their time.
                *("--request-timeout", "60", "--suppress-health-check", "all"),
                *("--header", f"Authorization: {shop.headers['Authorization']}"),
            ],
            capture_output=True,
            text=True,
            timeout=880,
            check=False,
            cwd=tmp_path,
        )
    report = ran.stdout.partition(" FAILURES ")[2][:6000] or ran.stdout[-6000:]
    assert ran.returncode == 0, report + ran.stderr[-2000:]
    generated = [line for line in ran.stdout.splitlines() if "generated" in line]
    assert generated, report
    assert int(generated[-1].split()[0]) > 2000, report
