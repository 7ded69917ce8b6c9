"""Owns what the calls of billing share: they may be sent again, however late."""

from typing import Any

from app.clients.stripe import StripeClient
from app.services.stripe_webhooks.commands import StripeCall, StripeCommandRow


class RepeatableCall(StripeCall):
    """A call that comes to the same when it is made twice."""

    async def find(
        self,
        client: StripeClient,  # noqa: ARG002 - nothing needs to be looked for
        command: StripeCommandRow,  # noqa: ARG002 - as above
    ) -> dict[str, Any] | None:
        """None: it is sent again."""
        return None
