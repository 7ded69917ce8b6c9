"""Codes of second factors by themselves: which step a code is of, and how backup codes are read."""

from datetime import UTC, datetime, timedelta

import pytest
from pyotp import TOTP

from app.core.ids import uuid7
from app.models.auth import MfaFactor
from app.services.auth.second_factor import with_second_factor
from app.services.auth.second_factor.backup_codes import ALPHABET, COUNT, new_codes, split
from app.services.auth.second_factor.totp import base32, matching_step, seal_secret, step_of

RFC_SECRET = b"12345678901234567890"
RFC_CODES = {1111111109: "081804", 1234567890: "005924", 2000000000: "279037"}
"""The last six digits of the table in RFC 6238, appendix B, for SHA-1."""


def factor(*, last_used_step: int = -1) -> MfaFactor:
    identifier = uuid7()
    return MfaFactor(
        id=identifier, secret_sealed=seal_secret(identifier, RFC_SECRET), last_used_step=last_used_step
    )


@pytest.mark.parametrize(("seconds", "code"), RFC_CODES.items())
def test_code_when_it_is_one_of_the_standard(seconds: int, code: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    assert matching_step(factor(), code, now) == seconds // 30
    assert matching_step(factor(), code, now + timedelta(seconds=90)) is None
    assert matching_step(factor(), code, now - timedelta(seconds=90)) is None


def test_code_when_a_step_was_used() -> None:
    now = datetime(2026, 11, 20, 12, 0, 10, tzinfo=UTC)
    present = step_of(now)
    totp = TOTP(base32(RFC_SECRET))
    for used in (present - 1, present, present + 1):
        found = [
            matching_step(factor(last_used_step=used), totp.generate_otp(present + n), now)
            for n in (-1, 0, 1)
        ]
        assert found == [present + n if present + n > used else None for n in (-1, 0, 1)]


@pytest.mark.parametrize("code", ["", "0", "é", "１２３４５６", "2870820", "287082 "])
def test_code_when_it_is_no_code(code: str) -> None:
    assert matching_step(factor(), code, datetime.fromtimestamp(59, UTC)) is None


def test_backup_codes_when_they_are_made() -> None:
    codes = new_codes()
    assert len(codes) == len({code[:4] for code in codes}) == COUNT
    for code in codes:
        assert [len(part) for part in code.split("-")] == [4, 4, 4]
        assert set(code) <= set(ALPHABET) | {"-"}
        selector, secret = split(code)
        assert split(code.lower().replace("-", "")) == (selector, secret)
        assert f"{selector}{secret}" == code.replace("-", "")


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ("K7QF-9XWT-3HJM", ("K7QF", "9XWT3HJM")),
        ("k7qf9xwt3hjm", ("K7QF", "9XWT3HJM")),
        ("oilo-0000-1111", ("0110", "00001111")),
        ("K7QF-9XWT-3HJM-9999", ("K7QF", "9XWT3HJM9999")),
        ("", ("", "")),
    ],
)
def test_backup_code_when_it_is_typed(typed: str, parts: tuple[str, str]) -> None:
    assert split(typed) == parts


def test_methods_when_a_second_factor_is_added() -> None:
    assert with_second_factor(("pwd",)) == ("pwd", "otp", "mfa")
    assert with_second_factor(("otp",)) == ("otp", "mfa")
    assert with_second_factor(("pwd", "otp", "mfa")) == ("pwd", "otp", "mfa")
