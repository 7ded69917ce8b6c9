"""Access tokens: what this service signed comes back, everything else ends in one of two refusals."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from jose import jwt

from app.core.crypto import (
    AccessClaims,
    AccessTokenExpired,
    AccessTokenInvalid,
    KeyRing,
    access_tokens,
    issue_access_token,
    verify_access_token,
)

ISSUER = "https://api.luneo.test"
NOW = datetime(2026, 3, 1, 12, 0, 0, 900_000, tzinfo=UTC)
USER = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
SESSION = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
OLD = KeyRing({"old": b"o" * 32})
RING = KeyRing({"new": b"n" * 32, "old": b"o" * 32})


def issue(ring: KeyRing = RING, seconds: int = 600) -> str:
    return issue_access_token(ring, user_id=USER, session_id=SESSION, issuer=ISSUER, now=NOW, seconds=seconds)


def verify(token: str, ring: KeyRing = RING, now: datetime = NOW) -> AccessClaims:
    return verify_access_token(ring, token, issuer=ISSUER, now=now)


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def header(**changes: Any) -> dict[str, Any]:
    values = {"alg": "HS256", "kid": "new", "typ": "at+jwt", **changes}
    return {name: value for name, value in values.items() if value is not None}


def claims(**changes: Any) -> dict[str, Any]:
    start = int(NOW.timestamp())
    values = {
        "sub": str(USER), "sid": str(SESSION), "iat": start, "exp": start + 600, "iss": ISSUER,
        "aud": "luneo-api", **changes,
    }  # fmt: skip
    return {name: value for name, value in values.items() if value is not None}


def sign(head: Any, body: Any, key: bytes | None = None) -> str:
    """A token signed with the service's own newest key, whatever it says."""
    text = f"{segment(head)}.{segment(body)}"
    return f"{text}.{segment(hmac.digest(key or RING.derive('jwt'), text.encode(), hashlib.sha256))}"


def test_a_token_comes_back_when_genuine():
    token = issue()
    expires_at = datetime(2026, 3, 1, 12, 10, tzinfo=UTC)
    assert verify(token) == AccessClaims(USER, SESSION, expires_at)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "kid": "new", "typ": "at+jwt"}
    assert jwt.get_unverified_claims(token) == claims()


def test_a_token_made_by_hand_is_accepted_when_it_is_exactly_ours():
    assert verify(sign(header(), claims())).user_id == USER


def test_a_token_is_accepted_when_signed_with_an_older_key_of_the_ring():
    token = issue(OLD)
    assert jwt.get_unverified_header(token)["kid"] == "old"
    assert verify(token).session_id == SESSION


def test_a_token_is_invalid_when_its_key_left_the_ring():
    with pytest.raises(AccessTokenInvalid):
        verify(issue(RING), ring=OLD)


def test_a_token_is_invalid_when_the_ring_has_another_key_of_the_same_id():
    token = issue()
    verify(token)
    with pytest.raises(AccessTokenInvalid):
        verify(token, ring=KeyRing({"new": b"x" * 32}))


@pytest.mark.parametrize("offset", [-3600, 0, 599, 609])
def test_a_token_is_good_when_within_its_time_and_the_leeway(offset):
    assert verify(issue(), now=NOW + timedelta(seconds=offset)).user_id == USER


@pytest.mark.parametrize("offset", [610, 611, 10**6])
def test_a_token_is_expired_when_past_its_time_and_the_leeway(offset):
    with pytest.raises(AccessTokenExpired):
        verify(issue(), now=NOW + timedelta(seconds=offset))


def test_a_token_expires_when_it_was_verified_before_and_is_remembered():
    token = issue()
    verify(token)
    with pytest.raises(AccessTokenExpired):
        verify(token, now=NOW + timedelta(seconds=611))
    with pytest.raises(AccessTokenExpired):
        verify(token, now=NOW + timedelta(seconds=611))


def test_a_token_is_invalid_when_another_issuer_is_expected():
    token = issue()
    verify(token)
    with pytest.raises(AccessTokenInvalid):
        verify_access_token(RING, token, issuer="https://other.test", now=NOW)


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "HS384", "HS512", "RS256", "ES256", 5, ["HS256"]]
)
def test_a_token_is_invalid_when_its_algorithm_is_not_hs256(algorithm):
    for token in (
        sign(header(alg=algorithm), claims()),
        f"{segment(header(alg=algorithm))}.{segment(claims())}.",
        f"{segment(header(alg=algorithm))}.{segment(claims())}.AA",
    ):
        with pytest.raises(AccessTokenInvalid):
            verify(token)


def test_a_token_is_invalid_when_signed_with_rs256_or_with_a_public_key_as_secret():
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    by_rsa = jwt.encode(claims(), pem, algorithm="RS256", headers={"kid": "new", "typ": "at+jwt"})
    for token in (by_rsa, sign(header(), claims(), key=public), sign(header(), claims(), key=b"n" * 32)):
        with pytest.raises(AccessTokenInvalid):
            verify(token)


@pytest.mark.parametrize(
    "changes",
    [
        {"typ": None}, {"typ": "JWT"}, {"typ": 1}, {"kid": None}, {"kid": "other"}, {"kid": 1},
        {"kid": ["new"]}, {"kid": {"a": 1}}, {"kid": "old"}, {"alg": None}, {"crit": ["exp"]},
    ],
)  # fmt: skip
def test_a_token_is_invalid_when_its_header_is_not_ours(changes):
    with pytest.raises(AccessTokenInvalid):
        verify(sign(header(**changes), claims()))


def test_keys_named_in_the_header_are_ignored_when_the_signature_is_theirs():
    foreign = b"f" * 32
    for naming in (
        {"jwk": {"kty": "oct", "k": segment(foreign)}},
        {"jku": "http://127.0.0.1:9/keys"},
        {"x5u": "http://127.0.0.1:9/cert"},
    ):
        with pytest.raises(AccessTokenInvalid):
            verify(sign(header(**naming), claims(), key=foreign))


@pytest.mark.parametrize("name", ["sub", "sid", "iat", "exp", "iss", "aud"])
@pytest.mark.parametrize(
    "value",
    [None, "", "5", -1, True, 1.5, 1e300, float("inf"), 10**30, [], ["luneo-api"], {}, "other", "\x00"],
)
def test_a_token_is_invalid_when_a_claim_is_missing_or_of_another_kind(name, value):
    with pytest.raises(AccessTokenInvalid):
        verify(sign(header(), claims(**{name: value})))


def test_a_token_is_invalid_when_it_carries_more_claims_or_ends_before_it_begins():
    with pytest.raises(AccessTokenInvalid):
        verify(sign(header(), claims(role="owner")))
    with pytest.raises(AccessTokenInvalid):
        verify(sign(header(), claims(exp=int(NOW.timestamp()) - 1)))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"5", b"{", b"\xff\xfe", b"[" * 700, b'{"exp":Infinity}']
)
def test_a_token_is_invalid_when_its_payload_is_not_a_json_object(body):
    with pytest.raises(AccessTokenInvalid):
        verify(sign(header(), body))


@pytest.mark.parametrize(
    "head", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 700, b"[" * 100_000, b'{"alg":' * 120]
)
def test_a_token_is_invalid_when_its_header_is_not_a_json_object(head):
    with pytest.raises(AccessTokenInvalid):
        verify(sign(head, claims()))


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "\ud800.a.b", "a\x00.b.c", "Bearer x.y.z",
        "a" * 10**6, "a" * 10**6 + ".b.c", "a." * 10**5, " ", "\n",
    ],
)  # fmt: skip
def test_a_token_is_invalid_when_the_text_has_another_shape(text):
    with pytest.raises(AccessTokenInvalid):
        verify(text)


def test_a_token_is_invalid_when_it_is_huge_though_well_signed():
    with pytest.raises(AccessTokenInvalid):
        verify(sign(header(), claims(sub="x" * 100_000)))


def test_a_token_is_invalid_when_any_character_is_changed_added_or_missing():
    token = issue()
    for position, character in enumerate(token):
        for changed in (
            token[:position] + ("A" if character != "A" else "B") + token[position + 1 :],
            token[:position] + token[position + 1 :],
            token[:position] + "=" + token[position:],
            token[:position] + "\n" + token[position:],
        ):
            with pytest.raises(AccessTokenInvalid):
                verify(changed)


@given(
    st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9_\-]{0,80}(\.[A-Za-z0-9_\-]{0,80}){0,4}", fullmatch=True))
)
def test_verifying_raises_only_invalid_when_the_text_is_arbitrary(text):
    with pytest.raises(AccessTokenInvalid):
        verify(text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk"]), JSON_VALUES, max_size=3),
    st.dictionaries(
        st.sampled_from(["sub", "sid", "iat", "exp", "iss", "aud", "nbf"]), JSON_VALUES, min_size=1
    ),
)
def test_verifying_raises_no_third_error_when_we_signed_arbitrary_json(head, body):
    token = sign({**header(), **head}, {**claims(), **body})
    try:
        verified = verify(token)
    except (AccessTokenInvalid, AccessTokenExpired):
        return
    # An earlier `iat` is as good as the right one; nothing else may have changed the meaning.
    assert (verified.user_id, verified.session_id) == (USER, SESSION)


def test_the_memory_of_verified_tokens_stays_bounded_when_many_are_verified(monkeypatch):
    memory = access_tokens._VerifiedTokens(3)
    monkeypatch.setattr(access_tokens, "_verified", memory)
    tokens = [issue(seconds=600 + number) for number in range(10)]
    for token in tokens:
        verify(token)
    assert len(memory) == 3
    assert memory.get((RING, ISSUER, tokens[-1])) is not None
    assert memory.get((RING, ISSUER, tokens[0])) is None


def test_failures_are_not_remembered_when_tokens_are_refused(monkeypatch):
    memory = access_tokens._VerifiedTokens(100)
    monkeypatch.setattr(access_tokens, "_verified", memory)
    for bad in ("a.b.c", sign(header(), claims(role="owner"))):
        with pytest.raises(AccessTokenInvalid):
            verify(bad)
    with pytest.raises(AccessTokenExpired):
        verify(issue(), now=NOW + timedelta(days=1))
    assert len(memory) == 0
