"""The tables of the second factor: factors, backup codes, challenges."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Personal, System, Timestamps


class MfaFactor(Identified, Timestamps, Personal, Base):
    """An authenticator app of a person: the active one, and the one that waits for its first code.

    `last_used_step` is the newest 30-second step whose code was accepted; that one and older ones are refused
    for good. `attempt_count` counts the codes tried while the factor is pending.
    """

    __tablename__ = "mfa_factors"
    __table_args__ = (
        CheckConstraint("type IN ('totp')", name="type"),
        CheckConstraint("status IN ('pending', 'active')", name="status"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 60", name="name"),
        UniqueConstraint("user_id", "type", "status"),
    )

    type: Mapped[str] = mapped_column(default="totp")
    name: Mapped[str]
    secret_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    last_used_step: Mapped[int] = mapped_column(BigInteger, server_default=text("-1"), default=-1)
    status: Mapped[str]
    attempt_count: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"), default=0)
    confirmed_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class MfaBackupCode(Identified, Timestamps, Personal, Base):
    """A code for when the authenticator is lost. `selector` finds the row, the hash judges the rest."""

    __tablename__ = "mfa_backup_codes"
    __table_args__ = (
        CheckConstraint("char_length(selector) = 4", name="selector"),
        UniqueConstraint("user_id", "selector"),
    )

    selector: Mapped[str]
    verifier_hash: Mapped[str]
    used_at: Mapped[datetime | None]


class MfaChallenge(Identified, Timestamps, System, Base):
    """A sign-in whose first factor was right and whose second one is awaited. Its token is derived."""

    __tablename__ = "mfa_challenges"
    __table_args__ = (Index("mfa_challenges_expires_at", "expires_at"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    first_factor: Mapped[str]
    context: Mapped[dict[str, Any]] = mapped_column(JSONB)
    attempt_count: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"), default=0)
    expires_at: Mapped[datetime]
    consumed_at: Mapped[datetime | None]
