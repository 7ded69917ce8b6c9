"""Web push: messages that only a browser can read (RFC 8291), from a sender that it knows (RFC 8292)."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.clients.outbound import (
    CheckedUrl,
    OutboundAnswer,
    OutboundClient,
    UrlNotAllowed,
    check_url,
)
from app.core import clock
from app.core.config import get_settings
from app.core.crypto import decode_base64url, encode_base64url

KNOWN_HOSTS = frozenset({"fcm.googleapis.com", "updates.push.services.mozilla.com"})
KNOWN_DOMAINS = (".push.apple.com", ".notify.windows.com", ".wns.windows.com")

POINT_BYTES = 65
AUTH_BYTES = 16
SALT_BYTES = 16
RECORD_SIZE = 4096
"""What a push service takes at most; a message is one record of this size."""

KEPT_SECONDS = 86_400
"""How long a push service keeps a message for a browser that is away."""

TOKEN_LIFE = timedelta(hours=12)
KEY_FILE = "vapid_private_key"


class EndpointNotAllowed(ValueError):
    """The address is none of a push service that the service knows."""


@dataclass(frozen=True, slots=True)
class Browser:
    """Whom a message is for: the address at the push service, and the browser's two keys."""

    endpoint: str
    public_key: bytes
    auth: bytes


def check_endpoint(url: str) -> CheckedUrl:
    """The address in its normal form, if it is one of a push service; else EndpointNotAllowed."""
    try:
        checked = check_url(url)
    except UrlNotAllowed as error:
        raise EndpointNotAllowed(str(error)) from None
    allowed = {host.lower() for host in get_settings().push_hosts} | KNOWN_HOSTS
    if checked.host not in allowed and not checked.host.endswith(KNOWN_DOMAINS):
        raise EndpointNotAllowed("The host is not one of a known push service.")
    return checked


def read_public_key(text: str) -> bytes | None:
    """A browser's `p256dh`: a point of P-256, uncompressed, in base64url; None for anything else."""
    point = decode_base64url(text)
    if point is None or len(point) != POINT_BYTES:
        return None
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        return None
    return point


def read_auth(text: str) -> bytes | None:
    """A browser's `auth`: 16 bytes in base64url; None for anything else."""
    secret = decode_base64url(text)
    return secret if secret is not None and len(secret) == AUTH_BYTES else None


def encrypt(
    plaintext: bytes,
    browser: Browser,
    *,
    salt: bytes | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    """The body of a push message (RFC 8291 over RFC 8188): one record, with a fresh key and salt."""
    salt = salt or secrets.token_bytes(SALT_BYTES)
    key = key or ec.generate_private_key(ec.SECP256R1())
    ours = _point(key)
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), browser.public_key)
    shared = key.exchange(ec.ECDH(), theirs)
    combined = _hkdf(browser.auth, shared, b"WebPush: info\x00" + browser.public_key + ours, 32)
    content_key = _hkdf(salt, combined, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = _hkdf(salt, combined, b"Content-Encoding: nonce\x00", 12)
    # The 2 marks the last record.
    sealed = AESGCM(content_key).encrypt(nonce, plaintext + b"\x02", None)
    head = salt + RECORD_SIZE.to_bytes(4, "big") + bytes([len(ours)]) + ours
    return head + sealed


@dataclass(frozen=True, slots=True)
class Sender:
    """Who the messages are from, as push services know it."""

    key: ec.EllipticCurvePrivateKey
    subject: str

    @classmethod
    def of(cls, private_key: str, subject: str) -> Self:
        """Of the private number in base64url; ValueError when it is none of the curve's."""
        raw = decode_base64url(private_key)
        if raw is None or len(raw) != 32:
            raise ValueError("VAPID_PRIVATE_KEY is not 32 bytes in base64url.")
        return cls(ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1()), subject)

    @property
    def public_key(self) -> str:
        """What browsers subscribe with (`applicationServerKey`), in base64url."""
        return encode_base64url(_point(self.key))

    def authorization(self, endpoint: CheckedUrl) -> str:
        """The header that proves who sends, to the push service of this address alone."""
        claims = {
            "aud": f"{endpoint.scheme}://{endpoint.netloc}",
            "exp": int((clock.now() + TOKEN_LIFE).timestamp()),
            "sub": self.subject,
        }
        signed = f"{_json64({'typ': 'JWT', 'alg': 'ES256'})}.{_json64(claims)}"
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = encode_base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return f"vapid t={signed}.{signature}, k={self.public_key}"


def sender() -> Sender | None:
    """Who this service is to push services; None in production without VAPID_PRIVATE_KEY."""
    settings = get_settings()
    private_key = settings.vapid_private_key
    if private_key is None and settings.has_sandbox:
        private_key = _own_key(settings.data_dir)
    return _sender(private_key, settings.vapid_subject) if private_key is not None else None


@lru_cache(maxsize=4)
def _sender(private_key: str, subject: str) -> Sender:
    return Sender.of(private_key, subject)


@lru_cache(maxsize=4)
def _own_key(data_dir: Path) -> str:
    """The key that development makes once and keeps in DATA_DIR.

    The file is linked into its place, so that several processes that start at once agree on one key.
    """
    path = data_dir / KEY_FILE
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
        draft = data_dir / f".{KEY_FILE}-{secrets.token_hex(8)}"
        draft.touch(mode=0o600)
        draft.write_text(encode_base64url(number.to_bytes(32, "big")))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


async def push(
    outbound: OutboundClient, identity: Sender, browser: Browser, message: Mapping[str, Any], *, topic: str
) -> OutboundAnswer:
    """Send one message to one browser; OutboundFailure when no answer comes.

    A later message with the same `topic` (at most 32 characters of base64url) takes the place of one that
    the browser has not fetched yet. EndpointNotAllowed when the operator no longer knows the push service.
    """
    endpoint = check_endpoint(browser.endpoint)
    body = encrypt(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(), browser)
    return await outbound.send(
        "POST",
        endpoint.url,
        headers={
            "authorization": identity.authorization(endpoint),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(KEPT_SECONDS),
            "topic": topic,
            "urgency": "normal",
        },
        content=body,
    )


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)


def _json64(value: Mapping[str, Any]) -> str:
    return encode_base64url(json.dumps(value, separators=(",", ":")).encode())
