"""One-time tokens, codes and refresh tokens: genuine ones read back, every other text is None."""

import hashlib
import hmac
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.crypto import (
    AUTH_CODE_PREFIX,
    EMAIL_TOKEN_PREFIX,
    MFA_TOKEN_PREFIX,
    KeyRing,
    RefreshToken,
    code_matches,
    decode_base64url,
    derive_code,
    derive_token,
    encode_base64url,
    make_refresh_token,
    parse_refresh_token,
    read_token,
    refresh_tag_matches,
)
from app.core.ids import uuid7

OLD = KeyRing({"old": b"o" * 32})
BOTH = KeyRing({"new": b"n" * 32, "old": b"o" * 32})
ROW = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
KEY = b"s" * 32
ANY_TEXT = st.one_of(st.text(), st.text(alphabet="ABCxyz019-_=", min_size=50, max_size=90))


def test_a_one_time_token_has_the_documented_form_when_derived():
    token = derive_token(BOTH, EMAIL_TOKEN_PREFIX, "password_reset", ROW)
    tag = hmac.digest(BOTH.derive("one-time"), b"password_reset" + ROW.bytes, hashlib.sha256)
    assert token == "luneo_ot_" + encode_base64url(ROW.bytes + tag)
    assert derive_token(BOTH, EMAIL_TOKEN_PREFIX, "password_reset", ROW) == token


@given(st.uuids(), st.sampled_from([EMAIL_TOKEN_PREFIX, MFA_TOKEN_PREFIX, AUTH_CODE_PREFIX]))
def test_a_one_time_token_reads_back_when_genuine(row_id, prefix):
    token = derive_token(BOTH, prefix, "magic_link", row_id)
    assert read_token(BOTH, prefix, "magic_link", token) == row_id


def test_a_one_time_token_reads_back_when_made_with_an_older_key():
    token = derive_token(OLD, EMAIL_TOKEN_PREFIX, "magic_link", ROW)
    assert read_token(BOTH, EMAIL_TOKEN_PREFIX, "magic_link", token) == ROW


def test_a_one_time_token_is_none_when_use_prefix_ring_or_row_differ():
    token = derive_token(BOTH, EMAIL_TOKEN_PREFIX, "magic_link", ROW)
    other_row = derive_token(BOTH, EMAIL_TOKEN_PREFIX, "magic_link", uuid7())
    assert read_token(BOTH, EMAIL_TOKEN_PREFIX, "password_reset", token) is None
    assert read_token(BOTH, MFA_TOKEN_PREFIX, "magic_link", token) is None
    assert read_token(OLD, EMAIL_TOKEN_PREFIX, "magic_link", token) is None
    assert read_token(BOTH, EMAIL_TOKEN_PREFIX, "magic_link", other_row[:31] + token[31:]) is None


def test_a_one_time_token_is_none_when_any_character_is_changed_or_missing():
    token = derive_token(BOTH, EMAIL_TOKEN_PREFIX, "magic_link", ROW)
    for position, character in enumerate(token):
        changed = token[:position] + ("A" if character != "A" else "B") + token[position + 1 :]
        assert read_token(BOTH, EMAIL_TOKEN_PREFIX, "magic_link", changed) is None
        assert read_token(BOTH, EMAIL_TOKEN_PREFIX, "magic_link", token[:position]) is None
    for addition in ("=", "A", "\n", " ", "\x00", "é", "\ud800", "A" * 1_000_000):
        assert read_token(BOTH, EMAIL_TOKEN_PREFIX, "magic_link", token + addition) is None


@given(ANY_TEXT)
def test_a_one_time_token_is_none_when_the_text_is_arbitrary(text):
    assert read_token(BOTH, EMAIL_TOKEN_PREFIX, "magic_link", text) is None
    assert read_token(BOTH, EMAIL_TOKEN_PREFIX, "magic_link", EMAIL_TOKEN_PREFIX + text) is None


@given(st.uuids())
def test_a_code_is_six_digits_and_stable_when_derived(row_id):
    code = derive_code(BOTH, "magic_link", row_id)
    assert len(code) == 6
    assert code.isascii()
    assert code.isdigit()
    assert derive_code(BOTH, "magic_link", row_id) == code
    assert code_matches(BOTH, "magic_link", row_id, code)


def test_codes_are_spread_over_the_whole_range_when_many_are_derived():
    codes = {derive_code(BOTH, "magic_link", UUID(int=number)) for number in range(2000)}
    assert len(codes) > 1990
    assert {code[0] for code in codes} == set("0123456789")


def test_a_code_matches_when_made_with_an_older_key():
    assert code_matches(BOTH, "step_up", ROW, derive_code(OLD, "step_up", ROW))


@pytest.mark.parametrize("code", ["", "00000", "0000000", "٠٠٠٠٠٠", "\ud800", "abcdef", " 123456"])
def test_a_code_does_not_match_when_it_is_not_that_of_the_row(code):
    assert not code_matches(BOTH, "step_up", ROW, code)


def test_a_code_does_not_follow_from_the_token_when_both_are_of_one_row():
    token = derive_token(BOTH, EMAIL_TOKEN_PREFIX, "magic_link", ROW)
    data = decode_base64url(token.removeprefix(EMAIL_TOKEN_PREFIX))
    assert data is not None
    assert derive_code(BOTH, "magic_link", ROW) != f"{int.from_bytes(data[16:24], 'big') % 1_000_000:06d}"


@given(st.uuids(), st.integers(0, 2**63 - 1))
def test_a_refresh_token_reads_back_when_genuine(sid, counter):
    token = make_refresh_token(KEY, sid, counter)
    parsed = parse_refresh_token(token)
    assert parsed is not None
    assert (parsed.sid, parsed.counter) == (sid, counter)
    assert refresh_tag_matches(KEY, parsed)
    assert not refresh_tag_matches(b"t" * 32, parsed)
    assert make_refresh_token(KEY, sid, counter) == token


def test_a_refresh_token_has_the_documented_form_when_made():
    body = ROW.bytes + (5).to_bytes(8, "big")
    expected = "luneo_rt_" + encode_base64url(body + hmac.digest(KEY, body, hashlib.sha256))
    assert make_refresh_token(KEY, ROW, 5) == expected


def test_a_refresh_tag_does_not_match_when_counter_or_session_were_changed():
    parsed = parse_refresh_token(make_refresh_token(KEY, ROW, 5))
    assert parsed is not None
    assert not refresh_tag_matches(KEY, RefreshToken(parsed.sid, 6, parsed.tag))
    assert not refresh_tag_matches(KEY, RefreshToken(uuid7(), 5, parsed.tag))


def test_a_refresh_token_is_none_when_its_counter_fits_no_column():
    body = ROW.bytes + (2**63).to_bytes(8, "big")
    assert parse_refresh_token("luneo_rt_" + encode_base64url(body + bytes(32))) is None


def test_a_refresh_token_is_none_when_malformed():
    token = make_refresh_token(KEY, ROW, 5)
    for text in (
        "",
        "luneo_rt_",
        token[:-1],
        token + "A",
        token + "=",
        token[9:],
        token + "\ud800",
        token * 10000,
    ):
        assert parse_refresh_token(text) is None


@given(ANY_TEXT)
def test_a_refresh_token_never_matches_when_the_text_is_arbitrary(text):
    for candidate in (text, "luneo_rt_" + text):
        parsed = parse_refresh_token(candidate)
        assert parsed is None or not refresh_tag_matches(KEY, parsed)
