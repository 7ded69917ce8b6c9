"""How an organisation numbers, prices and keeps its orders."""

from sqlalchemy import CheckConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Json, Owned, Timestamps, cur


class OrderSettings(Timestamps, Owned, Base):
    """One row per organisation, made on first use with the defaults."""

    __tablename__ = "order_settings"
    __table_args__ = (
        CheckConstraint("number_prefix ~ '^[A-Z0-9]{1,8}$'", name="number_prefix"),
        CheckConstraint("invoice_prefix ~ '^[A-Z0-9]{1,8}$'", name="invoice_prefix"),
        CheckConstraint("credit_note_prefix ~ '^[A-Z0-9]{1,8}$'", name="credit_note_prefix"),
        cur(),
        CheckConstraint("default_tax_rate_bps BETWEEN 0 AND 10000", name="default_tax_rate_bps"),
        CheckConstraint("payment_window_minutes BETWEEN 30 AND 1425", name="payment_window_minutes"),
        CheckConstraint("manual_hold_hours BETWEEN 1 AND 720", name="manual_hold_hours"),
        CheckConstraint("capture_method IN ('automatic', 'manual')", name="capture_method"),
        CheckConstraint("oversold_policy IN ('refund', 'backorder')", name="oversold_policy"),
        CheckConstraint("jsonb_typeof(seller) = 'object'", name="seller"),
    )

    number_prefix: Mapped[str] = mapped_column(server_default="ORD")
    invoice_prefix: Mapped[str] = mapped_column(server_default="FAC")
    credit_note_prefix: Mapped[str] = mapped_column(server_default="AV")
    time_zone: Mapped[str] = mapped_column(server_default="Europe/Paris")
    currency: Mapped[str] = mapped_column(server_default="EUR")
    prices_include_tax: Mapped[bool] = mapped_column(server_default=text("true"))
    default_tax_rate_bps: Mapped[int] = mapped_column(server_default=text("2000"))
    shipping_tax_category: Mapped[str] = mapped_column(server_default="standard")
    payment_window_minutes: Mapped[int] = mapped_column(server_default=text("30"))
    manual_hold_hours: Mapped[int] = mapped_column(server_default=text("168"))
    capture_method: Mapped[str] = mapped_column(server_default="automatic")
    oversold_policy: Mapped[str] = mapped_column(server_default="refund")
    is_storefront_public: Mapped[bool] = mapped_column(server_default=text("false"))
    seller: Mapped[Json]
    version: Mapped[int] = mapped_column(server_default=text("1"))
