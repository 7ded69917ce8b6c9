"""The secrets of a trip to a provider: derived from its row, and read with whichever key made them."""

import hashlib
import re
import secrets

import pytest

from app.core.crypto import (
    EMAIL_TOKEN_PREFIX,
    KeyRing,
    begin_trip,
    derive_token,
    encode_base64url,
    read_token,
    read_trip,
)
from app.core.ids import uuid7

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)


def test_trip_when_it_comes_back() -> None:
    ring = KeyRing({"a": OLD})
    begun = begin_trip(ring, uuid7())
    assert read_trip(ring, begun.state) == begun
    assert begin_trip(ring, begun.row_id) == begun
    other = begin_trip(ring, uuid7())
    values = {begun.state, begun.nonce, begun.verifier, other.state, other.nonce, other.verifier}
    assert len(values) == 6
    assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", begun.verifier)
    assert begun.challenge == encode_base64url(hashlib.sha256(begun.verifier.encode()).digest())


def test_trip_when_the_key_changes_on_the_way() -> None:
    begun = begin_trip(KeyRing({"a": OLD}), uuid7())
    assert read_trip(KeyRing({"b": NEW, "a": OLD}), begun.state) == begun
    assert read_trip(KeyRing({"b": NEW}), begun.state) is None


@pytest.mark.parametrize("text", ["", "x", EMAIL_TOKEN_PREFIX, EMAIL_TOKEN_PREFIX + "A" * 64, "é"])
def test_state_when_it_is_made_up(text: str) -> None:
    assert read_trip(KeyRing({"a": OLD}), text) is None


def test_state_when_it_is_taken_for_another_token() -> None:
    ring = KeyRing({"a": OLD})
    begun = begin_trip(ring, uuid7())
    assert read_token(ring, EMAIL_TOKEN_PREFIX, "password_reset", begun.state) is None
    assert read_trip(ring, derive_token(ring, EMAIL_TOKEN_PREFIX, "password_reset", begun.row_id)) is None
