"""The portrait: what is taken, what becomes of it, and whose it is."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from app.clients.storage.opening import object_store
from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.models.files import StorageDeletion, StoredFile
from app.models.settings import Profile
from app.services.files.collecting import collect_garbage
from app.services.files.receiving import uploads_folder
from tests.support.accounts import events
from tests.support.images import decoded, picture
from tests.support.personas import Persona
from tests.support.s3_server import BUCKET, S3Server

URL = "/api/settings/avatar"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After every test, whatever became of the upload, its temporary files are gone."""
    yield
    folder = uploads_folder()
    assert not folder.exists() or list(folder.iterdir()) == []


async def send(
    client: AsyncClient, who: Persona, data: bytes, *, method: str = "POST", **headers: str
) -> Response:
    files = {"file": ("holiday.png", data, "image/png")}
    return await client.request(method, URL, files=files, headers={**who.headers, **headers})


async def files_of(db: SystemSession, who: Persona) -> list[StoredFile]:
    statement = select(StoredFile).where(StoredFile.user_id == who.user_id).order_by(StoredFile.id)
    return list((await db.execute(statement.execution_options(populate_existing=True))).scalars())


async def avatar_id(db: SystemSession, who: Persona) -> UUID | None:
    return (await db.get_one(Profile, who.user_id, populate_existing=True)).avatar_file_id


def path_of(url: str) -> str:
    return url.removeprefix("http://api.luneo.test")


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_avatar_when_it_is_sent(
    client: AsyncClient, db: SystemSession, alice: Persona, method: str
) -> None:
    answer = await send(client, alice, picture(), method=method)
    assert answer.status_code == 200, answer.text
    (file,) = await files_of(db, alice)
    url = f"http://api.luneo.test/api/public/media/{file.id}.webp"
    assert answer.json() == {"avatar_url": url, "width": 512, "height": 512}
    assert await avatar_id(db, alice) == file.id
    assert (file.bucket, file.media_type, file.file_name) == ("avatars", "image/webp", "avatar.webp")
    assert (file.organization_id, file.uploaded_by, file.is_public) == (None, alice.user_id, True)
    assert (file.width, file.height) == (512, 512)
    assert file.storage_key == f"avatars/{alice.user_id}/{file.sha256[:2]}/{file.sha256}.webp"
    assert await object_store().stat(file.storage_key) == file.size_bytes
    assert await db.scalar(select(func.count()).select_from(StorageDeletion)) == 0
    assert await events(db, "user.avatar_updated") == [
        {"user_id": str(alice.user_id), "avatar_id": str(file.id)}
    ]
    shown = await client.get(path_of(url))
    image = decoded(shown.content)
    assert (image.format, image.size) == ("WEBP", (512, 512))


async def test_avatar_when_others_are_shown_it(client: AsyncClient, alice: Persona) -> None:
    url = (await send(client, alice, picture())).json()["avatar_url"]
    profile = (await client.get("/api/settings/profile", headers=alice.headers)).json()
    me = (await client.get("/api/auth/me", headers=alice.headers)).json()
    assert profile["avatar_url"] == me["profile"]["avatar_url"] == url
    assert profile["version"] == 1


async def test_avatar_when_it_is_replaced(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    first = (await send(client, alice, picture(size=(100, 100)))).json()["avatar_url"]
    (old,) = await files_of(db, alice)
    second = (await send(client, alice, picture(size=(300, 900)))).json()["avatar_url"]
    (new,) = await files_of(db, alice)
    assert new.id != old.id
    assert await avatar_id(db, alice) == new.id
    assert (await client.get(path_of(first))).status_code == 404
    assert (await client.get(path_of(second))).status_code == 200
    deletions = (await db.execute(select(StorageDeletion.storage_key))).scalars().all()
    assert deletions == [old.storage_key]


async def test_avatar_when_the_same_picture_comes_again(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """A new row over the same object, which must not be deleted with the old row."""
    await send(client, alice, picture())
    (old,) = await files_of(db, alice)
    answer = await send(client, alice, picture())
    (new,) = await files_of(db, alice)
    assert (new.id != old.id, new.storage_key) == (True, old.storage_key)
    assert (await client.get(path_of(answer.json()["avatar_url"]))).status_code == 200


async def test_avatar_when_two_people_send_the_same(
    client: AsyncClient, db: SystemSession, alice: Persona, charlie: Persona
) -> None:
    for who in (alice, charlie):
        assert (await send(client, who, picture())).status_code == 200
    (hers,), (his,) = await files_of(db, alice), await files_of(db, charlie)
    assert hers.sha256 == his.sha256
    assert hers.storage_key != his.storage_key


async def test_avatar_when_it_is_removed(client: AsyncClient, db: SystemSession, alice: Persona) -> None:
    url = (await send(client, alice, picture())).json()["avatar_url"]
    (file,) = await files_of(db, alice)
    for _ in range(2):
        assert (await client.delete(URL, headers=alice.headers)).status_code == 204
    assert await files_of(db, alice) == []
    assert await avatar_id(db, alice) is None
    assert (await client.get(path_of(url))).status_code == 404
    assert await events(db, "user.avatar_removed") == [
        {"user_id": str(alice.user_id), "avatar_id": str(file.id)}
    ]


async def test_avatar_when_somebody_else_removes_theirs(
    client: AsyncClient, db: SystemSession, alice: Persona, bob: Persona, charlie: Persona
) -> None:
    await send(client, alice, picture())
    for other in (bob, charlie):
        assert (await client.delete(URL, headers=other.headers)).status_code == 204
        assert (await send(client, other, picture())).status_code == 200
    assert len(await files_of(db, alice)) == 1


async def test_avatar_when_the_profile_is_sent_an_address(client: AsyncClient, alice: Persona) -> None:
    """Nothing is ever fetched from an address."""
    answer = await client.patch(
        "/api/settings/profile", json={"avatar_url": "http://169.254.169.254/"}, headers=alice.headers
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "field_not_writable")
    form = await client.post(URL, data={"file": "http://169.254.169.254/"}, headers=alice.headers)
    assert (form.status_code, form.json()["code"]) == (415, "unsupported_media_type")


async def test_avatar_when_an_upload_is_repeated(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    """The boundary of the form is another one each time; the file counts."""
    first = await send(client, alice, picture(), **{"Idempotency-Key": "one"})
    again = await send(client, alice, picture(), **{"Idempotency-Key": "one"})
    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    assert first.status_code == again.status_code == 200
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    assert len(await files_of(db, alice)) == 1
    other = await send(client, alice, picture(size=(9, 9)), **{"Idempotency-Key": "one"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await events(db, "user.avatar_updated")) == 1


async def test_avatar_when_a_refused_upload_is_repeated(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    bad = await send(client, alice, picture()[:200], **{"Idempotency-Key": "two"})
    assert bad.json()["code"] == "image_damaged"
    good = await send(client, alice, picture(), **{"Idempotency-Key": "two"})
    assert good.status_code == 200
    assert len(await files_of(db, alice)) == 1


async def test_avatar_when_it_is_changed_too_often(client: AsyncClient, alice: Persona) -> None:
    answers = [await client.delete(URL, headers=alice.headers) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [204] * 10 + [429]
    late = await send(client, alice, picture())
    assert (late.status_code, late.json()["code"]) == (429, "rate_limited")


async def test_avatar_when_the_store_is_a_bucket(
    client: AsyncClient,
    db: SystemSession,
    alice: Persona,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = {
        "storage_url": f"s3://{BUCKET}/{alice.user_id}",
        "s3_endpoint": s3_server.endpoint,
        "s3_access_key_id": s3_server.access_key_id,
        "s3_secret_access_key": s3_server.secret_access_key,
    }
    for name, value in bucket.items():
        monkeypatch.setattr(get_settings(), name, value)
    answer = await send(client, alice, picture())
    assert answer.status_code == 200, answer.text
    (file,) = await files_of(db, alice)
    assert await object_store().stat(file.storage_key) == file.size_bytes
    shown = await client.get(path_of(answer.json()["avatar_url"]))
    assert hashlib.sha256(shown.content).hexdigest() == file.sha256
    part = await client.get(path_of(answer.json()["avatar_url"]), headers={"Range": "bytes=-20"})
    assert (part.status_code, part.content) == (206, shown.content[-20:])


async def test_avatar_when_the_store_is_away(
    client: AsyncClient, db: SystemSession, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: dict[str, Any] = {
        "storage_url": "s3://shop",
        "s3_endpoint": "http://127.0.0.1:9",
        "s3_access_key_id": "AKIA",
        "s3_secret_access_key": "secret",
    }
    for name, value in changed.items():
        monkeypatch.setattr(get_settings(), name, value)
    answer = await send(client, alice, picture())
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert await files_of(db, alice) == []
    assert await db.scalar(select(func.count()).select_from(StorageDeletion)) == 1


@pytest.mark.commits
async def test_avatar_when_many_are_sent_at_once(
    client: AsyncClient,
    database: Database,
    db: SystemSession,
    alice: Persona,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of them stays; what the others left is collected, and what is shown is never missing."""
    monkeypatch.setattr(get_settings(), "limit_avatar", "100/1h")
    sent = [picture(size=(64 + 8 * (number % 10), 64)) for number in range(20)]
    answers = await asyncio.gather(*(send(client, alice, data) for data in sent))
    assert [answer.status_code for answer in answers] == [200] * 20
    (file,) = await files_of(db, alice)
    assert await avatar_id(db, alice) == file.id
    (shown,) = [answer for answer in answers if str(file.id) in answer.json()["avatar_url"]]
    with clock.travel(timedelta(hours=25)):
        await collect_garbage(database)
    mine = object_store().list(f"avatars/{alice.user_id}")
    assert [item.key async for item in mine] == [file.storage_key]
    assert (await client.get(path_of(shown.json()["avatar_url"]))).status_code == 200
    assert len(await events(db, "user.avatar_updated")) == 20


@pytest.mark.commits
async def test_avatar_when_one_upload_is_sent_twice_at_once(
    client: AsyncClient, db: SystemSession, alice: Persona
) -> None:
    key = {"Idempotency-Key": "both"}
    answers = await asyncio.gather(*(send(client, alice, picture(), **key) for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.text for answer in answers if answer.status_code == 200}) == 1
    assert len(await events(db, "user.avatar_updated")) == 1


async def test_document_when_it_is_read(client: AsyncClient) -> None:
    document = json.loads((await client.get("/openapi.json")).content)
    form = document["paths"][URL]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["properties"]["file"]["format"] == "binary"
    assert {"400", "413", "415", "422", "503"} <= set(document["paths"][URL]["post"]["responses"])
