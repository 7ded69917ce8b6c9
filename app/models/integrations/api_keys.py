"""The tables of API keys."""

from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import CIDR, INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Identified, Owned, Timestamps


class ApiKey(Identified, Timestamps, Owned, Base):
    """A credential of a program, whose rights are cut by the present role of the person who made it."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name"),
        CheckConstraint("octet_length(key_hash) = 32", name="key_hash"),
        CheckConstraint("char_length(key_prefix) <= 15", name="key_prefix"),
        CheckConstraint("char_length(last4) = 4", name="last4"),
        CheckConstraint("jsonb_typeof(permissions) = 'array'", name="permissions"),
        CheckConstraint("rate_limit BETWEEN 1 AND 100000", name="rate_limit"),
        CheckConstraint("cardinality(allowed_ips) <= 50", name="allowed_ips"),
        CheckConstraint("cardinality(allowed_origins) <= 10", name="allowed_origins"),
        CheckConstraint(
            "revoke_reason IN ('manual', 'rotated', 'member_removed', 'leaked')", name="revoke_reason"
        ),
        CheckConstraint("(revoked_at IS NULL) = (revoke_reason IS NULL)", name="revoked_at"),
        # A key is looked up before anybody knows whose it is.
        UniqueConstraint("key_hash"),
        # Nobody rotates a key twice.
        Index(
            "api_keys_rotated_from_key",
            "organization_id",
            "rotated_from",
            unique=True,
            postgresql_where=text("rotated_from IS NOT NULL"),
        ),
        Index("api_keys_created_at", "organization_id", "created_at", "id"),
        Index("api_keys_created_by", "created_by"),
    )

    created_by: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    key_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash_version: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"), default=1)
    key_prefix: Mapped[str]
    last4: Mapped[str]
    permissions: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("""'["read"]'"""))
    rate_limit: Mapped[int] = mapped_column(Integer, server_default=text("1000"), default=1000)
    allowed_ips: Mapped[list[IPv4Network | IPv6Network]] = mapped_column(
        ARRAY(CIDR()), server_default=text("'{}'"), default=list
    )
    allowed_origins: Mapped[list[str]] = mapped_column(
        ARRAY(Text()), server_default=text("'{}'"), default=list
    )
    expires_at: Mapped[datetime | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    last_used_at: Mapped[datetime | None]
    last_used_ip: Mapped[IPv4Address | IPv6Address | None] = mapped_column(INET())
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    revoke_reason: Mapped[str | None]
    # No reference: the older key goes with the person who made it, the newer one may be somebody else's.
    rotated_from: Mapped[UUID | None]
    grace_until: Mapped[datetime | None]
    notified_days: Mapped[int | None] = mapped_column(SmallInteger)
    """Of which term before its end the last notice told."""
