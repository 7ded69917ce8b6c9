"""Keys that come into the ring and leave it in the middle of a test."""

from collections.abc import Callable, Iterator

import pytest

from app.core.config import get_settings
from app.core.crypto import generate_key_text, key_ring


@pytest.fixture
def other_keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Puts a new key before the ring's old one, or in its place."""
    old, new = get_settings().key_ring_text(), generate_key_text()

    def use(is_old_kept: bool) -> None:
        monkeypatch.setattr(get_settings(), "secret_keys", f"{new},{old}" if is_old_kept else new)
        key_ring.cache_clear()

    yield use
    monkeypatch.undo()
    key_ring.cache_clear()
