"""Owns the key ring: the service's root keys, and one derived key for each use of each of them."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.core.config import get_settings

_SMALLEST_KEY_BYTES = 32
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class KeyRing:
    """The root keys of `SECRET_KEYS` by key id, newest first.

    New values are made with the newest key; older keys only open what they once made. A root key is never
    used itself: every use has its own key by HKDF-SHA256 (RFC 5869) with info `luneo:<use>:v1`.
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        """Take root keys of at least 32 bytes by key id, newest first; ValueError for anything else."""
        if not keys:
            raise ValueError("The key ring holds no key.")
        for kid, key in keys.items():
            if _KID.fullmatch(kid) is None:
                raise ValueError("A key id is 1 to 64 letters, digits, hyphens or underscores.")
            if len(key) < _SMALLEST_KEY_BYTES:
                raise ValueError(f"The key {kid} is shorter than {_SMALLEST_KEY_BYTES} bytes.")
        self._keys = dict(keys)
        self._derived: dict[tuple[str, str], bytes] = {}
        self.kids = tuple(keys)

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """Read `kid:base64,…`, newest first; ValueError, without any key in its text, when it is not that."""
        keys: dict[str, bytes] = {}
        for position, entry in enumerate(text.split(","), start=1):
            kid, separator, encoded = entry.strip().partition(":")
            if not separator:
                raise ValueError(f"Entry {position} of the key ring is not of the form kid:base64.")
            if kid in keys:
                raise ValueError(f"Entry {position} of the key ring repeats an earlier key id.")
            try:
                keys[kid] = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                # The cause is cut off, because its text could carry a part of the key into a log.
                raise ValueError(f"Entry {position} of the key ring is not valid base64.") from None
        return cls(keys)

    @property
    def newest(self) -> str:
        """The id of the key that makes new values."""
        return self.kids[0]

    def __contains__(self, kid: object) -> bool:
        return kid in self._keys

    def __repr__(self) -> str:
        return f"KeyRing(kids={self.kids!r})"

    def derive(self, use: str, kid: str | None = None) -> bytes:
        """Return the 32-byte key of one use, of the newest root key or of `kid`; KeyError if unknown."""
        kid = self.newest if kid is None else kid
        derived = self._derived.get((use, kid))
        if derived is None:
            info = f"luneo:{use}:v1".encode()
            kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info)
            derived = self._derived[use, kid] = kdf.derive(self._keys[kid])
        return derived

    def derive_all(self, use: str) -> list[bytes]:
        """Return the 32-byte keys of one use, newest first."""
        return [self.derive(use, kid) for kid in self.kids]


def generate_key_text() -> str:
    """Return a fresh random 32-byte key as one `kid:base64` entry of `SECRET_KEYS`."""
    key = base64.b64encode(secrets.token_bytes(_SMALLEST_KEY_BYTES)).decode("ascii")
    return f"k{secrets.token_hex(4)}:{key}"


def mac(ring: KeyRing, use: str, data: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA256 of `data` under the newest key of `use`."""
    return hmac_sha256(ring.derive(use), data)


def every_mac(ring: KeyRing, use: str, data: bytes) -> list[bytes]:
    """Return the HMAC-SHA256 of `data` under each key of `use`, newest first."""
    return [hmac_sha256(key, data) for key in ring.derive_all(use)]


def mac_matches(ring: KeyRing, use: str, data: bytes, tag: bytes) -> bool:
    """Say whether `tag` is the HMAC-SHA256 of `data` under any key of `use`.

    Each comparison takes constant time, and none is left out after the first that fits.
    """
    found = False
    for key in ring.derive_all(use):
        found |= hmac.compare_digest(hmac_sha256(key, data), tag)
    return found


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA256 of `data` under `key`."""
    return hmac.digest(key, data, hashlib.sha256)


@lru_cache(maxsize=1)
def key_ring() -> KeyRing:
    """The key ring of this process, from its settings."""
    return KeyRing.parse(get_settings().key_ring_text())
