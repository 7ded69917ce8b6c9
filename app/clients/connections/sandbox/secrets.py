"""Owns the codes and tokens of the sandbox.

They carry what they are about, signed with the service's own keys, so that any process may answer for
another. Only what has ended is remembered, by the process that ended it.
"""

import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal, get_args

from app.core import clock
from app.core.crypto import key_ring, read_facts, sign_facts

SANDBOX_CLIENT = "luneo-sandbox"
CODE_SECONDS = 600

CODE, ACCESS, REFRESH = "sandbox_code_", "sandbox_access_", "sandbox_refresh_"

Behaviour = Literal[
    "good",
    "no_refresh_token",
    "fewer_scopes",
    "expires_soon",
    "expiry_unknown",
    "exchange_refused",
    "exchange_down",
    "exchange_nonsense",
    "refresh_down",
    "refresh_limited",
    "refresh_gone",
    "revoke_down",
    "test_refused",
]
"""How a service answers about a grant: rightly, or wrongly in one way, for apps to be tried against."""

BEHAVIOURS: tuple[str, ...] = get_args(Behaviour)

_USE = "sandbox-oauth"
_MOST_REMEMBERED = 20_000

_ended: OrderedDict[bytes, None] = OrderedDict()


def make(prefix: str, facts: Mapping[str, Any], *, seconds: int | None) -> str:
    """A code or a token, good for so many seconds, or for ever; no two are alike."""
    until = None if seconds is None else clock.now().timestamp() + seconds
    content = {**facts, "until": until, "nonce": secrets.token_hex(8)}
    return sign_facts(key_ring(), prefix, _USE, json.dumps(content).encode())


def read(prefix: str, text: str) -> dict[str, Any] | None:
    """The facts of one that is good now, or None."""
    data = read_facts(key_ring(), prefix, _USE, text)
    if data is None or has_ended(text):
        return None
    facts: dict[str, Any] = json.loads(data)
    is_over = facts["until"] is not None and facts["until"] <= clock.now().timestamp()
    return None if is_over or has_ended(facts["grant"]) else facts


def end(name: str) -> None:
    """Remember that a code, a token or a grant has ended."""
    _ended[_digest(name)] = None
    while len(_ended) > _MOST_REMEMBERED:
        _ended.popitem(last=False)


def has_ended(name: str) -> bool:
    """Whether it was ended here."""
    return _digest(name) in _ended


def forget_everything() -> None:
    """Forget what has ended."""
    _ended.clear()


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
