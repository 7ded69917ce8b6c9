"""The catalogue of notices: one module per category, which registers who makes those of each event."""

import app.services.notifications.inbox.texts.analytics
import app.services.notifications.inbox.texts.billing
import app.services.notifications.inbox.texts.integrations
import app.services.notifications.inbox.texts.orders
import app.services.notifications.inbox.texts.products
import app.services.notifications.inbox.texts.security
import app.services.notifications.inbox.texts.team  # noqa: F401 - each registers its own
