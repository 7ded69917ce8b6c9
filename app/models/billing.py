"""Tables of the area billing."""

from sqlalchemy import BigInteger, CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, OwnedKept


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
