"""Owns what a first factor proved, and how that is kept while the second factor is awaited."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from app.core.devices import Device

Aal = Literal[1, 2]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityToLink:
    """An account at a provider that becomes one of the person's identities once they are in."""

    provider: str
    provider_subject: str
    email: str | None
    is_email_verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstFactor:
    """What was proved: who it is, by which method, and (by a password) which state of the password it was.

    `aal` 2 is for a provider that has asked a second factor itself and may be trusted with it: ours is not
    asked then. `organization_id` is where the session is to begin (an invitation's, single sign-on's),
    `sso_organization_id` the only one that it may enter, `identity` what is linked once the person is in.
    `throttle_keys` are the counted failures that end when the person is in.
    """

    user_id: UUID
    method: str
    amr: tuple[str, ...]
    password_changed_at: datetime | None = None
    is_remembered: bool = False
    organization_id: UUID | None = None
    sso_organization_id: UUID | None = None
    identity: IdentityToLink | None = None
    throttle_keys: tuple[bytes, ...] = ()
    aal: Aal = 1


def as_context(factor: FirstFactor, device: Device) -> dict[str, Any]:
    """What a challenge keeps of the first factor and of the device that brought it; no secret is among it."""
    return {
        "amr": list(factor.amr),
        "password_changed_at": _text(factor.password_changed_at),
        "remember": factor.is_remembered,
        "organization_id": _text(factor.organization_id),
        "sso_organization_id": _text(factor.sso_organization_id),
        "identity": asdict(factor.identity) if factor.identity else None,
        "throttle_keys": [key.hex() for key in factor.throttle_keys],
        "device_key_hash": device.key_hash.hex() if device.key_hash else None,
    }


def of_context(user_id: UUID, method: str, context: Mapping[str, Any]) -> FirstFactor:
    """The first factor that a challenge keeps."""
    changed_at = context["password_changed_at"]
    return FirstFactor(
        user_id=user_id,
        method=method,
        amr=tuple(context["amr"]),
        password_changed_at=datetime.fromisoformat(changed_at) if changed_at else None,
        is_remembered=context["remember"],
        organization_id=_uuid(context["organization_id"]),
        sso_organization_id=_uuid(context["sso_organization_id"]),
        identity=IdentityToLink(**context["identity"]) if context["identity"] else None,
        throttle_keys=tuple(bytes.fromhex(key) for key in context["throttle_keys"]),
    )


def device_key_hash(context: Mapping[str, Any]) -> bytes | None:
    """The hash of the device key that came with the first factor."""
    kept = context["device_key_hash"]
    return bytes.fromhex(kept) if kept else None


def _text(value: datetime | UUID | None) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _uuid(value: str | None) -> UUID | None:
    return UUID(value) if value else None
