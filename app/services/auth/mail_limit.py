"""Owns the limits of mails to one address, which are counted in silence: the answer is the same when over."""

from typing import Annotated

from fastapi import Depends, Request

from app.core.config import get_settings
from app.core.limits import Limiter, LimitRule, parse_limit

NOTICE = LimitRule(1, 900)
"""A notice that somebody else can cause goes out once in a quarter of an hour."""


class MailLimit:
    """Counts the mails that anybody can have sent to an address."""

    def __init__(self, request: Request) -> None:
        self._limiter: Limiter = request.app.state.limiter

    async def allows(self, canonical: str) -> bool:
        """Count one request that mails to this address; whether it is within `LIMIT_MAIL_ADDRESS`."""
        rule = parse_limit(get_settings().limit_mail_address)
        return not (await self._limiter.hit("mail_address", canonical, rule)).is_over

    async def allows_notice(self, canonical: str) -> bool:
        """Count one notice to this address; whether it is the first in a quarter of an hour."""
        return not (await self._limiter.hit("mail_notice", canonical, NOTICE)).is_over


MailLimits = Annotated[MailLimit, Depends()]
