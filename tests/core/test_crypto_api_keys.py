"""The format of API keys: what it promises, and what it refuses before anything is looked up."""

import random
import zlib

import pytest

from app.core.config import Settings, get_settings
from app.core.crypto.api_keys import (
    ALPHABET,
    hash_api_key,
    is_api_key,
    looks_like_api_key,
    make_api_key,
    prefix_of,
)

SETTINGS = get_settings()
LIVE = SETTINGS.model_copy(update={"environment": "production"})


def test_key_when_it_is_made() -> None:
    keys = {make_api_key(SETTINGS) for _ in range(500)}
    assert len(keys) == 500
    for key in keys:
        assert len(key) == 11 + 36 + 6
        assert is_api_key(key, SETTINGS)
        number = 0
        for digit in key[-6:]:
            number = number * 62 + ALPHABET.index(digit)
        assert number == zlib.crc32(key[:-6].encode())
    assert len({hash_api_key(key) for key in keys}) == 500


@pytest.mark.parametrize(("settings", "prefix"), [(SETTINGS, "luneo_test_"), (LIVE, "luneo_live_")])
def test_prefix_when_an_installation_makes_keys(settings: Settings, prefix: str) -> None:
    assert prefix_of(settings) == prefix
    assert make_api_key(settings).startswith(prefix)


def test_key_when_it_belongs_to_the_other_installation() -> None:
    assert not is_api_key(make_api_key(LIVE), SETTINGS)
    assert not is_api_key(make_api_key(SETTINGS), LIVE)


def test_key_when_a_character_is_mistyped() -> None:
    chance = random.Random(7)
    for _ in range(2000):
        key = make_api_key(SETTINGS)
        place = chance.randrange(11, len(key))
        other = chance.choice(ALPHABET.replace(key[place], ""))
        assert not is_api_key(key[:place] + other + key[place + 1 :], SETTINGS)


def test_key_when_its_shape_is_another() -> None:
    key = make_api_key(SETTINGS)
    for other in ("", key[:-1], key + "0", key + "\n", " " + key, key.upper(), "luneo_test_", key[:-1] + "é"):
        assert not is_api_key(other, SETTINGS)


def test_bearer_token_when_it_is_no_key() -> None:
    assert looks_like_api_key("luneo_live_x")
    assert looks_like_api_key("luneo_test_")
    assert not looks_like_api_key("luneo_rt_x")
    assert not looks_like_api_key("eyJ.x.y")
