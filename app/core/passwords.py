"""Owns passwords: how they are hashed and verified, and which ones are refused."""

import asyncio
import os
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import structlog
from passlib.context import CryptContext
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from app.core.config import get_settings

logger = structlog.get_logger(__name__)

T = TypeVar("T")

LONGEST_PASSWORD = 128
"""In code points after NFKC."""

# Normalising costs more than linear time for some texts, so a longer one is refused as it stands. Composing
# can shorten a text several times over, hence the distance from the real limit.
_LONGEST_RAW_TEXT = 1024
_LONGEST_SECRET_BYTES = 4096
_BCRYPT_BYTES = 72
_SHORTEST_CONTEXT = 4
_PRODUCT_WORDS = ("luneo", "aurora50")

# argon2id with 19 MiB, 2 passes and 1 lane: the second recommended setting of OWASP's password storage sheet.
_context = CryptContext(
    schemes=["argon2", "bcrypt"],
    deprecated=["bcrypt"],
    argon2__type="ID",
    argon2__memory_cost=19_456,
    argon2__time_cost=2,
    argon2__parallelism=1,
)

# The hash of random bytes that nobody kept, ready made, so that verifying against it is one piece of work.
DUMMY_HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$6P0/JwQAgDAGAMB4TylFKA$UZAER+4Wcgl5wG8hfrdaQ25kFySPcp/2gLBNSIlrGH0"
)

ProblemCode = Literal["too_short", "too_long", "common", "context", "breached"]


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether a password fits its hash, and the hash to keep from now on if the old one is outdated."""

    ok: bool
    new_hash: str | None = None


@dataclass(frozen=True, slots=True)
class PasswordProblem:
    """One reason to refuse a password: a stable code and a sentence that may be shown."""

    code: ProblemCode
    detail: str


async def hash_password(text: str) -> str:
    """Return the argon2id hash of a password; ValueError when it is too long to be one.

    Runs in a thread, at most `PASSWORD_HASH_CONCURRENCY` at once, because a hash takes 19 MiB and some 20 ms.
    """
    secret = _secret(text)
    if secret is None:
        raise ValueError("The password is too long to be hashed.")
    return await _in_thread(lambda: _hash(secret))


async def verify_password(text: str, hashed: str | None) -> Verified:
    """Say whether the password fits the hash; with None (no such account) do the same work and say no.

    A bcrypt hash, which only an import can have brought, is compared with the first 72 bytes, as bcrypt
    always did; its `new_hash` is argon2id over the whole password.
    """
    secret = _secret(text)
    return await _in_thread(lambda: _verify(secret, hashed))


def password_problems(
    password: str, *, email: str, full_name: str | None, minimum: int
) -> list[PasswordProblem]:
    """Return every reason to refuse a new password; an empty list when it is good.

    `minimum` is in code points after NFKC. Any character is allowed and no mixture is demanded
    (NIST SP 800-63B, 3.1.1.2). Frequent passwords come from the list of the zxcvbn package.
    """
    if len(password) > _LONGEST_RAW_TEXT or len(normalise(password)) > LONGEST_PASSWORD:
        return [PasswordProblem("too_long", f"A password has at most {LONGEST_PASSWORD} characters.")]
    problems = []
    normalised = normalise(password)
    folded = normalised.casefold()
    if len(normalised) < minimum:
        problems.append(PasswordProblem("too_short", f"A password has at least {minimum} characters."))
    if folded in _common_passwords():
        problems.append(PasswordProblem("common", "This password is one of the most frequent ones."))
    if any(word in folded for word in _context_words(email, full_name)):
        detail = "A password must not contain your name, your e-mail address or the name of this service."
        problems.append(PasswordProblem("context", detail))
    return problems


def normalise(text: str) -> str:
    """The form in which passwords are hashed, compared and measured.

    The same one may be typed as other code points on another keyboard (NIST SP 800-63B, 3.1.1.2).
    """
    return unicodedata.normalize("NFKC", text)


def _secret(text: str) -> bytes | None:
    """Return the bytes that are hashed, or None for a text too long to be anybody's password."""
    if len(text) > _LONGEST_RAW_TEXT:
        return None
    # A lone surrogate has no UTF-8 form of its own; this way every text has exactly one form.
    secret = normalise(text).encode("utf-8", "surrogatepass")
    return secret if len(secret) <= _LONGEST_SECRET_BYTES else None


def _hash(secret: bytes) -> str:
    hashed: str = _context.hash(secret)
    return hashed


def _verify(secret: bytes | None, hashed: str | None) -> Verified:
    if secret is None or hashed is None:
        return _refuse(secret or b"")
    try:
        if _context.identify(hashed) != "bcrypt":
            ok, new_hash = _context.verify_and_update(secret, hashed)
            return Verified(ok, new_hash)
        first = secret[:_BCRYPT_BYTES]
        # bcrypt 5 raises for longer input where it once cut silently, and libpass refuses NUL.
        if b"\x00" not in first and _context.verify(first, hashed):
            return Verified(True, _hash(secret))
        return Verified(False)
    except ValueError:
        # Not what the caller sent, but the row: without this line nobody would learn why the sign-in fails.
        logger.error("password_hash_unreadable")
        return _refuse(secret)


def _refuse(secret: bytes) -> Verified:
    _context.verify(secret, DUMMY_HASH)
    return Verified(False)


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    workers = get_settings().password_hash_concurrency or os.cpu_count() or 1
    return ThreadPoolExecutor(workers, thread_name_prefix="password")


async def _in_thread(work: Callable[[], T]) -> T:
    # A pool of its own is thread and semaphore in one: as many threads as hashes may run at once.
    return await asyncio.get_running_loop().run_in_executor(_threads(), work)


@lru_cache(maxsize=1)
def _common_passwords() -> frozenset[str]:
    return frozenset(word.casefold() for word in FREQUENCY_LISTS["passwords"])


def _context_words(email: str, full_name: str | None) -> set[str]:
    """Return what a password must not contain, folded; words below four letters would forbid too much."""
    local_part = email.rpartition("@")[0]
    name = normalise(full_name or "")
    words = {local_part, name, name.replace(" ", ""), *_PRODUCT_WORDS}
    return {word.strip().casefold() for word in words if len(word.strip()) >= _SHORTEST_CONTEXT}
