"""Owns the service's cryptography: the key ring and everything that is signed, sealed or derived from it."""

from app.core.crypto.access_tokens import (
    AccessClaims,
    AccessTokenExpired,
    AccessTokenInvalid,
    issue_access_token,
    verify_access_token,
)
from app.core.crypto.encoding import decode_base64url, encode_base64url
from app.core.crypto.keyring import KeyRing, every_mac, generate_key_text, key_ring, mac, mac_matches
from app.core.crypto.one_time import (
    AUTH_CODE_PREFIX,
    EMAIL_TOKEN_PREFIX,
    MFA_TOKEN_PREFIX,
    code_matches,
    derive_code,
    derive_token,
    read_facts,
    read_token,
    sign_facts,
)
from app.core.crypto.refresh_tokens import (
    RefreshToken,
    make_refresh_token,
    parse_refresh_token,
    refresh_tag_matches,
)
from app.core.crypto.sealing import SealBroken, seal, sealed_by, sealed_kid, unseal
from app.core.crypto.trips import TripSecrets, begin_trip, read_trip

__all__ = [
    "AUTH_CODE_PREFIX",
    "EMAIL_TOKEN_PREFIX",
    "MFA_TOKEN_PREFIX",
    "AccessClaims",
    "AccessTokenExpired",
    "AccessTokenInvalid",
    "KeyRing",
    "RefreshToken",
    "SealBroken",
    "TripSecrets",
    "begin_trip",
    "code_matches",
    "decode_base64url",
    "derive_code",
    "derive_token",
    "encode_base64url",
    "every_mac",
    "generate_key_text",
    "issue_access_token",
    "key_ring",
    "mac",
    "mac_matches",
    "make_refresh_token",
    "parse_refresh_token",
    "read_facts",
    "read_token",
    "read_trip",
    "refresh_tag_matches",
    "seal",
    "sealed_by",
    "sealed_kid",
    "sign_facts",
    "unseal",
    "verify_access_token",
]
