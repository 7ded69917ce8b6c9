"""Web push: the example of RFC 8291, and who the messages are from."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.clients.outbound import check_url
from app.clients.push import (
    Browser,
    EndpointNotAllowed,
    Sender,
    check_endpoint,
    encrypt,
    read_auth,
    read_public_key,
    sender,
)
from app.core.config import Settings, get_settings
from tests.support.push import decrypt


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def private(text: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(raw(text), "big"), ec.SECP256R1())


RECEIVER_KEY = private("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94")
RECEIVER = Browser(
    endpoint="https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV",
    public_key=raw("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
    auth=raw("BTBZMqHH6r4Tts7J_aSIgg"),
)
PLAINTEXT = b"When I grow up, I want to be a watermelon"
ENCRYPTED = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
    "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
    "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_message_when_it_is_the_example_of_rfc_8291() -> None:
    made = encrypt(
        PLAINTEXT,
        RECEIVER,
        salt=raw("DGv6ra1nlYgDCS1FRnbzlw"),
        key=private("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
    )
    assert made == raw(ENCRYPTED)


@given(st.binary(max_size=3900))
def test_message_when_its_browser_reads_it(plaintext: bytes) -> None:
    sent = encrypt(plaintext, RECEIVER)
    assert decrypt(sent, RECEIVER_KEY, RECEIVER.auth) == plaintext
    assert len(sent) <= 4096


def test_message_when_it_is_sent_twice() -> None:
    assert encrypt(PLAINTEXT, RECEIVER) != encrypt(PLAINTEXT, RECEIVER)


def test_authorization_when_a_push_service_checks_it() -> None:
    identity = Sender.of("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94", "mailto:ops@luneo.test")
    header = identity.authorization(check_url("https://push.example.net/push/abc"))
    scheme, _, rest = header.partition(" ")
    parts = dict(part.split("=", 1) for part in rest.split(", "))
    head, claims, signature = parts["t"].split(".")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw(parts["k"]))
    numbers = raw(signature)
    key.verify(
        encode_dss_signature(int.from_bytes(numbers[:32], "big"), int.from_bytes(numbers[32:], "big")),
        f"{head}.{claims}".encode(),
        ec.ECDSA(hashes.SHA256()),
    )
    assert scheme == "vapid"
    assert json.loads(raw(head)) == {"typ": "JWT", "alg": "ES256"}
    said = json.loads(raw(claims))
    assert said["aud"] == "https://push.example.net"
    assert said["sub"] == "mailto:ops@luneo.test"


@pytest.mark.parametrize("text", ["", "AAAA", "zz", "*" * 43])
def test_private_key_when_it_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"VAPID_PRIVATE_KEY|private"):
        Sender.of(text, "mailto:ops@luneo.test")


@pytest.mark.parametrize(
    "url",
    [
        "https://fcm.googleapis.com/fcm/send/abc",
        "https://updates.push.services.mozilla.com/wpush/v2/abc",
        "https://web.push.apple.com/abc",
        "https://db5p.notify.windows.com/w/?token=abc",
        "https://wns2-par02p.notify.windows.com/w/?token=abc",
    ],
)
def test_endpoint_when_its_push_service_is_known(url: str) -> None:
    assert check_endpoint(url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/push",
        "https://push.apple.com.example.com/abc",
        "https://evilpush.apple.com/abc",
        "https://fcm.googleapis.com.example.com/",
        "https://x.fcm.googleapis.com/",
        "http://fcm.googleapis.com/fcm/send/abc",
        "https://user@fcm.googleapis.com/abc",
        "https://127.0.0.1/abc",
        "https://169.254.169.254/latest",
        "javascript:alert(1)",
        "",
    ],
)
def test_endpoint_when_it_is_none_of_a_push_service(url: str) -> None:
    with pytest.raises(EndpointNotAllowed):
        check_endpoint(url)


def test_endpoint_when_the_operator_knows_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "push_hosts", ["push.example.net"])
    assert check_endpoint("https://PUSH.example.net/abc").host == "push.example.net"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AAAA",
        "é",
        base64.urlsafe_b64encode(b"\x04" + b"\x01" * 64).decode().rstrip("="),
        base64.urlsafe_b64encode(b"\x02" + RECEIVER.public_key[1:33]).decode().rstrip("="),
    ],
)
def test_public_key_when_it_is_no_point(text: str) -> None:
    assert read_public_key(text) is None


@pytest.mark.parametrize("text", ["", "AAAA", "BTBZMqHH6r4Tts7J_aSIgg0000", "é" * 22])
def test_auth_when_it_is_no_secret(text: str) -> None:
    assert read_auth(text) is None


@pytest.mark.parametrize(
    "values",
    [
        {"vapid_private_key": ""},
        {"vapid_private_key": "x"},
        {"vapid_private_key": "A" * 43},
        {"vapid_private_key": "_" * 43},
        {"vapid_private_key": "é" * 43},
        {"vapid_private_key": "*" * 43},
        {"vapid_subject": "ops@luneo.test"},
        {"vapid_subject": "http://luneo.test"},
    ],
)
def test_settings_when_push_is_set_up_wrongly(values: dict[str, str]) -> None:
    """The start stops, and no request does."""
    with pytest.raises(ValidationError):
        Settings(**values)  # type: ignore[arg-type]  # what an environment holds is text


def test_settings_when_push_is_set_up_rightly() -> None:
    settings = Settings(
        vapid_private_key="q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94",
        vapid_subject="https://luneo.test/contact",
    )
    assert settings.vapid_private_key is not None


def test_own_key_when_development_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "data_dir", tmp_path / "data")
    first = sender()
    assert first is not None
    assert sender() is first
    kept = tmp_path / "data" / "vapid_private_key"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_own_key_when_it_is_production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "data_dir", tmp_path)
    monkeypatch.setattr(get_settings(), "environment", "production")
    assert sender() is None
    assert list(tmp_path.iterdir()) == []
