"""Owns rate limits as values: the rule of a limit, where a caller stands, and the headers that say so."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

_RULE = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,3})([smh])", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class LimitRule:
    """At most `count` requests in any `window_seconds`."""

    count: int
    window_seconds: int


class LimitState(NamedTuple):
    """Where a caller stands with one limit after a request.

    `reset_seconds` is, when over, how long to wait until a request is accepted again, and otherwise how long
    until the current window ends; whole seconds, at least 1.
    """

    name: str
    limit: int
    window_seconds: int
    remaining: int
    reset_seconds: int
    is_over: bool


@lru_cache(maxsize=256)
def parse_limit(text: str, factor: int = 1) -> LimitRule:
    """Read `<count>/<period>`, for example `50/15m`, units s, m and h; ValueError for anything else.

    The rule allows `factor` times as many requests in that time.
    """
    match = _RULE.fullmatch(text)
    if match is None:
        raise ValueError("A limit is written <count>/<period>, for example 50/15m; units are s, m and h.")
    return LimitRule(int(match[1]) * factor, int(match[2]) * _UNIT_SECONDS[match[3]])


def limit_headers(states: Sequence[LimitState]) -> list[tuple[bytes, bytes]]:
    """Return the headers that tell a caller about the limits a request was counted by; none without limits.

    `RateLimit-Policy` and `RateLimit` name every limit (draft-ietf-httpapi-ratelimit-headers).
    `X-RateLimit-…` can name one only, which is the tightest; its `Reset` is in seconds from now, too.
    """
    if not states:
        return []
    policies = ", ".join(f'"{state.name}";q={state.limit};w={state.window_seconds}' for state in states)
    standings = ", ".join(f'"{state.name}";r={state.remaining};t={state.reset_seconds}' for state in states)
    tightest = min(states, key=lambda state: (not state.is_over, state.remaining, -state.reset_seconds))
    return [
        (b"ratelimit-policy", policies.encode("ascii")),
        (b"ratelimit", standings.encode("ascii")),
        (b"x-ratelimit-limit", b"%d" % tightest.limit),
        (b"x-ratelimit-remaining", b"%d" % tightest.remaining),
        (b"x-ratelimit-reset", b"%d" % tightest.reset_seconds),
    ]
