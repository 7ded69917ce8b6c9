"""The tables of plans, of grants and of numbered series."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified, Json, Owned, OwnedKept, Reference, Timestamps


class Plan(Timestamps, Reference, Base):
    """What an organisation may use. Limits and features are rows, so that operators change them."""

    __tablename__ = "plans"
    __table_args__ = (
        CheckConstraint("code ~ '^[a-z][a-z0-9_]{1,39}$'", name="code"),
        CheckConstraint("trial_days BETWEEN 0 AND 90", name="trial_days"),
        UniqueConstraint("rank"),
    )

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="", default="")
    rank: Mapped[int] = mapped_column(Integer)
    is_public: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    trial_days: Mapped[int] = mapped_column(Integer, server_default=text("0"), default=0)
    features: Mapped[Json]
    limits: Mapped[Json]


class PlanGrant(Identified, Created, Owned, Base):
    """A plan that an operator gave to an organisation, for example by an enterprise contract."""

    __tablename__ = "plan_grants"
    __table_args__ = (CheckConstraint("ends_at > starts_at", name="span"),)

    plan_code: Mapped[str] = mapped_column(ForeignKey("plans.code"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    note: Mapped[str]
    granted_by: Mapped[str]


class DocumentCounter(OwnedKept, Base):
    """The last number of a gapless series; counted under its row lock, the last lock of a transaction."""

    __tablename__ = "document_counters"
    __table_args__ = (
        CheckConstraint("kind IN ('order', 'invoice', 'credit_note')", name="kind"),
        CheckConstraint("period ~ '^[0-9]{4}$'", name="period"),
        CheckConstraint("last_value > 0", name="last_value"),
    )

    kind: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    last_value: Mapped[int] = mapped_column(BigInteger)
