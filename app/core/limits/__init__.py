"""Owns rate limits: rules, counters, the fallback without Redis, and how routes state them."""

from app.core.limits.limiter import Limiter
from app.core.limits.routes import RateLimit, enforce, enforce_rule, limited, settle_limits
from app.core.limits.rules import LimitRule, LimitState, limit_headers, parse_limit

__all__ = [
    "LimitRule",
    "LimitState",
    "Limiter",
    "RateLimit",
    "enforce",
    "enforce_rule",
    "limit_headers",
    "limited",
    "parse_limit",
    "settle_limits",
]
