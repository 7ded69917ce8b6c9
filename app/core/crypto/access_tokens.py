"""Owns access tokens: signed JWTs (RFC 9068) that say who calls in which session, not what they may."""

import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from jose import jwk, jws, jwt
from jose.exceptions import JOSEError

from app.core.crypto.encoding import decode_base64url
from app.core.crypto.keyring import KeyRing

AUDIENCE = "luneo-api"
LEEWAY_SECONDS = 10

_ALGORITHM = "HS256"
_TYPE = "at+jwt"
_USE = "jwt"
_CLAIMS = frozenset({"sub", "sid", "iat", "exp", "iss", "aud"})
# Our own tokens have about 400 characters. The bound keeps every later step cheap.
_LONGEST_TOKEN = 1024
_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_YEAR_9999 = 253_402_300_799
_CACHE_SIZE = 4096


class AccessTokenInvalid(Exception):
    """The text is not an access token that this service signed for itself."""


class AccessTokenExpired(Exception):
    """The access token is genuine, but its time is over."""


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a verified access token says."""

    user_id: UUID
    session_id: UUID
    expires_at: datetime


class _VerifiedTokens:
    """The most recently used verified tokens with their claims; failures never get in."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._claims: OrderedDict[tuple[KeyRing, str, str], AccessClaims] = OrderedDict()

    def get(self, key: tuple[KeyRing, str, str]) -> AccessClaims | None:
        claims = self._claims.get(key)
        if claims is not None:
            self._claims.move_to_end(key)
        return claims

    def put(self, key: tuple[KeyRing, str, str], claims: AccessClaims) -> None:
        self._claims[key] = claims
        if len(self._claims) > self._size:
            self._claims.popitem(last=False)

    def drop(self, key: tuple[KeyRing, str, str]) -> None:
        self._claims.pop(key, None)

    def __len__(self) -> int:
        return len(self._claims)


# A ring is compared by identity, so that one ring's verified tokens mean nothing to another ring.
_verified = _VerifiedTokens(_CACHE_SIZE)


def issue_access_token(
    ring: KeyRing, *, user_id: UUID, session_id: UUID, issuer: str, now: datetime, seconds: int
) -> str:
    """Return a JWT signed with the newest key, good for `seconds` from `now`.

    `issuer` is this API's public address. The claims are `sub, sid, iat, exp, iss, aud` only.
    """
    issued_at = int(now.timestamp())
    claims = {
        "sub": str(user_id),
        "sid": str(session_id),
        "iat": issued_at,
        "exp": issued_at + seconds,
        "iss": issuer,
        "aud": AUDIENCE,
    }
    headers = {"typ": _TYPE, "kid": ring.newest}
    token: str = jwt.encode(claims, _signing_key(ring, ring.newest), algorithm=_ALGORITHM, headers=headers)
    return token


def verify_access_token(ring: KeyRing, token: str, *, issuer: str, now: datetime) -> AccessClaims:
    """Return the claims of a genuine token that is good at `now`, give or take the leeway.

    AccessTokenExpired when only its time is over, AccessTokenInvalid for every other text whatever.
    """
    key = (ring, issuer, token)
    claims = _verified.get(key)
    is_known = claims is not None
    if claims is None:
        claims = _read_claims(_verified_payload(ring, token), issuer)
    if now.timestamp() > claims.expires_at.timestamp() + LEEWAY_SECONDS:
        _verified.drop(key)
        raise AccessTokenExpired
    if not is_known:
        _verified.put(key, claims)
    return claims


def _signing_key(ring: KeyRing, kid: str) -> jwk.Key:
    # A Key object is taken as it is; raw bytes would first be tried as JSON and PEM by the library.
    return jwk.construct(ring.derive(_USE, kid), _ALGORITHM)


def _verified_payload(ring: KeyRing, token: str) -> bytes:
    """Return the payload of a token whose signature is ours.

    The header is judged here, because it chooses the key among those of the ring. A key that the header
    itself names (`jku`, `jwk`, `x5u`) is never looked at.
    """
    shape = _SHAPE.fullmatch(token) if len(token) <= _LONGEST_TOKEN else None
    if shape is None:
        raise AccessTokenInvalid
    if decode_base64url(shape[3]) is None:
        raise AccessTokenInvalid
    header = _json_object(decode_base64url(shape[1]))
    kid = header.get("kid")
    is_ours = header.get("alg") == _ALGORITHM and header.get("typ") == _TYPE and "crit" not in header
    if not is_ours or not isinstance(kid, str) or kid not in ring:
        raise AccessTokenInvalid
    try:
        payload: bytes = jws.verify(token, _signing_key(ring, kid), algorithms=[_ALGORITHM])
    except (JOSEError, RecursionError):
        # The library parses the header once more, a few frames deeper than we did.
        raise AccessTokenInvalid from None
    return payload


def _json_object(data: bytes | None) -> dict[str, Any]:
    if data is None:
        raise AccessTokenInvalid
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise AccessTokenInvalid from None
    if not isinstance(value, dict):
        raise AccessTokenInvalid
    return value


def _read_claims(payload: bytes, issuer: str) -> AccessClaims:
    """Check every claim but the time itself, strictly by type, as RFC 9068 asks of `aud`, `iss` and `exp`."""
    claims = _json_object(payload)
    if claims.keys() != _CLAIMS or claims["iss"] != issuer or claims["aud"] != AUDIENCE:
        raise AccessTokenInvalid
    return AccessClaims(
        user_id=_uuid(claims["sub"]),
        session_id=_uuid(claims["sid"]),
        expires_at=_moment(claims["exp"], not_before=_moment(claims["iat"])),
    )


def _uuid(value: object) -> UUID:
    if not isinstance(value, str):
        raise AccessTokenInvalid
    try:
        return UUID(value)
    except ValueError:
        raise AccessTokenInvalid from None


def _moment(value: object, not_before: datetime | None = None) -> datetime:
    # The type is compared exactly, because True and False are integers to `isinstance`.
    if type(value) is not int or not 0 <= value <= _YEAR_9999:
        raise AccessTokenInvalid
    moment = datetime.fromtimestamp(value, UTC)
    if not_before is not None and moment < not_before:
        raise AccessTokenInvalid
    return moment
