"""Asks the services of the sandbox without a socket, so that any process of a service can."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from app.clients.connections.sandbox.playing import SandboxRequest, answer
from app.clients.outbound import OutboundAnswer

PREFIX = "/sandbox/oauth/"


class SandboxCaller:
    """Stands in for the outbound client where this machine plays a service."""

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        timeout_seconds: float = 0,
        max_body: int = 0,
        is_fixed: bool = False,
    ) -> OutboundAnswer:
        """The service's answer; bounds are for real ones."""
        del timeout_seconds, max_body, is_fixed
        request = SandboxRequest(
            method=method,
            path=unquote(urlsplit(url).path.partition(PREFIX)[2]),
            headers={name.lower(): value for name, value in (headers or {}).items()},
            form=dict(parse_qsl(content.decode())),
        )
        given = answer(request)
        after = given.headers.get("retry-after")
        return OutboundAnswer(
            status=given.status,
            headers=given.headers,
            body=given.content,
            is_truncated=False,
            remote_ip="",
            duration_ms=0,
            retry_after_s=int(after) if after is not None else None,
        )
