"""The outbound client itself: one request, one new connection, bounds on everything."""

import asyncio
import ssl
import time
from collections.abc import Mapping

import httpcore
import httpx

from app.clients.outbound.addresses import AddressRules
from app.clients.outbound.answers import OutboundAnswer, bounded_headers, retry_after
from app.clients.outbound.backend import HEAD_BYTES, HungUp, Line, Phase
from app.clients.outbound.failures import LineFault, NetworkCode, OutboundFailure
from app.clients.outbound.names import Resolver, look_up
from app.clients.outbound.urls import CheckedUrl, UrlNotAllowed, UrlRules, check_url, read_url

RESOLVE_SECONDS = 3.0
CONNECT_SECONDS = 5.0
WHOLE_SECONDS = 15.0
BODY_BYTES = 16 * 1024
MOST_BODY_BYTES = 2 * 1024 * 1024

# A body that comes in chunks of one byte is six times its size on the line.
CHUNKING = 8

OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "cookie", "expect"}
)
"""Headers that the client writes, or leaves out, whatever its caller says."""

NOT_A_REQUEST = "the headers are none that HTTP/1.1 can carry"

_LATE: dict[Phase, NetworkCode] = {
    "resolving": "dns_timeout",
    "connecting": "connect_timeout",
    "talking": "timeout",
}


class OutboundClient:
    """Sends requests to addresses that customers chose. Keeps no connection, no cookie and no state.

    `resolve` and `tls` are the system's resolver and the public authorities unless they are given.
    """

    def __init__(
        self,
        rules: UrlRules,
        *,
        resolve: Resolver = look_up,
        tls: ssl.SSLContext | None = None,
        resolve_seconds: float = RESOLVE_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._rules = rules
        self._resolve = resolve
        # Neither proxies nor authorities of the environment.
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._tls.minimum_version = max(self._tls.minimum_version, ssl.TLSVersion.TLSv1_2)
        self._resolve_seconds = resolve_seconds
        self._connect_seconds = connect_seconds

    def check_url(self, url: str) -> CheckedUrl:
        """As the function of that name, by this client's rules."""
        return check_url(url, self._rules)

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        timeout_seconds: float = WHOLE_SECONDS,
        max_body: int = BODY_BYTES,
        is_fixed: bool = False,
    ) -> OutboundAnswer:
        """Send one request and read the answer; OutboundFailure when none comes.

        `timeout_seconds` bounds the whole exchange. Of the body `max_body` bytes are read, 2 MiB at most; it
        comes as it was sent. Redirects are not followed. `is_fixed` is for addresses that stand in the code
        or in the operator's settings: they may lead anywhere. A host of which a customer chose any part, such
        as a shop's, is never fixed. ValueError for headers that are none.
        """
        started = time.monotonic()
        line = Line(
            self._resolve,
            None if is_fixed else self._addresses,
            resolve_seconds=self._resolve_seconds,
            connect_seconds=self._connect_seconds,
        )
        try:
            checked = read_url(url) if is_fixed else self.check_url(url)
            request = _request(method, checked, headers or {}, content)
            async with asyncio.timeout(timeout_seconds):
                status, raw_headers, body, is_truncated = await self._exchange(
                    line, request, min(max_body, MOST_BODY_BYTES)
                )
        except LineFault as fault:
            raise _failure(fault.code, fault.detail, line, started) from None
        except UrlNotAllowed as refusal:
            # It was allowed when it was saved; the operator has changed the rules since.
            raise _failure("blocked_address", refusal.reason, line, started) from None
        except TimeoutError:
            raise _failure(_LATE[line.phase], "not finished in time", line, started) from None
        kept = bounded_headers(raw_headers)
        return OutboundAnswer(
            status=status,
            headers=kept,
            body=body,
            is_truncated=is_truncated,
            remote_ip=line.remote_ip or "",
            duration_ms=_milliseconds_since(started),
            retry_after_s=retry_after(kept.get("retry-after")),
        )

    @property
    def _addresses(self) -> AddressRules:
        return self._rules.addresses

    async def _exchange(
        self, line: Line, request: httpcore.Request, max_body: int
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes, bool]:
        """Status, headers, body and whether it was cut; LineFault."""
        connection = httpcore.AsyncHTTPConnection(
            request.url.origin, ssl_context=self._tls, network_backend=line
        )
        try:
            response = await connection.handle_async_request(request)
            line.allowance = CHUNKING * max_body + HEAD_BYTES
            body, is_truncated = await _read(response, line, max_body)
        except httpcore.LocalProtocolError:
            raise ValueError(NOT_A_REQUEST) from None  # The cause would show the header, perhaps a secret.
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise LineFault("connection_reset", type(error).__name__) from error
        finally:
            # Also when this task is cancelled amid a handshake, where httpcore would leave it open.
            await line.aclose()
        return response.status, list(response.headers), body, is_truncated


def _request(method: str, url: CheckedUrl, headers: Mapping[str, str], content: bytes) -> httpcore.Request:
    """The request as it goes out."""
    sent = {"user-agent": "Luneo/1", "accept": "*/*"}
    sent |= {name.lower(): value for name, value in headers.items() if name.lower() not in OURS}
    sent |= {"host": url.netloc, "accept-encoding": "identity", "connection": "close"}
    if content or method not in {"GET", "HEAD", "DELETE"}:
        sent["content-length"] = str(len(content))
    try:
        raw_headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in sent.items()]
    except UnicodeError:
        raise ValueError(NOT_A_REQUEST) from None
    return httpcore.Request(
        method,
        httpcore.URL(
            scheme=url.scheme.encode(),
            host=url.host.encode(),
            port=url.port,
            target=url.target.encode(),
        ),
        headers=raw_headers,
        content=content,
    )


async def _read(response: httpcore.Response, line: Line, max_body: int) -> tuple[bytes, bool]:
    """The body up to `max_body` bytes, and whether there was more."""
    body = bytearray()
    is_truncated = False
    try:
        async for part in response.aiter_stream():
            is_truncated = is_truncated or len(body) + len(part) > max_body
            body += part[: max_body - len(body)]
            if is_truncated:
                line.hang_up()
    except HungUp:
        pass
    return bytes(body), is_truncated


def _failure(code: NetworkCode, detail: str, line: Line, started: float) -> OutboundFailure:
    return OutboundFailure(code, detail, remote_ip=line.remote_ip, duration_ms=_milliseconds_since(started))


def _milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
