"""Addresses of S3 that are signed with AWS Signature Version 4 in their query.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Who signs; `session_token` belongs to temporary ones."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None
    region: str


def presign(
    method: str,
    address: str,
    credentials: Credentials,
    *,
    seconds: int,
    now: datetime,
    query: Mapping[str, str] | None = None,
) -> str:
    """The address with a signature that lets anybody make this request until `seconds` after `now`.

    `address` has no query, and its path is not encoded yet.
    """
    parts = urlsplit(address)
    path = quote(parts.path, safe="/-_.~")
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{credentials.region}/s3/aws4_request"
    parameters = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
        **({"X-Amz-Security-Token": credentials.session_token} if credentials.session_token else {}),
        **(query or {}),
    }
    encoded = "&".join(
        f"{name}={value}"
        for name, value in sorted((_encoded(name), _encoded(value)) for name, value in parameters.items())
    )
    request = "\n".join([method, path, encoded, f"host:{parts.netloc}\n", "host", "UNSIGNED-PAYLOAD"])
    signed = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    signature = _mac(_key(credentials, moment[:8]), signed).hex()
    return f"{parts.scheme}://{parts.netloc}{path}?{encoded}&X-Amz-Signature={signature}"


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _key(credentials: Credentials, day: str) -> bytes:
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in (day, credentials.region, "s3", "aws4_request"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
