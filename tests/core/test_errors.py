"""How errors are told: validation, bodies that cannot be read, and a database that is away or refuses."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
import pytest
from fastapi import APIRouter, Depends, FastAPI, Query
from httpx import ASGITransport, AsyncClient, Response
from pydantic import Field
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core import dispatch, errors, http
from app.core.access import public
from app.core.config import get_settings
from app.core.database import Database, create_engine
from app.core.errors import Conflict, Unavailable, translate_constraint
from app.schemas.base import Input, StrictInt
from app.schemas.base import Query as QueryModel

router = APIRouter(prefix="/things", dependencies=[Depends(public("a test"))])


class Cat(Input):
    kind: Literal["cat"]


class Dog(Input):
    kind: Literal["dog"]


class Thing(Input):
    name: Annotated[str, Field(max_length=20)]
    count: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 0
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    tags: Annotated[list[Annotated[str, Field(max_length=5)]], Field(default_factory=list)]
    twin: UUID | None = None


class ThingQuery(QueryModel):
    limit: Annotated[int, Field(ge=1, le=100)] = 20


@router.post("", status_code=201)
async def create_thing(thing: Thing) -> Thing:
    return thing


@router.get("")
async def list_things(query: Annotated[ThingQuery, Query()]) -> int:
    return query.limit


@pytest.fixture
async def things() -> AsyncIterator[AsyncClient]:
    app = FastAPI(redirect_slashes=False)
    http.install(app, get_settings())
    errors.install(app)
    app.include_router(router)
    dispatch.install(app)
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://api.luneo.test") as client:
        yield client


JSON = {"Content-Type": "application/json"}


def told(answer: Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) >= {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"}
    assert body["type"].endswith(body["code"])
    return answer.status_code, body["code"]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/name", "required"),
        ({"name": "a", "colour": "red"}, "/colour", "extra_forbidden"),
        ({"name": "x" * 21}, "/name", "string_too_long"),
        ({"name": 7}, "/name", "string_type"),
        ({"name": "a", "count": True}, "/count", "invalid"),
        ({"name": "a", "count": "7"}, "/count", "invalid"),
        ({"name": "a", "count": 7.0}, "/count", "invalid"),
        ({"name": "a", "count": 10**30}, "/count", "less_than_equal"),
        ({"name": "a", "tags": ["ok", "much too long"]}, "/tags/1", "string_too_long"),
        ({"name": "a", "pet": {"kind": "walrus-7731"}}, "/pet", "union_tag_invalid"),
        ({"name": "a", "twin": "§"}, "/twin", "uuid_parsing"),
        ({"name": "nul \x00"}, "/name", "invalid"),
        ({"name": "a", "tags": ["b", "\x00"]}, "/tags/1", "invalid"),
        ({"name": "a", "x\x00": 1}, "", "invalid"),
    ],
)
async def test_fault_is_named_with_its_place_and_without_the_value(
    things: AsyncClient, body: dict[str, Any], pointer: str, code: str
) -> None:
    answer = await things.post("/things", json=body)
    assert told(answer) == (422, "validation_error")
    assert [(item["pointer"], item["code"]) for item in answer.json()["errors"]] == [(pointer, code)]
    assert "walrus" not in answer.text
    assert "§" not in answer.text
    assert not answer.json()["errors"][0]["detail"].startswith("Value error")


async def test_pointer_is_escaped_and_cut_when_a_name_is_odd(things: AsyncClient) -> None:
    answer = await things.post("/things", json={"name": "a", "a/b~c": 1, "y" * 5000: 1})
    assert [item["pointer"] for item in answer.json()["errors"]] == ["/a~1b~0c", "/" + "y" * 100]


async def test_at_most_a_hundred_faults_are_told(things: AsyncClient) -> None:
    answer = await things.post("/things", json={f"extra{n}": n for n in range(500)})
    assert len(answer.json()["errors"]) == 100


@pytest.mark.parametrize(
    "body", [b"[]", b'"text"', b"7", b"null", b"true", b"[[[[1]]]]", b'{"name": "a"}' + b" " * 9 + b"\n"]
)
async def test_json_that_is_no_object_is_422(things: AsyncClient, body: bytes) -> None:
    answer = await things.post("/things", content=body, headers=JSON)
    assert answer.status_code == 201 if b"name" in body else told(answer) == (422, "validation_error")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'name': 'a'}",
        b'{"name": "a"} x',
        b"\xff\xfe\x00",
        b'{"name": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b'{"count": ' + b"9" * 10_000 + b"}",
    ],
)
async def test_body_that_cannot_be_decoded_is_400(things: AsyncClient, body: bytes) -> None:
    answer = await things.post("/things", content=body, headers=JSON)
    status, code = told(answer)
    assert (status, code in {"malformed_json", "malformed_request"}) == (400, True)


@pytest.mark.parametrize(
    "body",
    [
        rb'{"name": "\ud800"}',
        b'{"name": "\xed\xa0\x80"}',
        rb'{"\udfff": 1, "name": "a"}',
        b'{"name": "a", "count": NaN}',
    ],
)
async def test_json_that_python_reads_and_nobody_else_is_422(things: AsyncClient, body: bytes) -> None:
    assert told(await things.post("/things", content=body, headers=JSON)) == (422, "validation_error")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "image/png",
        "json",
        "",
        "é/ü",
    ],
)
async def test_other_content_types_are_415(things: AsyncClient, content_type: str) -> None:
    headers = {b"Content-Type": content_type.encode("latin-1")}
    answer = await things.post("/things", content=b'{"name": "a"}', headers=headers)
    assert told(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", ["application/json", "APPLICATION/JSON; charset=utf-8", "application/ld+json"]
)
async def test_json_content_types_are_read(things: AsyncClient, content_type: str) -> None:
    answer = await things.post("/things", content=b'{"name": "a"}', headers={"Content-Type": content_type})
    assert answer.status_code == 201


async def test_missing_body_is_422_and_not_about_its_type(things: AsyncClient) -> None:
    answer = await things.post("/things")
    assert told(answer) == (422, "validation_error")
    assert answer.json()["errors"] == [{"pointer": "", "code": "required", "detail": "Field required"}]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=%00",
        "limit=%ff%fe",
        "limit=" + "9" * 5000,
        "%00=1",
        "page=1",
        "=",
        "limit=1&limit=x",
    ],
)
async def test_query_that_is_not_valid_is_422(things: AsyncClient, query: str) -> None:
    assert told(await things.get(f"/things?{query}")) == (422, "validation_error")


def test_every_503_says_when_to_come_back() -> None:
    assert Unavailable("provider_not_configured", "Ask the operator.").headers == {"Retry-After": "60"}
    assert Unavailable("busy", "Repeat.", headers={"Retry-After": "2"}).headers == {"Retry-After": "2"}


async def test_constraint_is_translated_by_its_name(database: Database) -> None:
    translate_constraint("errors_test_name_key", Conflict("name_taken", "Choose another name."))
    async with database.system() as session:
        await session.execute(
            text("CREATE TEMP TABLE errors_test (name text CONSTRAINT errors_test_name_key UNIQUE)")
        )
        await session.execute(text("INSERT INTO errors_test VALUES ('a')"))
        with pytest.raises(Exception, match="errors_test_name_key") as caught:
            await session.execute(text("INSERT INTO errors_test VALUES ('a')"))
    told_as = errors.to_app_error(caught.value)
    assert (told_as.status, told_as.code) == (409, "name_taken")


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [
        ("SELECT 1/0", 422, "validation_error"),
        ("SELECT 99999999999999999999::int8", 422, "validation_error"),
        ("SELECT pg_sleep(600)", 503, "busy"),
        ("SELECT * FROM there_is_no_such_table", 500, "internal_error"),
    ],
)
async def test_database_error_is_told_as_what_it_means(
    database: Database, statement: str, status: int, code: str
) -> None:
    async with database.system() as session:
        if "sleep" in statement:
            await session.execute(text("SET LOCAL statement_timeout = '50ms'"))
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which class is what the next lines are about
            await session.execute(text(statement))
    told_as = errors.to_app_error(caught.value)
    assert (told_as.status, told_as.code) == (status, code)
    assert told_as.headers.get("Retry-After") == ("1" if status == 503 else None)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://x@/luneo?host=/nowhere/at/all&port=5432",
        "postgresql://x:y@127.0.0.1:1/luneo",
    ],
)
async def test_database_that_is_away_is_503(url: str) -> None:
    database = Database(create_engine(url))
    try:
        async with database.system() as session:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - which class is what the next lines are about
                await session.execute(text("SELECT 1"))
    finally:
        await database.dispose()
    told_as = errors.to_app_error(caught.value)
    assert (told_as.status, told_as.code) == (503, "database_unavailable")
    assert int(told_as.headers["Retry-After"]) > 0


@pytest.mark.commits
async def test_connection_that_is_cut_is_503_and_the_next_request_works(database: Database) -> None:
    async with database.system() as victim, database.system() as killer:
        pid = await victim.scalar(text("SELECT pg_backend_pid()"))
        await killer.execute(text("SELECT pg_terminate_backend(:pid, 60000)"), {"pid": pid})
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which class is what the next lines are about
            await victim.execute(text("SELECT 1"))
        await victim.invalidate()
    told_as = errors.to_app_error(caught.value)
    assert (told_as.status, told_as.code) == (503, "database_unavailable")
    async with database.system() as session:
        assert await session.scalar(text("SELECT 1")) == 1


def test_disorder_of_the_driver_is_503() -> None:
    """It is what the driver makes of a server that dies while a connection is idle."""
    disorder = asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
    told_as = errors.to_app_error(DBAPIError("SELECT 1", None, disorder))
    assert (told_as.status, told_as.code) == (503, "database_unavailable")
