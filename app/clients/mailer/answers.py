"""What the answers of mail providers that speak HTTP mean for a mail."""

from app.clients.mailer import MailRefused
from app.clients.outbound import OutboundAnswer

LONGEST_WAIT = 86_400
"""A provider that asks for a longer pause is asked again after a day."""

NOT_YET_TAKEN = frozenset({408, 429})
CREDENTIALS = frozenset({401, 403})
TOO_LARGE = 413
PAYMENT_REQUIRED = 402


def refusal_of(
    answer: OutboundAnswer, *, is_dead_address: bool = False, reset_seconds: int | None = None
) -> MailRefused:
    """What an answer that is no success means. `reset_seconds`: until the provider's own limit is free."""
    waits = [seconds for seconds in (answer.retry_after_s, reset_seconds) if seconds is not None]
    retry_after = min(max(waits), LONGEST_WAIT) if waits else None
    status = answer.status
    if is_dead_address:
        return MailRefused("bad_address", is_permanent=True, is_dead_address=True)
    if status in CREDENTIALS:
        return MailRefused("credentials")
    if status == PAYMENT_REQUIRED:
        # It is the account that has nothing left: another sender may still take the mail.
        return MailRefused("quota", retry_after=retry_after)
    if status in NOT_YET_TAKEN or not 400 <= status < 500:
        return MailRefused("quota" if status == 429 else "refused", retry_after=retry_after)
    return MailRefused("too_large" if status == TOO_LARGE else "refused", is_permanent=True)
