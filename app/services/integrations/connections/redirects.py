"""Owns where a connection may lead the browser to: pages of the app, and nothing else."""

import re

from app.core.config import get_settings
from app.core.errors import FieldError, Invalid

HOME = "/integrations"

# One slash at the beginning, and never two together; no backslash, which browsers read as a slash, no space
# or control character, and no fragment, since the answer is put there.
_PATH = re.compile(r"(?:/(?!/)[!\"$-.0-\[\]-~]*)+", re.ASCII)


def path_in_app(text: str | None) -> str:
    """The path that was asked for, or the default; 422 `redirect_not_allowed`."""
    if text is None:
        return HOME
    if _PATH.fullmatch(text) is None:
        detail = "Send a path of the app: one slash at the beginning, no host and no fragment."
        raise Invalid(
            "redirect_not_allowed",
            detail,
            errors=[FieldError("/redirect_after", "redirect_not_allowed", detail)],
        )
    return text


def app_address(path: str, name: str, value: str) -> str:
    """The address in the app, with what it is told behind the `#`, which no server sees."""
    return f"{get_settings().app_url}{path}#{name}={value}"
