"""Tokens without a row: genuine ones give their facts back, every other text is None."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from app.core.crypto import (
    EMAIL_TOKEN_PREFIX,
    MFA_TOKEN_PREFIX,
    KeyRing,
    derive_token,
    encode_base64url,
    read_facts,
    read_token,
    sign_facts,
)
from app.core.ids import uuid7

OLD = KeyRing({"old": b"o" * 32})
BOTH = KeyRing({"new": b"n" * 32, "old": b"o" * 32})
ANY_TEXT = st.one_of(st.text(), st.text(alphabet="ABCxyz019-_=", min_size=40, max_size=90))


def test_token_when_it_is_signed_has_the_documented_form() -> None:
    tag = hmac.digest(BOTH.derive("one-time"), b"facts\x00use\x00abc", hashlib.sha256)
    assert sign_facts(BOTH, EMAIL_TOKEN_PREFIX, "use", b"abc") == "luneo_ot_" + encode_base64url(b"abc" + tag)


@given(st.binary(max_size=100))
def test_facts_when_the_token_is_genuine(facts: bytes) -> None:
    for ring in (OLD, BOTH):
        token = sign_facts(ring, EMAIL_TOKEN_PREFIX, "use", facts)
        assert read_facts(BOTH, EMAIL_TOKEN_PREFIX, "use", token) == facts


def test_facts_when_use_prefix_or_ring_differ() -> None:
    token = sign_facts(BOTH, EMAIL_TOKEN_PREFIX, "use", b"facts")
    assert read_facts(BOTH, EMAIL_TOKEN_PREFIX, "other", token) is None
    assert read_facts(BOTH, MFA_TOKEN_PREFIX, "use", token) is None
    assert read_facts(OLD, EMAIL_TOKEN_PREFIX, "use", token) is None
    # Neither kind of token is good as the other, and a use is not continued by what follows it.
    assert (
        read_token(BOTH, EMAIL_TOKEN_PREFIX, "use", sign_facts(BOTH, EMAIL_TOKEN_PREFIX, "use", b"x" * 16))
        is None
    )
    assert (
        read_facts(BOTH, EMAIL_TOKEN_PREFIX, "use", derive_token(BOTH, EMAIL_TOKEN_PREFIX, "use", uuid7()))
        is None
    )
    assert (
        read_facts(BOTH, EMAIL_TOKEN_PREFIX, "usef", sign_facts(BOTH, EMAIL_TOKEN_PREFIX, "use", b"f"))
        is None
    )


@given(st.binary(min_size=1, max_size=20), st.integers(min_value=0, max_value=50))
def test_facts_when_one_character_is_changed(facts: bytes, place: int) -> None:
    token = sign_facts(BOTH, EMAIL_TOKEN_PREFIX, "use", facts)
    place = len(EMAIL_TOKEN_PREFIX) + place % (len(token) - len(EMAIL_TOKEN_PREFIX))
    changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
    assert read_facts(BOTH, EMAIL_TOKEN_PREFIX, "use", changed) is None


@given(ANY_TEXT)
def test_facts_when_the_text_is_no_token(text: str) -> None:
    assert read_facts(BOTH, EMAIL_TOKEN_PREFIX, "use", text) is None
    assert read_facts(BOTH, EMAIL_TOKEN_PREFIX, "use", EMAIL_TOKEN_PREFIX + text) is None
