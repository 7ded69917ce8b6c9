"""The store on S3, or on what speaks its protocol."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.store import S3Store as Bucket

from app.clients.storage.objects import Objects
from app.clients.storage.signing import Credentials, presign
from app.core import clock
from app.core.content_disposition import attachment

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config  # They exist for type checkers only.

CONNECT_SECONDS = 5
REQUEST_SECONDS = 60
RETRIES: "RetryConfig" = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=3 * REQUEST_SECONDS),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=2),
        "base": 2,
    },
}
"""Two more tries after the first."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the objects are: a bucket, and what stands before every key (`""`, or ending in `/`)."""

    bucket: str
    prefix: str
    endpoint: str | None
    is_path_style: bool


class S3Store(Objects):
    """Keeps objects in a bucket."""

    def __init__(self, place: Place, credentials: Credentials) -> None:
        self._credentials = credentials
        self._prefix = place.prefix
        endpoint = place.endpoint or f"https://s3.{credentials.region}.amazonaws.com"
        parts = urlsplit(endpoint.rstrip("/"))
        if place.is_path_style:
            self._address = f"{parts.geturl()}/{place.bucket}"
        else:
            self._address = f"{parts.scheme}://{place.bucket}.{parts.netloc}{parts.path}"
        config: S3Config = {
            # The library expects the bucket in the endpoint where it is part of the host's name.
            "endpoint": parts.geturl() if place.is_path_style else self._address,
            "virtual_hosted_style_request": not place.is_path_style,
            "disable_bulk_delete": True,  # Not everything that speaks S3 knows it, and we delete one by one.
            "region": credentials.region,
            "access_key_id": credentials.access_key_id,
            "secret_access_key": credentials.secret_access_key,
        }
        if credentials.session_token:
            config["session_token"] = credentials.session_token
        client: ClientConfig = {
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
            "allow_http": parts.scheme == "http",
        }
        prefix = place.prefix or None
        super().__init__(
            Bucket(place.bucket, prefix=prefix, config=config, client_options=client, retry_config=RETRIES)
        )

    async def put(self, key: str, source: Path | AsyncIterator[bytes], media_type: str) -> None:
        """Store a local file, or what an iterator yields; S3 answers when it is durable."""
        await self._put(key, source, {"Content-Type": media_type})

    async def tidy(self, before: datetime) -> None:
        """Nothing: a rule of the bucket aborts unfinished uploads."""

    def presign_get(self, key: str, seconds: int, *, file_name: str, media_type: str) -> str | None:
        """An address at which anybody may download the object as an attachment for some seconds."""
        return presign(
            "GET",
            f"{self._address}/{self._prefix}{key}",
            self._credentials,
            seconds=seconds,
            now=clock.now(),
            query={
                "response-content-disposition": attachment(file_name),
                "response-content-type": media_type,
            },
        )
