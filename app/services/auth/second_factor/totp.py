"""Owns the codes of authenticator apps (RFC 6238: SHA-1, 30 seconds, 6 digits) and their sealed secrets."""

import hmac
import secrets
from base64 import b32encode
from datetime import datetime
from uuid import UUID

import structlog
from pyotp import TOTP

from app.core.config import get_settings
from app.core.crypto import SealBroken, key_ring, seal, unseal
from app.models.auth import MfaFactor

logger = structlog.get_logger(__name__)

STEP_SECONDS = 30
SECRET_BYTES = 20


def new_secret() -> bytes:
    """A fresh secret, as long as the hash of RFC 6238 asks (RFC 4226, 4)."""
    return secrets.token_bytes(SECRET_BYTES)


def base32(secret: bytes) -> str:
    """The secret as people type it into their app."""
    return b32encode(secret).decode("ascii")


def provisioning_uri(secret: bytes, email: str) -> str:
    """The `otpauth:` address that an app reads from the QR code."""
    uri: str = TOTP(base32(secret)).provisioning_uri(name=email, issuer_name=get_settings().totp_issuer)
    return uri


def seal_secret(factor_id: UUID, secret: bytes) -> bytes:
    """The secret as its row keeps it; it opens in this row alone."""
    return seal(key_ring(), secret, context=_context(factor_id))


def step_of(now: datetime) -> int:
    """The number of the 30-second step of a moment."""
    return int(now.timestamp()) // STEP_SECONDS


def matching_step(factor: MfaFactor, code: str, now: datetime) -> int | None:
    """The newest unused step within the window whose code this is; None when it is none of them.

    Every step of the window is compared in constant time, used ones too. No code fits a secret that does not
    open.
    """
    try:
        secret = unseal(key_ring(), factor.secret_sealed, context=_context(factor.id))
    except SealBroken:
        # Not what the caller sent, but the row: without this line nobody would learn why no code is right.
        logger.error("mfa_secret_unreadable", factor_id=str(factor.id))
        return None
    totp = TOTP(base32(secret))
    present, window = step_of(now), get_settings().mfa_totp_window
    found = None
    for step in range(present - window, present + window + 1):
        is_equal = hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())
        if is_equal and step > factor.last_used_step:
            found = step
    return found


def _context(factor_id: UUID) -> str:
    return f"mfa_factors.secret_sealed:{factor_id}"
