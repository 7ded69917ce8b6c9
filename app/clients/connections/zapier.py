"""Zapier: it comes to us with an API key, so that nothing is asked of it."""

from collections.abc import Mapping
from typing import ClassVar


class Zapier:
    """The organisation's own place at Zapier."""

    name: ClassVar[str] = "zapier"
    title: ClassVar[str] = "Zapier"
    auth_mode: ClassVar[str] = "inbound"
    params: ClassVar[tuple[str, ...]] = ()
    config: ClassVar[Mapping[str, str]] = {}
