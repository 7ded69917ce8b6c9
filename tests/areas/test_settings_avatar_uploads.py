"""Uploads of a portrait: forms that are none, files that are too large, senders that are slow or leave."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response

from app.core.config import get_settings
from app.services.files import receiving
from app.services.files.receiving import sweep, uploads_folder
from tests.support.images import picture
from tests.support.personas import Persona

URL = "/api/settings/avatar"
LIMIT = 2 * 1024 * 1024
BOUNDARY = "xXx"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After every test, whatever became of the upload, its temporary files are gone."""
    yield
    folder = uploads_folder()
    assert not folder.exists() or list(folder.iterdir()) == []


def part(data: bytes, name: str = "file", file_name: str | None = "x.png") -> bytes:
    shown = f'; filename="{file_name}"' if file_name is not None else ""
    return (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode()
        + data
        + b"\r\n"
    )


END = f"--{BOUNDARY}--\r\n".encode()


async def send(client: AsyncClient, who: Persona, body: Any, **headers: str) -> Response:
    return await client.post(URL, content=body, headers={**who.headers, **FORM, **headers})


@pytest.mark.parametrize(
    "data",
    [
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00" + b"\x00" * 40,
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        b'<?xml version="1.0"?><svg/>',
        b"<!doctype html><script>alert(1)</script>",
        b"BM" + b"\x00" * 100,
        b"%PDF-1.7\n",
        b"II*\x00" + b"\x00" * 100,
        b"RIFF\x10\x00\x00\x00WAVEfmt ",
        b"x",
    ],
    ids=["gif", "svg", "xml", "html", "bmp", "pdf", "tiff", "wav", "short"],
)
async def test_upload_when_it_is_no_picture_that_is_taken(
    client: AsyncClient, alice: Persona, data: bytes
) -> None:
    """The name and the type that are declared say nothing."""
    files = {"file": ("me.png", data, "image/png")}
    answer = await client.post(URL, files=files, headers=alice.headers)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (415, "file_type_refused")
    assert body["accepted"] == ["image/png", "image/jpeg", "image/webp"]
    assert (await client.get("/api/settings/profile", headers=alice.headers)).json()["avatar_url"] is None


async def test_upload_when_it_declares_another_type(client: AsyncClient, alice: Persona) -> None:
    files = {"file": ("page.html", picture(), "text/html")}
    assert (await client.post(URL, files=files, headers=alice.headers)).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "multipart_malformed"),
        (b"no form at all", 400, "multipart_malformed"),
        (part(picture()), 400, "multipart_malformed"),
        (part(picture())[:60], 400, "multipart_malformed"),
        (b"--xXx\r\nContent-Type: image/png\r\n\r\nx\r\n" + END, 400, "multipart_malformed"),
        (b"--xXx\r\nContent-Disposition: attachment\r\n\r\nx\r\n" + END, 400, "multipart_malformed"),
        (b"--xXx\r\nX" + b"-Y: z\r\nX" * 50 + b": y\r\n\r\nx\r\n" + END, 400, "multipart_malformed"),
        (b"--xXx\r\nX: " + b"y" * 20_000 + b"\r\n\r\nx\r\n" + END, 400, "multipart_malformed"),
        (END, 422, "file_missing"),
        (part(b"") + END, 422, "file_empty"),
        (part(picture()) + part(picture()) + END, 422, "file_count"),
        (part(b"") + part(b"") + END, 422, "file_count"),
        (part(picture(), name="picture") + END, 422, "validation_error"),
        (part(picture()) + part(b"hello", "caption", None) + END, 422, "validation_error"),
        (part(b"hello", "caption" * 500, None) + END, 422, "validation_error"),
    ],
)
async def test_upload_when_the_form_is_wrong(
    client: AsyncClient, alice: Persona, body: bytes, status: int, code: str
) -> None:
    answer = await send(client, alice, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_upload_when_a_field_is_unknown(client: AsyncClient, alice: Persona) -> None:
    answer = await send(client, alice, part(picture()) + part(b"hello", "a/b", None) + END)
    assert [(item["pointer"], item["code"]) for item in answer.json()["errors"]] == [
        ("/a~1b", "extra_forbidden")
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "image/png"},
        {"Content-Type": "multipart/mixed; boundary=xXx"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_upload_when_it_is_no_form(
    client: AsyncClient, alice: Persona, headers: dict[str, str]
) -> None:
    answer = await send(client, alice, part(picture()) + END, **headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'x' * 300}"])
async def test_upload_when_there_is_no_boundary(client: AsyncClient, alice: Persona, boundary: str) -> None:
    kind = {"Content-Type": f"multipart/form-data{boundary}"}
    answer = await send(client, alice, part(picture()) + END, **kind)
    assert (answer.status_code, answer.json()["code"]) == (400, "multipart_malformed")


@pytest.mark.parametrize("step", [1, 7, 64])
async def test_upload_when_it_arrives_in_small_pieces(client: AsyncClient, alice: Persona, step: int) -> None:
    body = part(picture(size=(32, 32))) + END

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), step):
            yield body[at : at + step]

    assert (await send(client, alice, pieces())).status_code == 200


def padded(size: int) -> bytes:
    """A picture of exactly so many bytes."""
    made = picture()
    return made + b"\x00" * (size - len(made))


async def test_upload_when_it_is_as_large_as_allowed(client: AsyncClient, alice: Persona) -> None:
    assert (await send(client, alice, part(padded(LIMIT)) + END)).status_code == 200


@pytest.mark.parametrize("is_declared", [True, False])
async def test_upload_when_it_is_one_byte_too_large(
    client: AsyncClient, alice: Persona, is_declared: bool
) -> None:
    body = part(padded(LIMIT + 1)) + END

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 65_536):
            yield body[at : at + 65_536]

    answer = await send(client, alice, body if is_declared else pieces())
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
    assert answer.json()["limit_bytes"] == LIMIT
    assert answer.headers["connection"] == "close"


async def test_upload_when_it_would_never_end(client: AsyncClient, alice: Persona) -> None:
    """It is refused while it arrives; only so much is read on that a client sees the answer."""
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        yield part(b"")[:-2]
        while sent < 500_000_000:
            sent += 65_536
            yield picture()[:1] * 65_536

    answer = await send(client, alice, pieces())
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
    assert sent < 4 * LIMIT


async def test_upload_when_its_declared_length_is_too_large(client: AsyncClient, alice: Persona) -> None:
    """It is refused before a byte is read."""
    read = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"x"

    answer = await send(client, alice, pieces(), **{"Content-Length": "104857600"})
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
    assert read == 0


async def test_upload_when_it_is_much_around_a_file(client: AsyncClient, alice: Persona) -> None:
    for body in (part(picture()) + END + b"x" * 100_000, b"x" * 100_000 + part(picture()) + END):
        answer = await send(client, alice, body)
        assert (answer.status_code, answer.json()["code"]) == (400, "multipart_malformed")


async def test_upload_when_nothing_comes_any_more(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "upload_stall_s", 0.2)

    async def pieces() -> AsyncIterator[bytes]:
        yield part(picture())[:200]
        await asyncio.sleep(600)

    async with asyncio.timeout(60):
        answer = await send(client, alice, pieces())
    assert (answer.status_code, answer.json()["code"]) == (400, "upload_stalled")
    assert answer.headers["connection"] == "close"


async def test_upload_when_it_drips(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then is not enough either."""
    monkeypatch.setattr(receiving, "SECONDS_IN_ALL", 0.4)

    async def pieces() -> AsyncIterator[bytes]:
        for byte in part(picture()):
            yield bytes([byte])
            await asyncio.sleep(0.05)

    answer = await send(client, alice, pieces())
    assert (answer.status_code, answer.json()["code"]) == (400, "upload_stalled")


async def test_upload_when_its_sender_leaves(app: FastAPI, alice: Persona) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": part(picture())[:300], "more_body": True},
        {"type": "http.disconnect"},
    ]
    answered: list[Any] = []
    seen: list[int] = []

    async def receive() -> dict[str, Any]:
        if len(messages) == 1:
            seen.append(len(list(uploads_folder().iterdir())))
        return messages.pop(0) if len(messages) > 1 else messages[0]

    async def note(message: Any) -> None:
        answered.append(message)

    headers = {**alice.headers, **FORM, "Host": "api.luneo.test"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": URL,
        "raw_path": URL.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("api.luneo.test", 80),
    }
    await app(scope, receive, note)
    assert seen[0] == 1
    assert answered[0]["status"] == 400


async def test_upload_when_the_disk_is_nearly_full(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "storage_min_free_mb", 2**40)
    answer = await send(client, alice, part(picture()) + END)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_full")
    assert answer.headers["retry-after"] == "60"


async def test_upload_when_nobody_is_signed_in(client: AsyncClient) -> None:
    """Not a byte is read for strangers."""
    read = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield part(picture()) + END

    answer = await client.post(URL, content=pieces(), headers=FORM)
    assert (answer.status_code, read) == (401, 0)


def test_sweep_when_killed_processes_left_something() -> None:
    parent = uploads_folder()
    parent.mkdir(parents=True, exist_ok=True)
    old, young = parent / "old.part", parent / "young.part"
    for folder in (old, young):
        folder.mkdir()
        (folder / "source").write_bytes(b"x")
    past = time.time() - 3700
    os.utime(old, (past, past))
    receiving._swept.clear()
    sweep(parent)
    assert (old.exists(), young.exists()) == (False, True)
    os.utime(young, (past, past))
    sweep(parent)
    assert young.exists()
    receiving._swept.clear()
    sweep(parent)
    assert not young.exists()
