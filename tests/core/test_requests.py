"""How requests are read: encodings of bodies, names that stand twice, repeated parameters."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, get_args

import pytest
from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from httpx import ASGITransport, AsyncClient, Response
from pydantic import BaseModel, Field, ValidationError

from app.core import dispatch, errors, http
from app.core.access import public
from app.core.config import get_settings
from app.core.paging import PageQuery
from app.core.requests import StrictRoute
from app.core.routes import api_routes, dependants_of
from app.schemas.base import Input, PathId, QueryInt, Text
from app.schemas.orders.query import Bound

router = APIRouter(route_class=StrictRoute, prefix="/things", dependencies=[Depends(public("a test"))])

JSON = {"Content-Type": "application/json"}
THING = {"name": "é", "inner": {"a": 1}}


class Thing(Input):
    name: Text
    inner: dict[str, Any] = Field(default_factory=dict)


class ThingQuery(PageQuery):
    q: Text | None = None
    tag: list[str] = Field(default_factory=list)


@router.post("")
async def create_thing(thing: Thing) -> Thing:
    return thing


@router.get("")
async def list_things(query: Annotated[ThingQuery, Query()]) -> dict[str, Any]:
    return query.model_dump(exclude_unset=True)


@router.get("/{thing_id}")
async def get_thing(thing_id: PathId, dry_run: bool = False) -> dict[str, Any]:
    return {"id": str(thing_id), "dry_run": dry_run}


@pytest.fixture
async def things() -> AsyncIterator[AsyncClient]:
    """A small application under the service's own layers."""
    app = FastAPI(redirect_slashes=False)
    http.install(app, get_settings())
    errors.install(app)
    app.include_router(router)
    dispatch.install(app)
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://api.luneo.test") as client:
        yield client


def told(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "x"])
async def test_body_is_415_when_it_is_compressed(things: AsyncClient, encoding: str) -> None:
    body = gzip.compress(json.dumps(THING).encode())
    for sent in (body, json.dumps(THING).encode()):
        answer = await things.post("/things", content=sent, headers={**JSON, "Content-Encoding": encoding})
        assert told(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize("charset", ["utf-16", "UTF-32", "latin-1", "us-ascii", "x", '"utf-16"', ""])
async def test_body_is_415_when_its_charset_is_another(things: AsyncClient, charset: str) -> None:
    headers = {"Content-Type": f"application/json; charset={charset}"}
    answer = await things.post("/things", content=json.dumps(THING), headers=headers)
    assert told(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Encoding": "identity"},
        {"Content-Encoding": "Identity "},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": 'application/json;charset="UTF-8"'},
        {"Content-Type": "application/json; version=1"},
    ],
    ids=str,
)
async def test_body_is_read_when_it_is_utf_8(things: AsyncClient, headers: dict[str, str]) -> None:
    for codec in ("utf-8", "utf-8-sig"):
        body = json.dumps(THING, ensure_ascii=False).encode(codec)
        answer = await things.post("/things", content=body, headers={**JSON, **headers})
        assert (answer.status_code, answer.json()) == (200, THING)


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "latin-1"])
async def test_body_is_400_when_it_is_in_another_encoding(things: AsyncClient, codec: str) -> None:
    body = json.dumps(THING, ensure_ascii=False).encode(codec)
    assert told(await things.post("/things", content=body, headers=JSON)) == (400, "malformed_json")


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "a", "name": "b"}',
        '{"name": "a", "name": "a"}',
        '{"name": "a", "inner": {"b": {"c": 1, "d": 2, "c": 3}}}',
        '{"name": "a", "inner": {"b": [{"\\u0063": 1, "c": 3}]}}',
    ],
)
async def test_body_is_400_when_a_name_stands_twice(things: AsyncClient, body: str) -> None:
    answer = await things.post("/things", content=body, headers=JSON)
    assert told(answer) == (400, "malformed_json")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=1&limit=2", "/limit"),
        ("limit=1&limit=1", "/limit"),
        ("q=a&limit=1&q=b", "/q"),
        ("count=true&count=false", "/count"),
        ("limit=1_0", "/limit"),
        ("limit=%201", "/limit"),
        ("limit=1%20", "/limit"),
        ("limit=%2B5", "/limit"),
        ("limit=+5", "/limit"),
        ("limit=5.0", "/limit"),
        ("limit=1e1", "/limit"),
        ("limit=%D9%A5", "/limit"),
        ("limit=", "/limit"),
        ("limit=" + "9" * 5000, "/limit"),
        ("page=-1", "/page"),
        ("page=0x1", "/page"),
        ("colour=1&colour=2", "/colour"),
    ],
)
async def test_parameter_is_422_when_it_is_odd_or_repeated(
    things: AsyncClient, query: str, pointer: str
) -> None:
    answer = await things.get(f"/things?{query}")
    assert told(answer) == (422, "validation_error")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_parameters_are_taken_when_they_are_plain(things: AsyncClient) -> None:
    for query, expected in {
        "": {},
        "limit=5": {"limit": 5},
        "limit=5&q=a": {"limit": 5, "q": "a"},
        "limit=005&page=2&count=true": {"limit": 5, "page": 2, "count": True},
        "tag=a": {"tag": ["a"]},
        "tag=a&limit=5&tag=b&tag=a": {"limit": 5, "tag": ["a", "b", "a"]},
    }.items():
        answer = await things.get(f"/things?{query}")
        assert (answer.status_code, answer.json()) == (200, expected), query


CANONICAL = "0192f0c1-2b3c-7d4e-8f50-61728394a5b6"


async def test_path_id_when_it_is_canonical(things: AsyncClient) -> None:
    answer = await things.get(f"/things/{CANONICAL}?dry_run=true")
    assert answer.json() == {"id": CANONICAL, "dry_run": True}
    answer = await things.get(f"/things/{CANONICAL}?dry_run=true&dry_run=false")
    assert told(answer) == (422, "validation_error")


@pytest.mark.parametrize(
    "path_id",
    [
        CANONICAL.upper(),
        CANONICAL.replace("-", ""),
        f"{{{CANONICAL}}}",
        f"urn:uuid:{CANONICAL}",
        f"{CANONICAL}%20",
        f"{CANONICAL}%0A",
        CANONICAL[:-1],
        "list",
    ],
)
async def test_path_id_is_404_when_it_is_written_otherwise(things: AsyncClient, path_id: str) -> None:
    assert told(await things.get(f"/things/{path_id}")) == (404, "not_found")


def integers(route: RouteContext) -> set[tuple[Any, str]]:
    """The integers among what a route takes in its query: their model, and their name."""
    found = set()
    for dependant in (route.dependant, *dependants_of(route)):
        for parameter in dependant.query_params:
            model = parameter.field_info.annotation
            assert not {int} & {model, *get_args(model)}, f"{route.path}: make {parameter.name} a QueryInt"
            if isinstance(model, type) and issubclass(model, BaseModel):
                for name, field in model.model_fields.items():
                    if {int, Bound, QueryInt} & {field.annotation, *get_args(field.annotation)}:
                        found.add((model, field.alias or name))
    return found


def test_every_integer_of_a_query_is_plain(application: FastAPI) -> None:
    found = set().union(*(integers(route) for route in api_routes(application)))
    assert len(found) > 10
    for model, name in found:
        with pytest.raises(ValidationError) as caught:
            model.model_validate({name: "+1"})
        assert (name,) in [fault["loc"] for fault in caught.value.errors()], (
            f"make {model.__name__}.{name} a QueryInt"
        )


def test_every_route_reads_strictly(application: FastAPI) -> None:
    routes = [context.original_route for context in iter_route_contexts(application.routes)]
    lenient = [
        route.path for route in routes if isinstance(route, APIRoute) and not isinstance(route, StrictRoute)
    ]
    assert len(routes) > 50
    assert not lenient, f"give the routers of these `route_class=StrictRoute`: {lenient}"
