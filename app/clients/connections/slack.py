"""Slack: errors come with 200, and with token rotation every refresh token is good once."""

from typing import Any

from app.clients.connections import Account, Addresses, Grant, ServiceDown, ServiceRefused
from app.clients.connections.asking import Reply, bearer, text_of
from app.clients.connections.oauth import EndedByAccessToken

# Of a grant that somebody has taken back (api.slack.com/methods/auth.test, errors).
ENDED = frozenset({"token_revoked", "account_inactive", "invalid_auth", "token_expired"})

# Of Slack itself, whatever the grant is worth (docs.slack.dev, errors of every method).
PASSING = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable"})
LIMITED = frozenset({"ratelimited", "rate_limited"})


class Slack(EndedByAccessToken):
    """A workspace of Slack."""

    name = "slack"
    title = "Slack"
    known_addresses = Addresses(
        authorize="https://slack.com/oauth/v2/authorize",
        token="https://slack.com/api/oauth.v2.access",  # noqa: S106 - an address
        test="https://slack.com/api/auth.test",
        revoke="https://slack.com/api/auth.revoke",
    )
    default_scopes = ("chat:write", "channels:read")
    allowed_scopes = frozenset(
        {*default_scopes, "chat:write.public", "groups:read", "team:read", "users:read"}
    )
    required_scopes = always_scopes = ("chat:write",)
    scope_separator = ","
    config = {"channel_id": r"[A-Z0-9]{1,30}"}  # noqa: RUF012 - as the base declares it
    gone_errors = ENDED | {"invalid_refresh_token"}

    async def ask(self, method: str, url: str, **more: Any) -> Reply:
        """As everywhere; that it is down, or wants fewer requests, Slack says with 200 as well."""
        reply = await super().ask(method, url, **more)
        error = reply.member("error", longest=100)
        if error in LIMITED:
            raise ServiceDown("provider_rate_limited", error, status=reply.status)
        if error in PASSING:
            raise ServiceDown("provider_unavailable", error, status=reply.status)
        return reply

    def error_in(self, reply: Reply) -> str | None:
        """Slack answers 200 with `ok: false`, so that the status says nothing."""
        if reply.document is not None and reply.document.get("ok") is True and reply.is_success:
            return None
        return reply.member("error", longest=100) or "no_json"

    async def identify(self, grant: Grant) -> Account:
        """The workspace, which stands in the answer to the code."""
        team = grant.answer.get("team")
        team_id = text_of(team, "id") if isinstance(team, dict) else None
        if team_id is None:
            raise ServiceRefused("exchange_failed", "no_account")
        return Account(id=team_id, label=text_of(team, "name") or team_id)

    async def test(self, access_token: str) -> None:
        """`auth.test`."""
        reply = await self.ask("POST", self.addresses.test, form={}, headers=bearer(access_token))
        self._refuse_error(reply)

    async def end_by(self, access_token: str) -> bool:
        """`auth.revoke`, which takes access tokens only; the refresh token ends with them."""
        reply = await self.ask("POST", self.addresses.revoke, form={}, headers=bearer(access_token))
        if self.error_in(reply) in ENDED:
            return False
        self._refuse_error(reply)
        return True

    def _refuse_error(self, reply: Reply) -> None:
        error = self.error_in(reply)
        if error is not None:
            raise ServiceRefused(
                "credentials_rejected", error, status=reply.status, is_grant_gone=error in self.gone_errors
            )
