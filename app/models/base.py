"""Bases of every table: naming of constraints, column helpers, the mixins that say whose rows they are."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    MetaData,
    Text,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from app.core.ids import uuid7
from app.core.money import MAX_AMOUNT

if TYPE_CHECKING:
    from app.core.access import Principal

NAMING = {
    "ix": "%(table_name)s_%(column_0_N_name)s",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}

Json = Annotated[dict[str, Any], mapped_column(JSONB, server_default=text("'{}'"), default=dict)]
"""A JSON object, `{}` by default; checked by a pydantic model before it is written."""


class Base(DeclarativeBase):
    """The registry of all tables. Strings are `text`, moments are `timestamptz`."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: Mapping[Any, Any] = {str: Text(), datetime: DateTime(timezone=True)}


class Owned:
    """Rows of an organisation. The owner leads the primary key, every unique constraint and every index."""

    @declared_attr
    def organization_id(cls) -> Mapped[UUID]:  # noqa: N805 - a declared attribute gets the class
        return mapped_column(
            ForeignKey("organizations.id", ondelete="CASCADE"), primary_key=True, sort_order=-10
        )


class OwnedKept(Owned):
    """Accounting rows of an organisation: they outlive it, so `organization_id` has no foreign key."""

    @declared_attr
    def organization_id(cls) -> Mapped[UUID]:  # noqa: N805 - a declared attribute gets the class
        return mapped_column(primary_key=True, sort_order=-10)


class Personal:
    """Rows of one person, in whatever organisation they work."""

    @declared_attr
    def user_id(cls) -> Mapped[UUID]:  # noqa: N805 - a declared attribute gets the class
        return mapped_column(ForeignKey("users.id", ondelete="CASCADE"), sort_order=-9)


class Shared:
    """Rows that several callers see: each class says who sees them and who may write them."""

    @classmethod
    def visible(cls, principal: "Principal") -> ColumnElement[bool]:
        """The condition on rows that this principal may read; it hangs on nothing else, since it is kept."""
        raise NotImplementedError  # pragma: no cover - the invariant on row policies refuses such a class

    def writable(self, principal: "Principal") -> bool:  # noqa: ARG002 - subclasses decide by it
        """Whether this principal may write this row through an OwnerSession; no, unless a class says so."""
        return False


class Reference:
    """Rows that everybody reads and that only migrations and operators write."""


class System(Shared):
    """Rows that no OwnerSession sees or writes."""

    @classmethod
    def visible(cls, principal: "Principal") -> ColumnElement[bool]:  # noqa: ARG003 - nobody
        return false()


class Identified:
    """A UUIDv7 primary key made in the application."""

    @declared_attr
    def id(cls) -> Mapped[UUID]:  # noqa: N805 - a declared attribute gets the class
        return mapped_column(primary_key=True, default=uuid7, sort_order=-8)


class Created:
    """When the row was inserted."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)


class Timestamps(Created):
    """When the row was inserted and last changed. `updated_at` is set by the repository's statements."""

    updated_at: Mapped[datetime] = mapped_column(
        server_default=func.now(), onupdate=func.clock_timestamp(), sort_order=91
    )


def minor(column: str, *, minimum: int = 0) -> CheckConstraint:
    """The CHECK of an amount in minor units (`bigint`) that stands in `column`."""
    return CheckConstraint(f"{column} BETWEEN {minimum} AND {MAX_AMOUNT}", name=f"{column}_minor")


def cur(column: str = "currency") -> CheckConstraint:
    """The CHECK of an ISO 4217 code; the closed list is held by the service."""
    return CheckConstraint(f"{column} ~ '^[A-Z]{{3}}$'", name=f"{column}_cur")


def owned_reference(
    columns: list[str], target: str, remote: list[str], **options: Any
) -> ForeignKeyConstraint:
    """A foreign key between owned tables: the pair with `organization_id`, deferrable for a purge."""
    return ForeignKeyConstraint(
        ["organization_id", *columns],
        [f"{target}.organization_id", *(f"{target}.{name}" for name in remote)],
        deferrable=True,
        initially="IMMEDIATE",
        **options,
    )


Minor = Annotated[int, mapped_column(BigInteger)]
"""An amount in minor units; add `minor("<column>")` to the table's constraints."""
