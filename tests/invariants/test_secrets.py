"""Invariant: no secret has a value that everybody knows, and production does not start without its own."""

import base64
import hashlib
import re
from typing import Any

import pytest
from pydantic import ValidationError

from app.core.config import PLACEHOLDERS, Settings

SECRET_NAME = re.compile(r"key|secret|token|password|credential|dsn")

CREDENTIALS = {"database_url", "database_listen_url", "redis_url", "smtp_url"}
"""Addresses that carry a password."""

NO_SECRETS = {
    "access_token_seconds": "How long a token lives.",
    "limit_bad_token_ip": "A rate limit.",
    "limit_password_change": "A rate limit.",
    "limit_invitation_token": "A rate limit.",
    "password_breach_check": "A switch.",
    "password_min_length": "A length.",
    "password_hash_concurrency": "A number of threads.",
    "stripe_allow_test_key": "A switch.",
}
"""Settings that are only named like secrets."""

GOOD_KEY = f"k1:{base64.b64encode(hashlib.sha256(b'a good key').digest()).decode()}"
PRODUCTION = {
    "environment": "production",
    "secret_keys": GOOD_KEY,
    "public_url": "https://api.luneo.app",
    "app_url": "https://app.luneo.app",
    "database_url": "postgresql://luneo:x7Gq@db/luneo",
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the suite sets for itself must not help these tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


def secret_fields() -> set[str]:
    named = {name for name in Settings.model_fields if SECRET_NAME.search(name)}
    return (named - set(NO_SECRETS)) | (CREDENTIALS & set(Settings.model_fields))


def test_defaults_when_a_setting_is_secret() -> None:
    assert len(secret_fields()) >= 5
    wrong = [
        f"{name} defaults to {Settings.model_fields[name].default!r}: make it None, or add it to NO_SECRETS"
        for name in sorted(secret_fields())
        if Settings.model_fields[name].get_default(call_default_factory=True, validated_data={}) is not None
    ]
    assert not wrong, "\n".join(wrong)


def test_exceptions_when_the_setting_is_gone() -> None:
    unknown = set(NO_SECRETS) - {name for name in Settings.model_fields if SECRET_NAME.search(name)}
    assert not unknown, f"{unknown} are no settings that are named like secrets: take them out of NO_SECRETS"


def test_production_when_everything_is_set() -> None:
    assert settings(**PRODUCTION).environment == "production"


@pytest.mark.parametrize("missing", ["secret_keys", "public_url", "database_url"])
def test_production_when_something_is_missing(missing: str) -> None:
    values = {name: value for name, value in PRODUCTION.items() if name != missing}
    with pytest.raises(ValidationError, match=missing.upper()):
        settings(**values)


def test_development_when_nothing_is_set(tmp_path: Any) -> None:
    """Keys are made, kept and never the same on two machines."""
    first = settings(data_dir=tmp_path / "a").key_ring_text()
    assert settings(data_dir=tmp_path / "a").key_ring_text() == first
    assert settings(data_dir=tmp_path / "b").key_ring_text() != first


KNOWN_KEYS = [
    "",
    "k1:",
    "k1:changeme",
    "k1:" + base64.b64encode(b"\0" * 32).decode(),
    "k1:" + base64.b64encode(b"changeme" * 4).decode(),
    "k1:" + base64.b64encode(b"short").decode(),
    "k1:not base64",
    GOOD_KEY + ",k0:" + base64.b64encode(b"a" * 32).decode(),
]


@pytest.mark.parametrize("keys", KNOWN_KEYS)
def test_production_when_a_key_is_a_placeholder(keys: str) -> None:
    with pytest.raises(ValidationError, match="SECRET_KEYS"):
        settings(**{**PRODUCTION, "secret_keys": keys})


@pytest.mark.parametrize("word", sorted(PLACEHOLDERS))
@pytest.mark.parametrize("name", sorted(secret_fields() - CREDENTIALS))
def test_production_when_a_secret_is_a_placeholder(name: str, word: str) -> None:
    with pytest.raises(ValidationError, match=f"(?i){name}"):
        settings(**{**PRODUCTION, name: word})


def test_sandbox_when_in_production() -> None:
    assert not settings(**PRODUCTION).has_sandbox
    assert settings().has_sandbox
