"""Which store the settings ask for."""

from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.clients.storage import ObjectStore
from app.clients.storage.directory import DirectoryStore
from app.clients.storage.s3 import Place, S3Store
from app.clients.storage.signing import Credentials
from app.core.config import Settings, get_settings


class StorageNotConfigured(ValueError):
    """The settings name no store that can be opened; the text says which setting is wrong."""


def object_store() -> ObjectStore:
    """The store of this process."""
    return open_store(get_settings())


def open_store(settings: Settings) -> ObjectStore:
    """The store that these settings name; StorageNotConfigured."""
    url = urlsplit(settings.storage_url or "")
    if settings.storage_url is None:
        return _directory(settings.data_dir / "storage")
    if url.scheme == "file" and not url.netloc and url.path not in ("", "/"):
        return _directory(Path(unquote(url.path)))
    if url.scheme != "s3" or not url.netloc:
        raise StorageNotConfigured("STORAGE_URL is `s3://bucket`, `s3://bucket/prefix` or `file:///folder`.")
    if settings.s3_access_key_id is None or settings.s3_secret_access_key is None:
        raise StorageNotConfigured("`s3://` needs S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY.")
    prefix = url.path.strip("/")
    is_path_style = settings.s3_path_style
    return _bucket(
        Place(
            url.netloc,
            f"{prefix}/" if prefix else "",
            settings.s3_endpoint,
            settings.s3_endpoint is not None if is_path_style is None else is_path_style,
        ),
        Credentials(
            settings.s3_access_key_id,
            settings.s3_secret_access_key,
            settings.s3_session_token,
            settings.s3_region,
        ),
    )


@lru_cache(maxsize=8)
def _directory(root: Path) -> DirectoryStore:
    return DirectoryStore(root)


@lru_cache(maxsize=8)
def _bucket(place: Place, credentials: Credentials) -> S3Store:
    # One client of a process keeps its connections open.
    return S3Store(place, credentials)
