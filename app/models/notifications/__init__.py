"""Tables of what reaches people: mail and its texts, notifications, preferences, push."""

from app.models.notifications.inbox import Notification, NotificationDelivery, NotificationPreference
from app.models.notifications.mail import Email, EmailSuppression, MailOutbox
from app.models.notifications.push import PushSubscription
from app.models.notifications.templates import EmailTemplate

__all__ = [
    "Email",
    "EmailSuppression",
    "EmailTemplate",
    "MailOutbox",
    "Notification",
    "NotificationDelivery",
    "NotificationPreference",
    "PushSubscription",
]
