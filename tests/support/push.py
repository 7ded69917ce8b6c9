"""A browser that takes push messages: its keys, and how it reads what it got (RFC 8291)."""

import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@dataclass(frozen=True)
class BrowserKeys:
    """The keys of one subscription; the private ones stay in the browser."""

    private_key: ec.EllipticCurvePrivateKey
    auth: bytes

    @property
    def as_sent(self) -> dict[str, str]:
        """As the browser hands them out."""
        return {"p256dh": text64(point(self.private_key)), "auth": text64(self.auth)}

    def read(self, body: bytes) -> bytes:
        """What a message says; InvalidTag when it is for somebody else."""
        return decrypt(body, self.private_key, self.auth)


def browser_keys(number: int = 7) -> BrowserKeys:
    """Keys that are the same in every run."""
    return BrowserKeys(ec.derive_private_key(number + 1000, ec.SECP256R1()), bytes([number]) * 16)


def text64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def decrypt(body: bytes, key: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """The message inside a body, as the receiver's side of the RFC works it out."""
    salt, size = body[:16], int.from_bytes(body[16:20], "big")
    length = body[20]
    theirs, sealed = body[21 : 21 + length], body[21 + length :]
    assert size >= len(sealed)
    sender = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)
    info = b"WebPush: info\x00" + point(key) + theirs
    combined = derive(auth, key.exchange(ec.ECDH(), sender), info, 32)
    content_key = derive(salt, combined, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = derive(salt, combined, b"Content-Encoding: nonce\x00", 12)
    padded = AESGCM(content_key).decrypt(nonce, sealed, None).rstrip(b"\x00")
    assert padded.endswith(b"\x02")
    return padded[:-1]


def derive(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)
