"""The only place that speaks SQL about mail, notifications, preferences and push."""

from app.repositories.notifications.deliveries import DeliveryRepository
from app.repositories.notifications.mail import EmailRepository, MailOutboxRepository, SuppressionRepository

__all__ = ["DeliveryRepository", "EmailRepository", "MailOutboxRepository", "SuppressionRepository"]
