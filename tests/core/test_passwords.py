"""Passwords: hashing and verifying with real argon2id and bcrypt, and the rules for new ones."""

import asyncio
import threading
import unicodedata

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from passlib.context import CryptContext
from structlog.testing import capture_logs

from app.core import passwords
from app.core.passwords import (
    DUMMY_HASH,
    PasswordProblem,
    Verified,
    hash_password,
    password_problems,
    verify_password,
)
from tests.support.accounts import counted_hashes

ARGON2ID = "$argon2id$v=19$m=19456,t=2,p=1$"


def bcrypt_hash(secret: bytes, identifier: bytes = b"2b") -> str:
    """A hash as another system's import would bring it, with few rounds to save time."""
    return bcrypt.hashpw(secret, bcrypt.gensalt(4)).replace(b"$2b$", b"$" + identifier + b"$").decode()


def codes(
    password: str, email: str = "a@b.test", full_name: str | None = None, minimum: int = 8
) -> list[str]:
    problems = password_problems(password, email=email, full_name=full_name, minimum=minimum)
    return [problem.code for problem in problems]


async def test_a_hash_is_argon2id_with_the_documented_costs_when_made():
    hashed = await hash_password("correct horse")
    assert hashed.startswith(ARGON2ID)
    assert await hash_password("correct horse") != hashed
    assert await verify_password("correct horse", hashed) == Verified(True, None)
    assert await verify_password("correct horsf", hashed) == Verified(False, None)


def test_the_dummy_hash_costs_as_much_as_a_real_one_when_verified():
    assert DUMMY_HASH.startswith(ARGON2ID)
    assert not passwords._context.needs_update(DUMMY_HASH)


async def test_verifying_computes_as_much_when_there_is_no_account(monkeypatch: pytest.MonkeyPatch):
    """One argon2id of the documented costs, whatever it is compared with: the test above looks at those."""
    hashed = await hash_password("correct horse")
    for stored in (None, hashed):
        with counted_hashes(monkeypatch) as computed:
            assert await verify_password("wrong horse", stored) == Verified(False, None)
        assert computed == ["verify"]


async def test_a_password_fits_when_typed_as_other_code_points():
    hashed = await hash_password(unicodedata.normalize("NFD", "Zürich-Käse"))
    assert (await verify_password(unicodedata.normalize("NFC", "Zürich-Käse"), hashed)).ok
    assert (await verify_password("\uff3aürich-Käse", hashed)).ok
    assert not (await verify_password("Zurich-Kase", hashed)).ok


async def test_nothing_is_truncated_when_a_password_is_long():
    hashed = await hash_password("x" * 127 + "a")
    assert not (await verify_password("x" * 127 + "b", hashed)).ok
    assert not (await verify_password("x" * 127, hashed)).ok


@pytest.mark.parametrize("identifier", [b"2b", b"2a", b"2y"])
async def test_a_bcrypt_hash_is_replaced_by_argon2id_when_it_fits(identifier):
    verified = await verify_password("old password", bcrypt_hash(b"old password", identifier))
    assert verified.ok
    assert verified.new_hash is not None
    assert verified.new_hash.startswith(ARGON2ID)
    assert await verify_password("old password", verified.new_hash) == Verified(True, None)


async def test_a_bcrypt_hash_is_kept_when_the_password_is_wrong():
    assert await verify_password("new password", bcrypt_hash(b"old password")) == Verified(False, None)


@pytest.mark.parametrize("length", [71, 72, 73, 128, 300])
async def test_a_bcrypt_hash_fits_on_its_first_72_bytes_when_the_password_is_longer(length):
    text = ("a" * 71 + "é" * 300)[:length]
    stored = bcrypt_hash(text.encode()[:72])
    verified = await verify_password(text, stored)
    assert verified.ok
    assert verified.new_hash is not None
    assert (await verify_password(text, verified.new_hash)).ok
    assert not (await verify_password(text + "!", verified.new_hash)).ok
    assert not (await verify_password("b" + text[1:], stored)).ok


async def test_an_outdated_argon2_hash_is_replaced_when_it_fits():
    weak = CryptContext(["argon2"], argon2__memory_cost=1024, argon2__time_cost=1, argon2__parallelism=1)
    verified = await verify_password("correct horse", weak.hash("correct horse"))
    assert verified.ok
    assert verified.new_hash is not None
    assert verified.new_hash.startswith(ARGON2ID)


@pytest.mark.parametrize(
    "text", ["", "\x00", "old\x00password", "\ud800", "é" * 100, "x" * 1024, "x" * 10**6, "ﷺ" * 1000]
)
async def test_verifying_says_no_and_never_raises_when_the_text_is_odd(text):
    for stored in (None, bcrypt_hash(b"old"), await hash_password("old password")):
        assert await verify_password(text, stored) == Verified(False, None)


@pytest.mark.parametrize(
    "stored", ["", "garbage", "$2x$04$" + "a" * 53, "$2b$04$short", "$argon2id$broken", "é"]
)
async def test_a_stored_hash_that_cannot_be_read_is_logged_when_met(stored):
    with capture_logs() as lines:
        assert await verify_password("old password", stored) == Verified(False, None)
    assert [line["event"] for line in lines] == ["password_hash_unreadable"]
    assert "old password" not in repr(lines)


async def test_odd_characters_are_part_of_a_password_when_hashed():
    for text in ("nul\x00byte", "lone \ud800", "😀" * 30):
        hashed = await hash_password(text)
        assert (await verify_password(text, hashed)).ok
        assert not (await verify_password(text[:-1], hashed)).ok


@pytest.mark.parametrize("text", ["x" * 1025, "x" * 10**6])
async def test_a_text_far_too_long_is_refused_when_hashed(text):
    with pytest.raises(ValueError, match="too long"):
        await hash_password(text)


async def test_hashes_run_beside_the_event_loop_when_several_are_asked_for(monkeypatch: pytest.MonkeyPatch):
    compute, has_loop_gone_on = passwords._context.hash, threading.Event()

    def compute_later(secret: bytes) -> str:
        assert has_loop_gone_on.wait(60), "the loop waits for the hash"
        return str(compute(secret))

    monkeypatch.setattr(passwords._context, "hash", compute_later)
    hashing = asyncio.gather(*(hash_password(f"password {number}") for number in range(8)))
    await asyncio.sleep(0.01)
    assert not hashing.done()
    has_loop_gone_on.set()
    assert len(set(await hashing)) == 8


@pytest.mark.parametrize(
    "password",
    [
        "correct horse",
        "ünïcödé!",
        "😀" * 8,
        "        x",
        "a" * 128,
        "\x00" * 8,
        "12345678901x",
        "e\u0301" * 128,
    ],
)
def test_a_password_is_accepted_when_it_breaks_no_rule(password):
    assert codes(password) == []


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("", ["too_short"]),
        ("x7-Kq9z", ["too_short"]),
        ("e\u0301" * 7, ["too_short"]),
        ("x" * 129, ["too_long"]),
        ("x" * 10**6, ["too_long"]),
        ("ﷺ" * 30, ["too_long"]),
        ("password", ["common"]),
        ("PassWord", ["common"]),
        ("\uff50assword", ["common"]),
        ("123456", ["too_short", "common"]),
        ("my-luneo-login", ["context"]),
        ("AURORA50x", ["context"]),
    ],
)
def test_a_password_is_refused_with_its_codes_when_it_breaks_rules(password, expected):
    assert codes(password) == expected


def test_the_minimum_counts_when_it_was_raised():
    assert codes("x7-Kq9zab", minimum=12) == ["too_short"]
    problem = password_problems("x7-Kq9zab", email="a@b.test", full_name=None, minimum=12)[0]
    assert problem == PasswordProblem("too_short", "A password has at least 12 characters.")


@pytest.mark.parametrize(
    ("email", "full_name", "password", "expected"),
    [
        ("alice@b.test", None, "my-Alice-2026", ["context"]),
        ("alice@b.test", None, "alicealice", ["context"]),
        ("bob@b.test", None, "bob-is-here-77", []),
        ("x@b.test", "Ana Ruiz", "hello ana ruiz!", ["context"]),
        ("x@b.test", "Ana Ruiz", "hello-AnaRuiz!", ["context"]),
        ("x@b.test", "Ana Ruiz", "hello-Ana-77!", []),
        ("x@b.test", "Jörg Straße", "jo\u0308rg STRASSE 9", ["context"]),
        ("x@b.test", "   ", "hello there 77", []),
        ("x@b.test", "", "hello there 77", []),
    ],
)
def test_a_password_is_refused_when_it_contains_its_owner(email, full_name, password, expected):
    assert codes(password, email=email, full_name=full_name) == expected


@given(st.text(max_size=200), st.text(max_size=50))
def test_judging_never_raises_or_echoes_when_given_any_text(password, full_name):
    for problem in password_problems(password, email="alice@b.test", full_name=full_name, minimum=8):
        assert len(password) < 6 or password not in problem.detail
        assert problem.detail.endswith(".")
