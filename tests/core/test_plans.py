"""Plans answer as the framework does: the same requests to the same routes, with plans and without."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Form, Header, Path, Query, Request, Response
from httpx import ASGITransport, AsyncClient
from pydantic import BaseModel, Field

from app.core import dispatch, errors, http
from app.core.errors import Conflict
from app.core.json_answers import JsonAnswer
from app.core.plans import plan_of
from app.core.requests import StrictRoute
from app.core.routes import api_routes
from app.schemas.base import Input


class Sent(Input):
    name: str = Field(min_length=1, max_length=5)
    count: int = Field(1, ge=0, le=9)


class Asked(BaseModel):
    limit: int = Field(20, ge=1, le=100)
    status: list[str] = Field(default_factory=list)


class Told(BaseModel):
    name: str
    steps: list[str]
    hidden: str = Field("x", exclude=True)


async def notes(request: Request) -> AsyncIterator[list[str]]:
    """Ends with the handler, and says in a header how it ended."""
    made: list[str] = ["begun"]
    request.state.notes = made
    try:
        yield made
    except BaseException as error:
        made.append(type(error).__name__)
        raise
    else:
        made.append("kept")


Notes = Annotated[list[str], Depends(notes, scope="function")]


async def guard(request: Request, x_key: Annotated[str, Header(max_length=3)] = "") -> str:
    if x_key == "no":
        raise errors.Forbidden("permission_denied", "No.")
    request.scope.setdefault("steps", []).append("guard")
    return x_key


Guard = Annotated[str, Depends(guard)]


class Service:
    """Needs the guard, which is asked once however many need it."""

    def __init__(self, notes: Notes, key: Guard, request: Request) -> None:
        self.notes, self.key, self.request = notes, key, request

    async def tell(self, name: str) -> Told:
        if name == "taken":
            raise Conflict("taken", "Another name.")
        return Told(name=name, steps=[*self.notes, *self.request.scope["steps"], self.key])


Services = Annotated[Service, Depends()]


def example_router() -> APIRouter:
    """Every kind of parameter and of answer that our routes have."""
    router = APIRouter(route_class=StrictRoute)

    @router.get("/query")
    async def ask(_: Guard, service: Services, query: Annotated[Asked, Query()]) -> Told:
        return await service.tell(f"{query.limit} {query.status}")

    @router.get("/things/{thing_id}/{name}")
    async def get_thing(
        _: Guard,
        service: Services,
        thing_id: UUID,
        name: Annotated[str, Path(max_length=5)],
        response: Response,
    ) -> Told:
        response.headers["ETag"] = f'"{thing_id}"'
        if name == "odd":
            response.status_code = 299
        return await service.tell(name)

    @router.get("/ready")
    async def get_ready(_: Guard, service: Services) -> Told:
        return JsonAnswer('{"ready":1}', headers={"X-Made": "by hand"})  # type: ignore[return-value]

    @router.get("/wrong")
    async def get_wrong(_: Guard) -> Told:
        return {"name": 1}  # type: ignore[return-value]

    @router.post("/things", status_code=201, dependencies=[Depends(guard)])
    async def create_thing(
        service: Services, body: Sent, response: Response, if_match: Annotated[str | None, Header()] = None
    ) -> Told:
        response.headers["Location"] = "/things/1"
        return await service.tell(f"{body.name} {body.count} {if_match}")

    @router.put("/maybe")
    async def maybe(service: Services, body: Sent | None = None) -> Told:
        return await service.tell(str(body))

    @router.patch("/two")
    async def two(one: Annotated[Sent, Body()], other: Annotated[Sent, Body()]) -> Told:
        return Told(name=one.name + other.name, steps=[])

    return router


def app_of(*, has_plans: bool) -> FastAPI:
    app = FastAPI()
    errors.install(app)
    if has_plans:
        app.add_middleware(dispatch.ReadLayer)
    app.add_middleware(http.ErrorLayer)
    app.add_middleware(http.RequestLayer, is_production=False)
    app.include_router(example_router())
    if has_plans:
        dispatch.install(app)
    app.state.hub = None
    return app


ID = "01a1f8b9-bedb-7fa8-9ba2-1ad9a4907df9"
JSON = {"Content-Type": "application/json"}

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/query", {}),
    ("GET", "/query?limit=5&status=a&status=b", {}),
    ("GET", "/query?limit=5", {"headers": {"X-Key": "abc"}}),
    ("GET", "/query?limit=0&status=", {}),
    ("GET", "/query?limit=5&limit=6", {}),
    ("GET", "/query?limit=x", {"headers": {"X-Key": "too long"}}),
    ("GET", "/query", {"headers": {"X-Key": "no"}}),
    ("GET", f"/things/{ID}/a", {}),
    ("GET", f"/things/{ID}/odd", {}),
    ("GET", f"/things/{ID}/taken", {}),
    ("GET", f"/things/{ID}/much-too-long", {}),
    ("GET", "/things/none/a", {}),
    ("GET", "/things/none/a", {"headers": {"X-Key": "no"}}),
    ("GET", f"/things/{ID}/%C3%A9", {}),
    ("GET", "/ready", {}),
    ("GET", "/wrong", {}),
    ("DELETE", "/ready", {}),
    ("GET", "/nowhere", {}),
    ("POST", "/things", {"json": {"name": "a"}}),
    ("POST", "/things", {"json": {"name": "a"}, "headers": {"If-Match": "1"}}),
    ("POST", "/things", {"json": {"name": "a"}, "headers": {"X-Key": "no"}}),
    ("POST", "/things", {"json": {"name": "", "more": 1}, "headers": {"X-Key": "too long"}}),
    ("POST", "/things", {"json": {"name": "taken"}}),
    ("POST", "/things", {"json": [1]}),
    ("POST", "/things", {"json": None}),
    ("POST", "/things", {}),
    ("POST", "/things", {"content": b"{", "headers": JSON}),
    ("POST", "/things", {"content": b"{", "headers": {**JSON, "X-Key": "no"}}),
    ("POST", "/things", {"content": b'{"name": "\xff"}', "headers": JSON}),
    ("POST", "/things", {"content": b'{"name": "a", "name": "b"}', "headers": JSON}),
    ("POST", "/things", {"content": b"[" * 100_000, "headers": JSON}),
    ("POST", "/things", {"content": b'{"count": ' + b"9" * 5000 + b"}", "headers": JSON}),
    ("POST", "/things", {"content": b'{"name": "a"}', "headers": {"Content-Type": "text/plain"}}),
    ("POST", "/things", {"content": b'{"name": "a"}', "headers": {"Content-Type": "application/x+json"}}),
    ("POST", "/things", {"content": b'{"name": "a"}', "headers": {**JSON, "Content-Encoding": "gzip"}}),
    (
        "POST",
        "/things",
        {"content": b'{"name": "a"}', "headers": {"Content-Type": "application/json; charset=x"}},
    ),
    ("POST", "/things", {"content": b'{"name": "a"}'}),
    ("PUT", "/maybe", {}),
    ("PUT", "/maybe", {"json": {"name": "a"}}),
    ("PUT", "/maybe", {"json": {"name": 1}}),
    ("PATCH", "/two", {"json": {"one": {"name": "a"}, "other": {"name": "b"}}}),
    ("PATCH", "/two", {"json": {"one": {"name": "a"}}}),
    ("PATCH", "/two", {"json": [1]}),
]


def comparable(answer: Any) -> Any:
    """What an answer says, without what is new in each; the order of members counts.

    The framework repeats a fault for each place that needs the same dependency; a plan tells it once.
    """
    dropped = {"x-request-id", "traceparent"}
    text = answer.text.replace(answer.headers["x-request-id"], "id")
    document = json.loads(text, object_pairs_hook=list) if text else None
    faults = dict(document).get("errors") if isinstance(document, list) else None
    if faults:
        dropped.add("content-length")
        faults[:] = [fault for place, fault in enumerate(faults) if fault not in faults[:place]]
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in dropped)
    return answer.status_code, headers, document


@pytest.mark.parametrize(("method", "path", "sent"), REQUESTS)
async def test_plan_when_the_framework_answers_too(method: str, path: str, sent: dict[str, Any]) -> None:
    answers = []
    for has_plans in (True, False):
        transport = ASGITransport(app=app_of(has_plans=has_plans), raise_app_exceptions=False)
        async with AsyncClient(transport=transport, base_url="http://api.luneo.test") as client:
            answers.append(comparable(await client.request(method, path, **sent)))
    assert answers[0] == answers[1]


async def test_dependency_when_its_handler_ends() -> None:
    """What ends with the handler has ended before the answer begins, well or by an error."""
    seen: list[tuple[int, list[str]]] = []
    app = app_of(has_plans=True)

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                seen.append((message["status"], list(scope["state"]["notes"])))
            await send(message)

        await app(scope, receive, watched)

    async with AsyncClient(transport=ASGITransport(app=watching), base_url="http://api.luneo.test") as client:
        await client.get("/query")
        await client.get(f"/things/{ID}/taken")
    assert seen == [(200, ["begun", "kept"]), (409, ["begun", "Conflict"])]


def test_plan_when_a_route_needs_more() -> None:
    """A form, another way of answering or what outlives the handler goes the ordinary way."""
    router = APIRouter(route_class=StrictRoute)

    async def lasting() -> AsyncIterator[int]:
        yield 1

    async def by_form(name: Annotated[str, Form()]) -> str:
        return name

    async def by_lasting(_: Annotated[int, Depends(lasting)]) -> str:
        return ""

    async def by_cookie(request: Request) -> Response:
        return Response(request.cookies.get("a", ""))

    router.add_api_route("/form", by_form, methods=["POST"])
    router.add_api_route("/lasting", by_lasting)
    router.add_api_route("/response", by_cookie)
    router.add_api_route("/aliases", by_cookie, response_model=Told, response_model_exclude_none=True)
    app = FastAPI()
    app.include_router(router)
    assert [plan_of(route) for route in api_routes(app)] == [None] * 4


def test_plans_when_the_service_s_routes_are_counted(application: FastAPI) -> None:
    """Nearly every route with a JSON answer has one; a new kind of dependency should not lose them all."""
    routes = [route for route in api_routes(application) if route.response_field is not None]
    planned = [route for route in routes if plan_of(route) is not None]
    assert len(planned) > 0.9 * len(routes) > 50
