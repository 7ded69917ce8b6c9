"""The only place that speaks SQL about mail, notifications, preferences and push."""

from app.repositories.notifications.deliveries import DeliveryRepository
from app.repositories.notifications.inbox import NotificationRepository, lock_notices
from app.repositories.notifications.mail import EmailRepository, MailOutboxRepository, SuppressionRepository
from app.repositories.notifications.preferences import PreferenceRepository
from app.repositories.notifications.push import PushRepository
from app.repositories.notifications.readers import Reader, ReaderRepository
from app.repositories.notifications.telling import NoticeRepository
from app.repositories.notifications.templates import EmailTemplateRepository

__all__ = [
    "DeliveryRepository",
    "EmailRepository",
    "EmailTemplateRepository",
    "MailOutboxRepository",
    "NoticeRepository",
    "NotificationRepository",
    "PreferenceRepository",
    "PushRepository",
    "Reader",
    "ReaderRepository",
    "SuppressionRepository",
    "lock_notices",
]
