"""The index of routes finds what the framework's router finds, and nothing waits for a thread."""

import threading
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import RouteContext
from httpx import ASGITransport, AsyncClient
from starlette.routing import Match

from app.core import dispatch, errors
from app.core.requests import StrictRoute
from app.core.routes import api_routes, dependants_of


def example_of(route: RouteContext) -> str:
    """An address that the route answers, with ids that are no literal of any other."""
    return str(route.path_format).replace("{", "~").replace("}", "~")


def test_index_when_every_route_is_asked_for(application: FastAPI) -> None:
    """The routes that it holds are found at their own addresses: none hides another."""
    index = application.state.route_index
    seen = 0
    for route in api_routes(application):
        if any(kind.regex != "[^/]+" for kind in route.param_convertors.values()):
            continue
        found = index.find(example_of(route))
        assert found is not None, route.path_format
        by_method, values = found
        for method in route.methods or ():
            assert by_method[method].endpoint is route.endpoint, (method, route.path_format)
            seen += 1
        ids = [part.strip("~") for part in values]
        assert ids == list(route.param_convertors)
    assert seen > 60


def test_index_when_the_framework_is_asked_too(application: FastAPI) -> None:
    """Its own router chooses the same route for every address, one after the other."""
    routes = list(api_routes(application))
    index = application.state.route_index
    for route in routes:
        path = example_of(route)
        for method in route.methods or ():
            scope = {"type": "http", "method": method, "path": path, "root_path": ""}
            first = next(
                other for other in routes if other.path_regex.match(path) and method in (other.methods or ())
            )
            match, _ = first.original_route.matches(scope)
            assert match is Match.FULL
            found = index.find(path)
            if found is not None and method in found[0]:
                assert found[0][method].route is first.original_route, (method, path)


def test_index_when_an_address_is_odd(application: FastAPI) -> None:
    index = application.state.route_index
    for path in (
        "",
        "/",
        "//",
        "/api",
        "/api/",
        "/api/orders/",
        "/api//orders",
        "api/orders",
        "/api/orders\n",
    ):
        found = index.find(path)
        assert found is None or path == "/", path
    assert index.find("/api/orders/a/b/c/d") is None


class _Service:
    """Keeps the thread in which it was made."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()


def _plain(request: Request) -> int:
    assert request.method in ("GET", "POST")
    return threading.get_ident()


async def test_dependencies_when_they_are_plain() -> None:
    """Classes and functions are called where the request is answered, on either way to a route."""
    router = APIRouter()

    async def threads(
        service: Annotated[_Service, Depends()], plain: Annotated[int, Depends(_plain)]
    ) -> list[int]:
        return [service.thread, plain, threading.get_ident()]

    router.add_api_route("/ordinary", threads)
    router.add_api_route("/planned", threads, route_class_override=StrictRoute)
    app = FastAPI()
    app.include_router(router)
    app.add_middleware(dispatch.ReadLayer)
    dispatch.install(app)
    assert app.state.route_index.find("/ordinary")[0]["GET"].plan is None
    assert app.state.route_index.find("/planned")[0]["GET"].plan is not None
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://api.luneo.test") as http:
        for path in ("/ordinary", "/planned"):
            assert set((await http.get(path)).json()) == {threading.get_ident()}


def test_dependencies_when_every_route_is_looked_at(application: FastAPI) -> None:
    """What is left of classes would be called in a thread."""
    calls = [dependant.call for route in api_routes(application) for dependant in dependants_of(route)]
    assert len(calls) > 200
    assert not [call for call in calls if isinstance(call, type)]


async def test_mounted_application_when_its_prefix_is_taken_off() -> None:
    """Behind a mount the framework's router is asked, which knows what to take off the path."""
    router = APIRouter(route_class=StrictRoute)

    @router.get("/thing/{name}")
    async def get_thing(name: str) -> str:
        return name

    inner, outer = FastAPI(), FastAPI()
    inner.include_router(router)
    inner.add_middleware(dispatch.ReadLayer)
    errors.install(inner)
    dispatch.install(inner)
    outer.mount("/inner", inner)
    async with AsyncClient(transport=ASGITransport(app=outer), base_url="http://api.luneo.test") as http:
        assert (await http.get("/inner/thing/a")).json() == "a"
        assert (await http.get("/thing/a")).status_code == 404
