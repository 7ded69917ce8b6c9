"""Owns the provider of identity that the service plays for itself in development and test.

It keeps nothing: its codes and tokens carry what they are about, signed with the service's own keys, so that
any process of a service may answer for another.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, get_args

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jose import jwk, jws

from app.core import clock
from app.core.config import get_settings
from app.core.crypto import encode_base64url, key_ring, read_facts, sign_facts
from app.core.errors import BadRequest, NotFound, Unauthenticated
from app.schemas.sandbox_idp import SandboxApproval, SandboxAsked, SandboxTokenForm
from app.services.auth.external.providers import (
    SANDBOX_ALGORITHM,
    SANDBOX_CLIENT,
    TITLES,
    callback_address,
    sandbox_address,
)

CODE_SECONDS = 60
TOKEN_SECONDS = 300
SLOWNESS_SECONDS = 30.0

CODE_PREFIX, TOKEN_PREFIX = "sandbox_code_", "sandbox_token_"
_USE = "sandbox-idp"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the curve P-256 (SEC 2, 2.4.2)."""

Behaviour = Literal[
    "good",
    "down",
    "slow",
    "nonsense",
    "foreign_answer",
    "wrong_nonce",
    "wrong_issuer",
    "wrong_audience",
    "expired",
    "alg_none",
    "alg_hs256",
    "foreign_key",
]
"""How the provider answers: rightly, or wrongly in one way, so that apps can be tried against it."""

BEHAVIOURS: tuple[str, ...] = get_args(Behaviour)


def known_provider(name: str) -> str:
    """The provider that is played; 404 for any other name."""
    if name not in TITLES:
        raise NotFound()
    return name


def judge_request(name: str, asked: SandboxAsked) -> None:
    """400 for a question that the real provider would not take, either."""
    if asked.client_id != SANDBOX_CLIENT:
        raise BadRequest("token_invalid", "The sandbox knows no such client.")
    if asked.redirect_uri != callback_address(get_settings(), name):
        raise BadRequest("token_invalid", "The sandbox sends people back to this service only.")


def approve(name: str, approval: SandboxApproval) -> dict[str, str]:
    """What the browser takes back: a code for the chosen person, or `access_denied`."""
    judge_request(name, approval)
    issuer = sandbox_address(get_settings(), name)
    if approval.behaves == "foreign_answer":
        issuer = "https://somebody-else.example"
    if approval.decision == "deny":
        return {"error": "access_denied", "state": approval.state, "iss": issuer}
    facts = {
        "provider": name,
        "subject": approval.subject or subject_of(name, approval.email),
        "email": approval.email,
        "is_verified": approval.verified,
        "name": approval.name,
        "nonce": approval.nonce,
        "challenge": approval.code_challenge,
        "behaves": approval.behaves,
        "until": clock.now().timestamp() + CODE_SECONDS,
    }
    return {"code": _signed(CODE_PREFIX, facts), "state": approval.state, "iss": issuer}


def subject_of(name: str, email: str) -> str:
    """The same address is the same person; the digits are as many as the real provider's."""
    digest = hashlib.sha256(f"{name}:{email.lower()}".encode()).digest()
    number = int.from_bytes(digest, "big")
    return str(10**20 + number % 10**20) if name == "google" else str(10**7 + number % 10**8)


async def token_answer(name: str, form: SandboxTokenForm) -> dict[str, Any]:
    """What the token endpoint answers to a code and the verifier of its challenge; 400 `invalid_grant`."""
    facts = _opened(CODE_PREFIX, form.code)
    if facts is None or facts["provider"] != name or not _proves(form, facts["challenge"]):
        raise BadRequest("invalid_grant", "The code is not good, or the verifier is not its own.")
    if facts["behaves"] == "slow":
        await asyncio.sleep(SLOWNESS_SECONDS)
    facts["until"] = clock.now().timestamp() + TOKEN_SECONDS
    answer: dict[str, Any] = {"access_token": _signed(TOKEN_PREFIX, facts), "token_type": "Bearer"}
    if name == "google":
        answer["id_token"] = _id_token(facts)
    return answer


def person_of(name: str, authorization: str) -> dict[str, Any]:
    """The facts behind an access token; 401 for any other text."""
    facts = _opened(TOKEN_PREFIX, authorization.removeprefix("Bearer "))
    if facts is None or facts["provider"] != name:
        raise Unauthenticated("access_token_invalid", "The sandbox did not give this token.")
    return facts


def public_keys() -> dict[str, Any]:
    """The key set (RFC 7517) that its id_tokens are verified by."""
    return {"keys": [_public_key()]}


def behaviour_of(code: str) -> str:
    """How the provider answers to this code."""
    facts = _opened(CODE_PREFIX, code)
    return str(facts["behaves"]) if facts else "good"


def _proves(form: SandboxTokenForm, challenge: str) -> bool:
    digest = encode_base64url(hashlib.sha256(form.code_verifier.encode()).digest())
    is_client = form.client_id == SANDBOX_CLIENT and form.client_secret == SANDBOX_CLIENT
    return is_client and hmac.compare_digest(digest, challenge)


def _signed(prefix: str, facts: Mapping[str, Any]) -> str:
    return sign_facts(key_ring(), prefix, _USE, json.dumps(facts).encode())


def _opened(prefix: str, text: str) -> dict[str, Any] | None:
    data = read_facts(key_ring(), prefix, _USE, text)
    if data is None:
        return None
    facts: dict[str, Any] = json.loads(data)
    return facts if facts["until"] > clock.now().timestamp() else None


def _id_token(facts: Mapping[str, Any]) -> str:
    now = int(clock.now().timestamp())
    claims = {
        "iss": sandbox_address(get_settings(), "google"),
        "aud": SANDBOX_CLIENT,
        "azp": SANDBOX_CLIENT,
        "sub": facts["subject"],
        "email": facts["email"],
        "email_verified": facts["is_verified"],
        "name": facts["name"],
        "nonce": facts["nonce"],
        "iat": now,
        "exp": now + TOKEN_SECONDS,
    }
    wrong: dict[str, dict[str, Any]] = {
        "wrong_nonce": {"nonce": "of-another-sign-in"},
        "wrong_issuer": {"iss": "https://somebody-else.example"},
        "wrong_audience": {"aud": "somebody-else", "azp": "somebody-else"},
        "expired": {"iat": now - 7200, "exp": now - 3600},
    }
    claims |= wrong.get(facts["behaves"], {})
    sign = _WRONG_SIGNATURES.get(facts["behaves"], _sign)
    return sign(claims)


def _sign(claims: Mapping[str, Any]) -> str:
    token: str = jws.sign(claims, _private_key(_USE), {"kid": _kid()}, algorithm=SANDBOX_ALGORITHM)
    return token


def _sign_with_foreign_key(claims: Mapping[str, Any]) -> str:
    token: str = jws.sign(
        claims, _private_key(f"{_USE}-foreign"), {"kid": _kid()}, algorithm=SANDBOX_ALGORITHM
    )
    return token


def _sign_with_none(claims: Mapping[str, Any]) -> str:
    return f"{_unsigned('none', claims)}."


def _sign_with_public_key(claims: Mapping[str, Any]) -> str:
    """HS256 whose secret is the public key, as those send it who hope that nobody compares the algorithm."""
    unsigned = _unsigned("HS256", claims)
    secret = json.dumps(_public_key()).encode()
    return f"{unsigned}.{encode_base64url(hmac.digest(secret, unsigned.encode(), hashlib.sha256))}"


_WRONG_SIGNATURES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "alg_none": _sign_with_none,
    "alg_hs256": _sign_with_public_key,
    "foreign_key": _sign_with_foreign_key,
}


def _unsigned(algorithm: str, claims: Mapping[str, Any]) -> str:
    header = {"alg": algorithm, "typ": "JWT", "kid": _kid()}
    return ".".join(encode_base64url(json.dumps(part).encode()) for part in (header, claims))


@lru_cache(maxsize=4)
def _private_key(use: str) -> str:
    """The key of one use as PEM: its number is derived from the key ring."""
    number = int.from_bytes(key_ring().derive(use), "big") % (_ORDER - 1) + 1
    key = ec.derive_private_key(number, ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _public_key() -> dict[str, Any]:
    key: dict[str, Any] = jwk.construct(_private_key(_USE), SANDBOX_ALGORITHM).public_key().to_dict()
    return {**key, "kid": _kid(), "use": "sig"}


def _kid() -> str:
    return f"sandbox-{key_ring().newest}"
