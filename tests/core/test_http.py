"""What happens around every request: ids, headers, CORS, bodies, methods, metrics and log lines."""

import asyncio
import json
import logging as standard_logging
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import pytest
import structlog
from fastapi import APIRouter, Depends, FastAPI, Request
from httpx import ASGITransport, AsyncClient, Response
from prometheus_client import REGISTRY
from pydantic import Field

from app.core import dispatch, errors, http, logging
from app.core.access import public
from app.core.config import Settings, get_settings
from app.core.errors import Conflict
from app.core.http import body_up_to
from app.schemas.base import Input
from tests.support.personas import Persona

ORIGIN = "https://app.example.test"

router = APIRouter(prefix="/things", dependencies=[Depends(public("a test"))])


class Thing(Input):
    name: Annotated[str, Field(max_length=2_000_000)]


@router.post("", status_code=201)
async def create_thing(thing: Thing) -> dict[str, int]:
    return {"length": len(thing.name)}


@router.get("")
async def list_things() -> list[str]:
    return []


@router.get("/broken")
async def get_broken_thing() -> None:
    raise RuntimeError("luneo_test_abcdefgh must not be told")


@router.get("/refused")
async def get_refused_thing() -> None:
    raise Conflict("thing_refused", "It is refused.", version=7)


@router.post("/upload", dependencies=[Depends(body_up_to(3_000_000))])
async def upload_thing(request: Request) -> dict[str, int]:
    return {"length": sum([len(part) async for part in request.stream()])}


@router.post("/list")
async def search_things() -> list[str]:
    return []


@router.get("/{thing_id}")
async def get_thing(thing_id: int) -> dict[str, int]:
    return {"id": thing_id}


@router.delete("/{thing_id}", status_code=204)
async def delete_thing(thing_id: int) -> None:
    """Nothing is kept, so nothing is deleted."""


def settings(**values: object) -> Settings:
    return get_settings().model_copy(update={"cors_origins": [ORIGIN], **values})


def application(**values: object) -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    http.install(app, settings(**values))
    errors.install(app)
    app.include_router(router)
    dispatch.install(app)
    return app


@pytest.fixture
async def things() -> AsyncIterator[AsyncClient]:
    """A small application under the service's own layers."""
    transport = ASGITransport(app=application())
    async with AsyncClient(transport=transport, base_url="http://api.luneo.test") as client:
        yield client


def problem(answer: Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, body["code"]


async def test_request_id_is_the_callers_when_it_is_plain(things: AsyncClient) -> None:
    answer = await things.get("/things", headers={"X-Request-Id": "order-7.b_c"})
    assert answer.headers["x-request-id"] == "order-7.b_c"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "é", "<script>", 'a"b'])
async def test_request_id_is_a_new_one_when_the_callers_is_odd(things: AsyncClient, sent: str) -> None:
    answer = await things.get("/things", headers={b"X-Request-Id": sent.encode("latin-1")})
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["x-request-id"] != sent


async def test_trace_goes_on_when_the_caller_names_one(things: AsyncClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = await things.get("/things", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    version, trace_id, span, flags = answer.headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", trace, "01")
    assert span != "00f067aa0ba902b7"
    assert answer.headers["x-request-id"] == trace


@pytest.mark.parametrize(
    "sent",
    [
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "x",
    ],
)
async def test_trace_is_a_new_one_when_the_callers_is_not_valid(things: AsyncClient, sent: str) -> None:
    answer = await things.get("/things", headers={"traceparent": sent})
    assert answer.headers["traceparent"].split("-")[1] == answer.headers["x-request-id"]
    assert answer.headers["traceparent"].split("-")[1] not in sent


async def test_every_answer_says_nosniff_and_no_referrer(things: AsyncClient) -> None:
    for path in ("/things", "/things/broken", "/things/refused", "/nowhere"):
        answer = await things.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["referrer-policy"] == "no-referrer", path
        assert "strict-transport-security" not in answer.headers, path


async def test_hsts_is_sent_in_production() -> None:
    transport = ASGITransport(app=application(environment="production"))
    async with AsyncClient(transport=transport, base_url="https://api.luneo.test") as client:
        answer = await client.get("/things")
    assert answer.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
async def test_answers_are_not_stored_when_a_credential_is_sent(things: AsyncClient, name: str) -> None:
    assert (await things.get("/things", headers={name: "x"})).headers["cache-control"] == "no-store"
    assert "cache-control" not in (await things.get("/things")).headers


async def test_preflight_lets_listed_origins_in_and_no_other(things: AsyncClient) -> None:
    asked = {
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "idempotency-key,if-match",
    }
    answer = await things.options("/things", headers={"Origin": ORIGIN, **asked})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers
    for stranger in ("https://evil.test", f"{ORIGIN}.evil.test", "null", "http://app.example.test"):
        refused = await things.options("/things", headers={"Origin": stranger, **asked})
        assert "access-control-allow-origin" not in refused.headers, stranger


@pytest.mark.parametrize(("path", "status"), [("/things", 200), ("/things/broken", 500), ("/nowhere", 404)])
async def test_browsers_may_read_every_answer_from_a_listed_origin(
    things: AsyncClient, path: str, status: int
) -> None:
    answer = await things.get(path, headers={"Origin": ORIGIN})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    exposed = answer.headers["access-control-expose-headers"]
    assert {"ETag", "Location", "Retry-After", "X-Request-Id"} <= set(exposed.split(", "))


async def test_defect_is_told_without_its_reason(things: AsyncClient) -> None:
    answer = await things.get("/things/broken")
    assert problem(answer) == (500, "internal_error")
    assert "luneo_test" not in answer.text


async def test_refusal_carries_its_extensions(things: AsyncClient) -> None:
    answer = await things.get("/things/refused")
    assert problem(answer) == (409, "thing_refused")
    assert answer.json()["version"] == 7
    assert answer.headers["cache-control"] == "no-store"


async def test_body_of_a_mebibyte_is_taken_and_a_byte_more_refused(things: AsyncClient) -> None:
    frame = len(json.dumps({"name": ""}))
    fits = json.dumps({"name": "x" * (1024 * 1024 - frame)})
    kind = {"Content-Type": "application/json"}
    assert (await things.post("/things", content=fits, headers=kind)).status_code == 201
    answer = await things.post("/things", content=fits + " ", headers=kind)
    assert problem(answer) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"


async def test_body_is_refused_while_it_is_read_when_no_length_is_declared(things: AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b"x" * 65536

    answer = await things.post("/things", content=endless(), headers={"Content-Type": "application/json"})
    assert problem(answer) == (413, "body_too_large")
    assert sent <= 17 * 1024 * 1024 + 3 * 65536


async def test_rest_of_a_body_that_is_too_large_is_read_so_that_the_refusal_arrives(
    things: AsyncClient,
) -> None:
    sent = 0

    async def two_mebibytes() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(32):
            sent += 65536
            yield b"x" * 65536

    for length in ({}, {"Content-Length": str(32 * 65536)}):
        sent = 0
        headers = {"Content-Type": "application/json"} | length
        answer = await things.post("/things", content=two_mebibytes(), headers=headers)
        assert problem(answer) == (413, "body_too_large")
        assert sent == 32 * 65536


async def test_rest_of_a_body_that_is_too_large_is_not_awaited_for_long(
    things: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "FORGET_SECONDS", 0.1)

    async def stalling() -> AsyncIterator[bytes]:
        yield b"x" * (1024 * 1024 + 1)
        await asyncio.sleep(30)
        yield b"x"

    async with asyncio.timeout(25):
        answer = await things.post(
            "/things", content=stalling(), headers={"Content-Type": "application/json"}
        )
    assert problem(answer) == (413, "body_too_large")


async def test_declared_length_is_judged_before_a_byte_is_asked_for(things: AsyncClient) -> None:
    """Who waits for leave to send is refused it, and nothing more is expected of them."""

    async def never() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    headers = {"Content-Type": "application/json", "Content-Length": "99999999", "Expect": "100-continue"}
    assert problem(await things.post("/things", content=never(), headers=headers)) == (413, "body_too_large")


async def test_upload_takes_what_its_route_says_and_no_more(things: AsyncClient) -> None:
    taken = await things.post("/things/upload", content=b"x" * 3_000_000)
    assert (taken.status_code, taken.json()) == (200, {"length": 3_000_000})
    assert problem(await things.post("/things/upload", content=b"x" * 3_000_001)) == (413, "body_too_large")


@pytest.mark.parametrize(
    "method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PURGE", "x"]
)
async def test_unknown_method_is_405_with_every_known_one(things: AsyncClient, method: str) -> None:
    answer = await things.request(method, "/things")
    assert problem(answer) == (405, "method_not_allowed") if method != "HEAD" else answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/things/7", "DELETE, GET"),
        ("GET", "/things/list", "POST"),
        ("DELETE", "/things/list", "POST"),
        ("PATCH", "/things/list", "POST"),
        ("OPTIONS", "/things/list", "POST"),
    ],
)
async def test_405_is_about_the_address_itself_when_an_id_could_stand_there(
    things: AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await things.request(method, path)
    assert (answer.status_code, answer.headers.get("allow")) == (405, allow)


@pytest.mark.parametrize(
    "path", ["/things/not-a-number", "/things/%00", "/things/%ff", "/things/" + "9" * 5000]
)
async def test_path_id_that_is_none_is_404(things: AsyncClient, path: str) -> None:
    assert problem(await things.get(path)) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/things/", "//things", "/things/1/", "/%2e%2e/etc/passwd", "/" + "x" * 60_000]
)
async def test_unknown_address_is_404_and_never_a_redirect(things: AsyncClient, path: str) -> None:
    answer = await things.get(path)
    assert problem(answer) == (404, "not_found")
    assert len(answer.content) < 5000


@pytest.mark.parametrize("host", ["[::1", "a b", "evil.test/", "", "x" * 3000, "\x7f"])
async def test_garbage_in_the_host_header_changes_nothing(things: AsyncClient, host: str) -> None:
    assert problem(await things.get("/nowhere", headers={"Host": host})) == (404, "not_found")


def requests_counted(method: str, route: str, status_class: str) -> float:
    labels = {"method": method, "route": route, "status_class": status_class}
    return REGISTRY.get_sample_value("luneo_http_requests_total", labels) or 0.0


async def test_requests_are_counted_by_template_and_never_by_path(things: AsyncClient) -> None:
    before = requests_counted("GET", "/things/{thing_id}", "2xx"), requests_counted("GET", "unmatched", "4xx")
    await things.get("/things/7")
    await things.get("/things/8")
    await things.get("/secret-of-somebody")
    after = requests_counted("GET", "/things/{thing_id}", "2xx"), requests_counted("GET", "unmatched", "4xx")
    assert (after[0] - before[0], after[1] - before[1]) == (2, 1)
    routes = {sample.labels.get("route") for metric in REGISTRY.collect() for sample in metric.samples}
    assert "/secret-of-somebody" not in routes
    assert "/things/7" not in routes


async def test_made_up_methods_share_one_label(things: AsyncClient) -> None:
    before = requests_counted("OTHER", "/things", "4xx")
    await things.request("BREW", "/things")
    await things.request("WHEN", "/things")
    assert requests_counted("OTHER", "/things", "4xx") - before == 2


@pytest.fixture
def log_as(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Puts the suite's logging back after a test that configures it."""
    root = standard_logging.getLogger()
    handlers = root.handlers[:]
    loggers = [root, *(standard_logging.getLogger(name) for name in root.manager.loggerDict)]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    yield
    root.handlers = handlers
    for logger, level, is_disabled in before:
        logger.setLevel(level)
        logger.disabled = is_disabled
    structlog.reset_defaults()


async def test_access_line_names_route_and_ids_but_no_credential(
    log_as: None, capsys: pytest.CaptureFixture[str], client: AsyncClient, alice: Persona
) -> None:
    logging.configure(settings(log_level="INFO", log_format="json"))
    answer = await client.get("/api/products?search=secret-word", headers=alice.headers)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    line = next(line for line in lines if line["event"] == "request")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/api/products", answer.status_code)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["organization_id"] == str(alice.organization_id)
    assert line["actor_id"] == str(alice.user_id)
    assert line["duration_ms"] > 0
    assert "secret-word" not in json.dumps(lines)
    assert alice.token not in json.dumps(lines)


async def test_access_line_is_left_out_when_the_level_is_higher(
    log_as: None, capsys: pytest.CaptureFixture[str], things: AsyncClient
) -> None:
    logging.configure(settings(log_level="WARNING"))
    await things.get("/things")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", ["json", "console"])
async def test_defect_is_logged_with_its_traceback_and_without_secrets(
    log_as: None, capsys: pytest.CaptureFixture[str], things: AsyncClient, form: str
) -> None:
    logging.configure(settings(log_level="ERROR", log_format=form))
    answer = await things.get("/things/broken")
    written = capsys.readouterr().err
    assert "get_broken_thing" in written
    assert answer.headers["x-request-id"] in written
    assert "RuntimeError: [redacted] must not be told" in written
