"""Owns the verification of id_tokens (OpenID Connect Core 1.0, 3.1.3.7) and the keys that sign them."""

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
from jose import jwk, jws
from jose.exceptions import JOSEError

from app.clients.oauth import ProviderRefused, ProviderUnavailable
from app.clients.oauth.asking import json_of
from app.core import clock
from app.core.crypto import decode_base64url

LEEWAY_SECONDS = 60
"""How far the provider's clock may be off."""

KEPT = timedelta(hours=1)
ASKED_AGAIN_AFTER = timedelta(minutes=1)
"""Keys are kept for an hour; an unknown key id lets them be asked for again, at most once a minute."""

MOST_KEYS = 32

_kept: dict[str, tuple[datetime, dict[str, Any]]] = {}


class KeySet:
    """The public keys of a provider by key id, asked for when they are not known yet."""

    def __init__(self, address: str, http: httpx.AsyncClient) -> None:
        self._address = address
        self._http = http

    async def key(self, kid: str, algorithm: str) -> jwk.Key:
        """The key with this id for this algorithm; ProviderRefused when the provider has none."""
        now = clock.now()
        since, keys = _kept.get(self._address, (None, {}))
        age = now - since if since is not None else None
        is_fresh = age is not None and age < (KEPT if kid in keys else ASKED_AGAIN_AFTER)
        if not is_fresh:
            keys = await self._ask()
            _kept[self._address] = (now, keys)
        found = keys.get(kid)
        # A key that names another algorithm is not for this one (RFC 7517, 4.4).
        if found is None or found.get("alg", algorithm) != algorithm or found.get("use", "sig") != "sig":
            raise ProviderRefused("key")
        try:
            return jwk.construct(found, algorithm)
        except (JOSEError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
            raise ProviderUnavailable("a key cannot be read") from None

    async def _ask(self) -> dict[str, Any]:
        status, document = await json_of(self._http, self._address)
        listed = document.get("keys") if isinstance(document, dict) else None
        if status != 200 or not isinstance(listed, list):
            raise ProviderUnavailable("the key set cannot be read")
        named = (key for key in listed[:MOST_KEYS] if isinstance(key, dict))
        return {key["kid"]: key for key in named if isinstance(key.get("kid"), str)}


async def verified_claims(
    token: str, keys: KeySet, *, algorithm: str, issuers: tuple[str, ...], audience: str
) -> dict[str, Any]:
    """The claims of an id_token that this provider signed for us and that is good now.

    The algorithm is ours to choose: what the token's header says must be the same, so neither `none` nor a
    MAC under a public key passes. Keys that the header itself carries or points to are not looked at.
    ProviderRefused for everything that is not proof.
    """
    header = _part(token, 0)
    kid = header.get("kid")
    if header.get("alg") != algorithm or "crit" in header or not isinstance(kid, str):
        raise ProviderRefused("header")
    key = await keys.key(kid, algorithm)
    try:
        payload = jws.verify(token, key, algorithms=[algorithm])
    except (JOSEError, RecursionError, ValueError):
        raise ProviderRefused("signature") from None
    claims = _object(payload)
    if claims.get("iss") not in issuers:
        raise ProviderRefused("iss")
    _judge_audience(claims, audience)
    _judge_time(claims)
    return claims


def _judge_audience(claims: dict[str, Any], audience: str) -> None:
    given = claims.get("aud")
    # Somebody else among the audience could pass the token on, so we must be alone in it.
    if given not in (audience, [audience]) or claims.get("azp", audience) != audience:
        raise ProviderRefused("aud")


def _judge_time(claims: dict[str, Any]) -> None:
    now = clock.now().timestamp()
    expires_at, issued_at = _number(claims, "exp"), _number(claims, "iat")
    if expires_at is None or expires_at + LEEWAY_SECONDS <= now:
        raise ProviderRefused("exp")
    if issued_at is None or issued_at - LEEWAY_SECONDS > now:
        raise ProviderRefused("iat")


def _number(claims: dict[str, Any], name: str) -> int | None:
    value = claims.get(name)
    # The type is compared exactly, because True is an integer to `isinstance`.
    return value if type(value) is int else None


def _part(token: str, index: int) -> dict[str, Any]:
    parts = token.split(".")
    data = decode_base64url(parts[index]) if len(parts) == 3 else None
    return _object(data or b"")


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise ProviderRefused("form") from None
    if not isinstance(value, dict):
        raise ProviderRefused("form")
    return value
