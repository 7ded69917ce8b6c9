"""The tables of stored files: whose they are, which objects are to be deleted, how much is used."""

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    UniqueConstraint,
    false,
    func,
    or_,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from app.models.base import Base, Created, Identified, Owned, Shared, System

if TYPE_CHECKING:
    from app.core.access import Principal

COUNTED_BUCKETS = (
    "attachments",
    "brand-logos",
    "product-images",
    "option-files",
    "design-assets",
    "design-outputs",
    "cliparts",
    "thumbnails",
    "ar-models",
    "ar-posters",
)
"""The buckets that count as an organisation's usage; the triggers name the same."""

BUCKETS = ("avatars", "covers", "salon-avatars", *COUNTED_BUCKETS, "exports", "documents", "starter")


class StoredFile(Identified, Created, Shared, Base):
    """A file: one object of the store, and whose it is. Only `attached_at` and `is_public` ever change.

    Triggers keep the list of objects that are to be deleted, and an organisation's usage.
    """

    __tablename__ = "stored_files"
    __table_args__ = (
        UniqueConstraint("organization_id", "id"),
        CheckConstraint(f"bucket IN ({', '.join(repr(name) for name in BUCKETS)})", name="bucket"),
        CheckConstraint(
            "num_nonnulls(organization_id, user_id) = CASE WHEN bucket = 'starter' THEN 0 ELSE 1 END",
            name="owner",
        ),
        CheckConstraint(
            "char_length(storage_key) <= 200"
            " AND storage_key ~ '^[a-z0-9-]+(/[a-z0-9-]+)*/[a-z0-9-]+\\.[a-z0-9]{1,8}$'",
            name="storage_key",
        ),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
        CheckConstraint("size_bytes > 0", name="size_bytes"),
        CheckConstraint("char_length(media_type) <= 100", name="media_type"),
        CheckConstraint("char_length(file_name) BETWEEN 1 AND 200", name="file_name"),
        CheckConstraint("width > 0", name="width"),
        CheckConstraint("height > 0", name="height"),
        Index("stored_files_storage_key", "storage_key"),
        Index("stored_files_user_id", "user_id"),
        Index("stored_files_organization_id_created_at_id", "organization_id", "created_at", "id"),
        Index("stored_files_unattached", "created_at", postgresql_where=text("attached_at IS NULL")),
    )

    organization_id: Mapped[UUID | None] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"))
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    bucket: Mapped[str]
    storage_key: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str]
    file_name: Mapped[str]
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    is_public: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    uploaded_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    attached_at: Mapped[datetime | None]

    @classmethod
    def visible(cls, principal: "Principal") -> ColumnElement[bool]:
        """Those of the active organisation, the person's own, and the public ones."""
        # Equal to None would be IS NULL, which is every other kind of owner.
        organization_id, user_id = principal.organization_id, principal.user_id
        return or_(
            cls.organization_id == organization_id if organization_id else false(),
            cls.user_id == user_id if user_id else false(),
            cls.is_public,
        )

    def writable(self, principal: "Principal") -> bool:
        """Those of the active organisation, and the person's own."""
        if self.organization_id is not None:
            return self.organization_id == principal.organization_id
        return self.user_id is not None and self.user_id == principal.user_id


class StorageDeletion(System, Base):
    """An object that is to be deleted once it is due and no row has it: also the lease of one being stored.

    A claimed one is being deleted at this moment, and nothing is stored under its key until that is over.
    """

    __tablename__ = "storage_deletions"
    __table_args__ = (
        CheckConstraint("char_length(last_error) <= 500", name="last_error"),
        Index("storage_deletions_due_at", "due_at"),
    )

    storage_key: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    attempt_count: Mapped[int] = mapped_column(Integer, server_default=text("0"), default=0)
    last_error: Mapped[str | None]


class StorageUsage(Owned, Base):
    """How much an organisation's counted files take up. Written by triggers."""

    __tablename__ = "storage_usage"
    __table_args__ = (
        CheckConstraint("bytes_used >= 0", name="bytes_used"),
        CheckConstraint("file_count >= 0", name="file_count"),
    )

    bytes_used: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), default=0)
    file_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), default=0)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
