"""The signature of Stripe's webhooks is verified on bytes, and never by anything but InvalidSignature."""

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from app.clients.stripe.signature import InvalidSignature, sign, verify

BODY = '{"id": "evt_1", "name": "Zoë"}'.encode()
SECRET = "whsec_abc"
NOW = 1_800_000_000


def header(timestamp: int = NOW, secret: str = SECRET, body: bytes = BODY) -> bytes:
    return sign(body, secret, timestamp).encode()


def test_signature_when_stripe_made_it() -> None:
    """The library's own function signs what we verify, and verifies what we sign."""
    made = stripe.WebhookSignature._compute_signature(f"{NOW}.{BODY.decode()}", SECRET)
    verify([f"t={NOW},v1={made},v0=ignored".encode()], BODY, [SECRET], NOW)
    assert stripe.WebhookSignature.verify_header(BODY, sign(BODY, SECRET, NOW), SECRET)


@pytest.mark.parametrize("drift", [-300, 0, 300])
def test_signature_when_the_time_is_near(drift: int) -> None:
    verify([header(NOW + drift)], BODY, ["whsec_new", SECRET], NOW)


GOOD = header().decode()
DIGEST = GOOD.partition("v1=")[2]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [GOOD.encode()] * 2,
        [header(NOW + 301)],
        [header(NOW - 301)],
        [header(secret="whsec_other")],
        [header(body=BODY + b" ")],
        [b""],
        [b"t=,v1="],
        [f"v1={DIGEST}".encode()],
        [f"t={NOW}".encode()],
        [f"t={NOW},t={NOW},v1={DIGEST}".encode()],
        [f"t=0x10,v1={DIGEST}".encode()],
        [f"t=-{NOW},v1={DIGEST}".encode()],
        [f"t={'9' * 13},v1={DIGEST}".encode()],
        [f"t={NOW},v1={DIGEST.upper()}".encode()],
        [f"t={NOW},v1={DIGEST}x".encode()],
        [f"t={NOW},v0={DIGEST}".encode()],
        [f"t={NOW},".encode() + b",".join([b"v1=" + DIGEST.encode()] * 11)],
        [f"t={NOW},v1={DIGEST}".encode() + b",v9=" + b"x" * 4096],
        ["t=١٢٣,v1=é".encode()],
        [b"t=\xff\xfe"],
    ],
)
def test_signature_when_the_header_is_bad(headers: list[bytes]) -> None:
    with pytest.raises(InvalidSignature):
        verify(headers, BODY, [SECRET], NOW)


def test_signature_when_there_is_no_secret() -> None:
    with pytest.raises(InvalidSignature):
        verify([header()], BODY, [], NOW)


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_signature_when_the_header_is_anything(value: bytes, body: bytes) -> None:
    with pytest.raises(InvalidSignature):
        verify([value], body, [SECRET], NOW)
