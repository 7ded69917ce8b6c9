"""The stores of objects: what goes in comes out, whole or not at all."""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from httpx import AsyncClient

from app.clients.storage import CHUNK, ObjectMissing, ObjectStore, StorageUnavailable
from app.clients.storage.directory import DirectoryStore
from app.clients.storage.opening import StorageNotConfigured, open_store
from app.clients.storage.s3 import S3Store
from app.core.config import Settings
from app.core.ids import uuid7
from tests.support.s3_server import BUCKET, S3Server

KEY = "avatars/0198c0de-0000-7000-8000-000000000001/ab/picture.webp"
BIG = 20 * 1024 * 1024 + 17
"""More than two parts."""


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """Both stores, one after the other; every test has a prefix of its own in the bucket."""
    if request.param == "directory":
        return DirectoryStore(tmp_path / "objects")
    return bucket(request.getfixturevalue("s3_server"))


def bucket(server: S3Server, **changes: str) -> ObjectStore:
    """A store in a new corner of the server's bucket."""
    secrets = {
        "s3_access_key_id": server.access_key_id,
        "s3_secret_access_key": server.secret_access_key,
        **changes,
    }
    prefix = f"s3://{BUCKET}/{uuid7()}"
    return open_store(settings(storage_url=prefix, s3_endpoint=server.endpoint, **secrets))


async def pieces(size: int, *, fails: bool = False) -> AsyncIterator[bytes]:
    """So many bytes, in odd pieces; with `fails` an error instead of the end."""
    left = size
    while left:
        piece = min(left, 99_991)
        left -= piece
        yield b"\x07" * piece
    if fails:
        raise LookupError("the rows are gone")


async def everything(store: ObjectStore, key: str, start: int = 0, end: int = 2**40) -> bytes:
    return b"".join([piece async for piece in store.read(key, start, end)])


async def keys(store: ObjectStore, prefix: str) -> dict[str, int]:
    return {item.key: item.size async for item in store.list(prefix)}


async def test_object_when_it_is_a_local_file(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"hello world")
    await store.put(KEY, source, "image/webp")
    assert await store.stat(KEY) == 11
    assert await everything(store, KEY) == b"hello world"
    assert await everything(store, KEY, 6, 9) == b"wor"
    await store.put(KEY, source, "image/webp")
    assert await keys(store, "avatars") == {KEY: 11}


async def test_object_when_it_is_made_piece_by_piece(store: ObjectStore) -> None:
    await store.put("exports/x/one.csv", pieces(BIG), "text/csv")
    assert await store.stat("exports/x/one.csv") == BIG
    read = [len(piece) async for piece in store.read("exports/x/one.csv", 5, BIG)]
    assert sum(read) == BIG - 5
    assert max(read) <= CHUNK


@pytest.mark.parametrize("size", [0, 10, BIG])
async def test_object_when_its_maker_fails(store: ObjectStore, tmp_path: Path, size: int) -> None:
    with pytest.raises(LookupError, match="the rows are gone"):
        await store.put("exports/x/two.csv", pieces(size, fails=True), "text/csv")
    assert await store.stat("exports/x/two.csv") is None
    assert await keys(store, "exports") == {}
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_object_when_it_is_copied_and_deleted(store: ObjectStore) -> None:
    await store.put("a/x/one.txt", pieces(10), "text/plain")
    await store.copy("a/x/one.txt", "b/y/two.txt")
    await store.delete("a/x/one.txt")
    await store.delete("a/x/one.txt")
    assert await keys(store, "a") == {}
    assert await keys(store, "b") == {"b/y/two.txt": 10}


async def test_object_when_there_is_none(store: ObjectStore) -> None:
    assert await store.stat("a/x/none.txt") is None
    with pytest.raises(ObjectMissing):
        await everything(store, "a/x/none.txt")
    with pytest.raises(ObjectMissing):
        await store.copy("a/x/none.txt", "b/y/two.txt")


async def test_objects_when_one_key_is_written_at_once(store: ObjectStore) -> None:
    await asyncio.gather(*(store.put(KEY, pieces(200_000), "image/webp") for _ in range(8)))
    assert await everything(store, KEY) == b"\x07" * 200_000


async def test_directory_when_it_cannot_be_written(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    store = DirectoryStore(root)
    (root / "avatars").write_text("in the way")
    with pytest.raises(StorageUnavailable):
        await store.put(KEY, pieces(10), "image/webp")


WRITE_FOR_EVER = """
import asyncio, os, sys
from pathlib import Path
from app.clients.storage.directory import DirectoryStore

async def pieces():
    for _ in range(200):
        yield b"x" * 100_000
    os.kill(os.getpid(), 9)

asyncio.run(DirectoryStore(Path(sys.argv[1])).put("a/x/one.bin", pieces(), "text/plain"))
"""


async def test_directory_when_its_writer_is_killed(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITE_FOR_EVER, str(root)), cwd=Path(__file__).resolve().parents[2]
    )
    assert await process.wait() == -9
    store = DirectoryStore(root)
    assert await keys(store, "") == {}
    (draft,) = [path for path in root.rglob("*") if path.is_file()]
    await store.tidy(datetime.now(UTC) - timedelta(hours=1))
    assert draft.exists()
    await store.tidy(datetime.now(UTC) + timedelta(hours=1))
    assert not draft.exists()


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]  # each is a field's value


def test_store_when_nothing_is_set(tmp_path: Path) -> None:
    store = open_store(settings(data_dir=tmp_path))
    assert isinstance(store, DirectoryStore)
    assert (tmp_path / "storage").is_dir()
    assert store.presign_get(KEY, 300, file_name="a.webp", media_type="image/webp") is None
    assert open_store(settings(data_dir=tmp_path)) is store


def test_store_when_a_folder_is_named(tmp_path: Path) -> None:
    assert isinstance(open_store(settings(storage_url=f"file://{tmp_path}/my%20files")), DirectoryStore)
    assert (tmp_path / "my files").is_dir()


def test_store_when_a_bucket_is_named() -> None:
    secrets = {"s3_access_key_id": "AKIA", "s3_secret_access_key": "secret"}
    store = open_store(settings(storage_url="s3://shop/prod", s3_region="eu-west-3", **secrets))
    assert isinstance(store, S3Store)
    address = store.presign_get(KEY, 300, file_name="a.webp", media_type="image/webp")
    assert address is not None
    assert address.startswith(f"https://shop.s3.eu-west-3.amazonaws.com/prod/{KEY}?X-Amz-Algorithm=")
    other = open_store(settings(storage_url="s3://shop", s3_endpoint="http://127.0.0.1:9", **secrets))
    address = other.presign_get(KEY, 300, file_name="a.webp", media_type="image/webp")
    assert address is not None
    assert address.startswith(f"http://127.0.0.1:9/shop/{KEY}?")


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("s3://", "STORAGE_URL"),
        ("s3://shop", "S3_ACCESS_KEY_ID"),
        ("file:///", "STORAGE_URL"),
        ("file://host/folder", "STORAGE_URL"),
        ("ftp://host/folder", "STORAGE_URL"),
        ("/folder", "STORAGE_URL"),
    ],
)
def test_store_when_the_settings_are_wrong(url: str, wrong: str) -> None:
    with pytest.raises(StorageNotConfigured, match=wrong):
        open_store(settings(storage_url=url))


async def test_bucket_when_the_secret_is_wrong(s3_server: S3Server) -> None:
    store = bucket(s3_server, s3_secret_access_key="wrong")
    with pytest.raises(StorageUnavailable):
        await store.put(KEY, pieces(10), "image/webp")
    with pytest.raises(StorageUnavailable):
        await store.stat(KEY)
    with pytest.raises(StorageUnavailable):
        await keys(store, "avatars")


async def test_bucket_when_an_object_is_downloaded(s3_server: S3Server) -> None:
    store = bucket(s3_server)
    await store.put(KEY, pieces(10), "image/webp")
    address = store.presign_get(KEY, 300, file_name="été.csv", media_type="text/csv")
    assert address is not None
    with s3_server.unsigned():
        async with AsyncClient() as http:
            answer = await http.get(address)
    assert answer.content == b"\x07" * 10
    assert answer.headers["content-type"] == "text/csv"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"_t_.csv\"; filename*=UTF-8''%C3%A9t%C3%A9.csv"
    )


async def test_bucket_when_nobody_answers() -> None:
    store = open_store(
        settings(
            storage_url="s3://shop",
            s3_endpoint="http://127.0.0.1:9",
            s3_access_key_id="AKIA",
            s3_secret_access_key="secret",
        )
    )
    with pytest.raises(StorageUnavailable) as raised:
        await store.stat(KEY)
    assert raised.value.headers == {"Retry-After": "5"}
    with pytest.raises(StorageUnavailable):
        await store.put(KEY, pieces(10), "image/webp")
