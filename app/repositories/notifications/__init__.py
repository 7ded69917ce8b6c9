"""The only place that speaks SQL about mail, notifications, preferences and push."""

from app.repositories.notifications.mail import EmailRepository, MailOutboxRepository, SuppressionRepository

__all__ = ["EmailRepository", "MailOutboxRepository", "SuppressionRepository"]
