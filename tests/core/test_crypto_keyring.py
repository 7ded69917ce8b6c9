"""The key ring: its text form, its derived keys, its MACs, and values sealed to one row."""

import base64
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from app.core.crypto import (
    KeyRing,
    SealBroken,
    decode_base64url,
    encode_base64url,
    generate_key_text,
    mac,
    mac_matches,
    seal,
    sealed_kid,
    unseal,
)

OLD_KEY = bytes(range(32))
NEW_KEY = bytes(range(100, 140))
OLD = KeyRing({"old": OLD_KEY})
BOTH = KeyRing({"new": NEW_KEY, "old": OLD_KEY})
CONTEXT = f"mfa_factors.secret_sealed:{UUID(int=7)}"


def entry(kid: str, key: bytes) -> str:
    return f"{kid}:{base64.b64encode(key).decode()}"


def test_parse_keeps_the_order_when_several_keys_are_given():
    ring = KeyRing.parse(f"{entry('new', NEW_KEY)}, {entry('old', OLD_KEY)}")
    assert ring.kids == ("new", "old")
    assert ring.newest == "new"
    assert "old" in ring
    assert "other" not in ring
    assert ring.derive("jwt") == BOTH.derive("jwt", "new")
    assert ring.derive("jwt", "old") == OLD.derive("jwt")


def test_derive_follows_rfc_5869_when_checked_against_the_primitive():
    for use in ("jwt", "seal", "one-time"):
        expected = HKDF(hashes.SHA256(), 32, None, f"luneo:{use}:v1".encode()).derive(OLD_KEY)
        assert OLD.derive(use) == expected
        assert OLD.derive(use) is OLD.derive(use)
    assert len({OLD.derive(use) for use in ("jwt", "seal", "one-time")}) == 3


def test_derive_refuses_when_the_key_id_is_unknown():
    with pytest.raises(KeyError):
        OLD.derive("jwt", "new")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "justtext",
        "kid:",
        ":" + base64.b64encode(OLD_KEY).decode(),
        "kid:not base64",
        "kid:" + base64.b64encode(OLD_KEY).decode().rstrip("="),
        entry("short", b"x" * 31),
        entry("a b", OLD_KEY),
        entry("é", OLD_KEY),
        entry("k" * 65, OLD_KEY),
        entry("a", OLD_KEY) + ",",
        entry("a", OLD_KEY) + "," + entry("a", NEW_KEY),
    ],
)
def test_parse_refuses_when_the_text_is_not_a_ring(text):
    with pytest.raises(ValueError, match=r"key|Entry"):
        KeyRing.parse(text)


def test_a_ring_never_shows_its_keys_when_printed_or_refused():
    assert repr(BOTH) == "KeyRing(kids=('new', 'old'))"
    secret = "c2VjcmV0c2VjcmV0!"
    with pytest.raises(ValueError, match="base64") as caught:
        KeyRing.parse(f"kid:{secret}")
    assert secret not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_generated_key_makes_a_ring_when_parsed():
    texts = {generate_key_text() for _ in range(5)}
    ring = KeyRing.parse(",".join(texts))
    assert len(ring.kids) == 5
    assert len({ring.derive("jwt", kid) for kid in ring.kids}) == 5


def test_mac_matches_when_made_with_any_key_of_the_ring():
    tag = mac(OLD, "throttle", b"alice")
    assert len(tag) == 32
    assert mac_matches(OLD, "throttle", b"alice", tag)
    assert mac_matches(BOTH, "throttle", b"alice", tag)
    assert mac(BOTH, "throttle", b"alice") != tag


def test_mac_does_not_match_when_data_use_tag_or_ring_differ():
    tag = mac(BOTH, "throttle", b"alice")
    assert not mac_matches(BOTH, "throttle", b"bob", tag)
    assert not mac_matches(BOTH, "cursor", b"alice", tag)
    assert not mac_matches(BOTH, "throttle", b"alice", tag[:-1])
    assert not mac_matches(BOTH, "throttle", b"alice", b"")
    assert not mac_matches(OLD, "throttle", b"alice", tag)


def test_a_sealed_value_has_the_documented_form_when_taken_apart():
    sealed = seal(BOTH, b"JBSWY3DP", context=CONTEXT)
    assert sealed[:5] == b"\x01\x03new"
    assert len(sealed) == 5 + 12 + len(b"JBSWY3DP") + 16
    opened = AESGCM(BOTH.derive("seal", "new")).decrypt(sealed[5:17], sealed[17:], CONTEXT.encode())
    assert opened == b"JBSWY3DP"
    assert sealed_kid(sealed) == "new"
    assert seal(BOTH, b"JBSWY3DP", context=CONTEXT) != sealed


@given(plaintext=st.binary(max_size=200), context=st.text(max_size=50).filter(lambda text: text.isascii()))
def test_a_sealed_value_opens_when_ring_and_context_are_the_same(plaintext, context):
    assert unseal(BOTH, seal(BOTH, plaintext, context=context), context=context) == plaintext


def test_a_sealed_value_opens_when_its_key_is_an_older_one():
    assert unseal(BOTH, seal(OLD, b"secret", context=CONTEXT), context=CONTEXT) == b"secret"


def test_a_sealed_value_stays_shut_when_moved_to_another_row_or_ring():
    sealed = seal(BOTH, b"secret", context=CONTEXT)
    with pytest.raises(SealBroken):
        unseal(BOTH, sealed, context=f"mfa_factors.secret_sealed:{UUID(int=8)}")
    with pytest.raises(SealBroken):
        unseal(OLD, sealed, context=CONTEXT)
    with pytest.raises(SealBroken):
        unseal(KeyRing({"new": OLD_KEY}), sealed, context=CONTEXT)


def test_a_sealed_value_stays_shut_when_any_byte_is_changed_or_missing():
    sealed = seal(OLD, b"secret", context=CONTEXT)
    for position in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[position] ^= 0xFF
        with pytest.raises(SealBroken):
            unseal(OLD, bytes(damaged), context=CONTEXT)
        with pytest.raises(SealBroken):
            unseal(OLD, sealed[:position], context=CONTEXT)


@given(st.binary(max_size=80))
def test_unseal_raises_only_seal_broken_when_given_any_bytes(data):
    with pytest.raises(SealBroken):
        unseal(OLD, data, context=CONTEXT)


@given(st.binary(max_size=100))
def test_base64url_returns_the_same_bytes_when_encoded_and_decoded(data):
    assert decode_base64url(encode_base64url(data)) == data


@pytest.mark.parametrize("text", ["A", "AB", "AA==", "AA\n", "A A", "A+A/", "é", "AAAAA", "AAB", "\ud800"])
def test_base64url_decodes_to_none_when_the_text_is_not_canonical(text):
    assert decode_base64url(text) is None
