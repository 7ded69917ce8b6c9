"""The closed lists of notifications: categories, channels, levels, states."""

from typing import Literal

Category = Literal[
    "security",
    "account",
    "billing",
    "billing_failure",
    "team",
    "orders",
    "order_customer",
    "products",
    "designs",
    "ar",
    "support",
    "integrations",
    "monitoring",
    "analytics",
    "community",
    "courses",
    "product_news",
]
"""What preferences are about."""

Channel = Literal["in_app", "email", "push"]

Level = Literal["info", "success", "warning", "error"]

DeliveryState = Literal["queued", "sent", "delivered", "opened", "bounced", "failed", "suppressed", "skipped"]

Digest = Literal["off", "hourly", "daily"]
