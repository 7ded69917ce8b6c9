"""Tables of what reaches people: mail and its texts, notifications, preferences, push."""

from app.models.notifications import inbox, push, templates
from app.models.notifications.mail import Email, EmailSuppression, MailOutbox

__all__ = ["Email", "EmailSuppression", "MailOutbox", "inbox", "push", "templates"]
