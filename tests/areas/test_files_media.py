"""Public files: who may read which, parts of them, and what keeps them from being a page."""

import logging

import pytest
from httpx import AsyncClient

from app.clients.storage.opening import object_store
from app.core.config import get_settings
from app.core.database import SystemSession
from app.core.ids import uuid7
from tests.factories.files import make_file
from tests.support.personas import Persona

DATA = bytes(range(256)) * 4000
"""More than one piece of the store."""

SIZE = len(DATA)


async def url_of(db: SystemSession, owner: Persona, **values: object) -> str:
    file = await make_file(db, owner=owner, data=DATA, **values)  # type: ignore[arg-type]  # columns
    return f"/api/public/media/{file.id}.webp"


async def test_file_when_it_is_public(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    answer = await client.get(await url_of(db, alice))
    assert (answer.status_code, answer.content == DATA) == (200, True)
    headers = {name: answer.headers.get(name) for name in SHOWN}
    assert headers == SHOWN
    assert answer.headers["content-length"] == str(SIZE)
    assert "set-cookie" not in answer.headers


SHOWN = {
    "content-type": "image/webp",
    "content-disposition": 'attachment; filename="file.webp"',
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "cross-origin",
    "cache-control": "public, max-age=86400, immutable",
    "accept-ranges": "bytes",
    "etag": f'"{"0" * 64}"',
}


@pytest.mark.parametrize("bucket", ["exports", "attachments"])
async def test_file_when_it_is_not_public(
    client: AsyncClient, db: SystemSession, alice: Persona, bucket: str
) -> None:
    """Not even its owner reads it here."""
    url = await url_of(db, alice, bucket=bucket)
    for headers in ({}, alice.headers):
        answer = await client.get(url, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "name",
    [
        "{id}.png",
        "{id}",
        "{id}.",
        "{upper}.webp",
        "{hex}.webp",
        "{other}.webp",
        "{id}.webp%00",
        "{id}.webp%2F..",
        "..%2F..%2Fetc%2Fpasswd",
        "x" * 200,
        "%FF.webp",
    ],
)
async def test_file_when_the_name_is_another(
    client: AsyncClient, db: SystemSession, alice: Persona, name: str
) -> None:
    file = await make_file(db, owner=alice)
    values = {
        "id": str(file.id),
        "upper": str(file.id).upper(),
        "hex": file.id.hex,
        "other": str(uuid7()),
    }
    answer = await client.get(f"/api/public/media/{name.format(**values)}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, SIZE),
        ("bytes=100-299", 100, 300),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        ("bytes=-10", SIZE - 10, SIZE),
        (f"bytes=-{SIZE * 9}", 0, SIZE),
        (f"bytes=10-{SIZE * 9}", 10, SIZE),
        ("BYTES = 5-6", 5, 7),
        ("bytes=200000-900000", 200_000, 900_001),
    ],
)
async def test_file_when_a_part_is_asked_for(
    client: AsyncClient, db: SystemSession, alice: Persona, asked: str, start: int, end: int
) -> None:
    answer = await client.get(await url_of(db, alice), headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == DATA[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "lines=0-1", "bytes=-", "bytes=5-4", "bytes=x", "bytes=1-2-3", "", "bytes"]
)
async def test_file_when_the_range_is_none_that_is_served(
    client: AsyncClient, db: SystemSession, alice: Persona, asked: str
) -> None:
    answer = await client.get(await url_of(db, alice), headers={"Range": asked})
    assert (answer.status_code, len(answer.content)) == (200, SIZE)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=999999999-", "bytes=-0"])
async def test_file_when_it_ends_before_the_range(
    client: AsyncClient, db: SystemSession, alice: Persona, asked: str
) -> None:
    answer = await client.get(await url_of(db, alice), headers={"Range": asked})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


TAG = SHOWN["etag"]


@pytest.mark.parametrize("tags", [TAG, f"W/{TAG}", f'"other", {TAG}', "*"])
async def test_file_when_the_caller_has_it(
    client: AsyncClient, db: SystemSession, alice: Persona, tags: str
) -> None:
    url = await url_of(db, alice)
    for method in ("GET", "HEAD"):
        answer = await client.request(method, url, headers={"If-None-Match": tags, "Range": "bytes=0-1"})
        assert (answer.status_code, answer.content) == (304, b"")
        assert (answer.headers["etag"], answer.headers["cache-control"]) == (TAG, SHOWN["cache-control"])


async def test_file_when_the_caller_has_another(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    answer = await client.get(await url_of(db, alice), headers={"If-None-Match": '"other"'})
    assert answer.status_code == 200


@pytest.mark.parametrize(("condition", "status"), [(TAG, 206), ('"other"', 200), (f"W/{TAG}", 200)])
async def test_file_when_the_rest_of_it_is_asked_for(
    client: AsyncClient, db: SystemSession, alice: Persona, condition: str, status: int
) -> None:
    headers = {"Range": "bytes=9-", "If-Range": condition}
    assert (await client.get(await url_of(db, alice), headers=headers)).status_code == status


async def test_file_when_only_its_headers_are_asked_for(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    url = await url_of(db, alice)
    answer = await client.head(url, headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert {name: answer.headers.get(name) for name in SHOWN} == SHOWN
    assert answer.headers["content-length"] == str(SIZE)
    assert (await client.head(f"/api/public/media/{uuid7()}.webp")).status_code == 404
    refused = await client.post(url)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_file_when_its_object_is_gone(
    client: AsyncClient, db: SystemSession, alice: Persona, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.disable(logging.NOTSET)
    file = await make_file(db, owner=alice)
    await object_store().delete(file.storage_key)
    answer = await client.get(f"/api/public/media/{file.id}.webp")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert file.storage_key not in answer.text
    assert file.storage_key in capsys.readouterr().out


async def test_files_when_they_are_read_too_often(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "limit_media", "2/1m")
    monkeypatch.setattr(get_settings(), "limit_factor", 1)
    answers = [await client.get(f"/api/public/media/{uuid7()}.webp") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
