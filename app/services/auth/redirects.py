"""Owns where a sign-in may lead to: the app's own pages and the origins that browsers may call from."""

import re
from urllib.parse import urlsplit

from app.core.config import get_settings
from app.core.errors import FieldError, Invalid

LONGEST_REDIRECT = 2048

# No control characters, no spaces and no backslash, which browsers read as a slash; no fragment, because the
# answer is put there.
_PLAIN = re.compile(r"[!-\[\]-~]+")
_PORTS = {"http": 80, "https": 443}


def redirect_target(text: str | None) -> str:
    """The absolute address that a sign-in leads to: a page of the app, or one on a listed origin.

    `text` is a path with one leading `/`, an address whose origin is exactly that of `APP_URL` or one of
    `CORS_ORIGINS`, or None for the app itself. 422 `redirect_not_allowed` for everything else, so that nobody
    can have a sign-in led to a page of theirs.
    """
    settings = get_settings()
    if text is None:
        return f"{settings.app_url}/"
    if len(text) > LONGEST_REDIRECT or _PLAIN.fullmatch(text) is None or "#" in text:
        raise _not_allowed()
    if text.startswith("/"):
        if text.startswith("//"):
            raise _not_allowed()
        return settings.app_url + text
    allowed = {_origin(settings.app_url), *(_origin(origin) for origin in settings.cors_origins)}
    origin = _origin(text)
    if origin is None or origin not in allowed:
        raise _not_allowed()
    return text


def _origin(address: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an address; None when it has none, or names a user before the host."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or parts.hostname is None or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def _not_allowed() -> Invalid:
    detail = "Send a path that begins with one slash, or an address on an origin that this service knows."
    return Invalid(
        "redirect_not_allowed", detail, errors=[FieldError("/redirect_to", "redirect_not_allowed", detail)]
    )
