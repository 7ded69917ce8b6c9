"""The line to one server: resolves once, checks every address, dials only checked ones, counts what comes."""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any, Literal

import httpcore

from app.clients.outbound.addresses import AddressRules, parse_address
from app.clients.outbound.failures import LineFault, tls_fault
from app.clients.outbound.names import Resolver

MOST_DIALLED = 4
"""Addresses of one name that are tried, one after the other."""

HEAD_BYTES = 32 * 1024
"""The status line and all headers of an answer, interim answers included."""

Phase = Literal["resolving", "connecting", "talking"]


class HungUp(Exception):
    """We have read enough."""


class Line(httpcore.AsyncNetworkBackend):
    """The network under one exchange.

    Without `addresses` nothing is denied: for addresses that no customer chose. `phase` and `remote_ip` tell
    how far it came. `allowance` is how many bytes may still be read.
    """

    def __init__(
        self,
        resolve: Resolver,
        addresses: AddressRules | None,
        *,
        resolve_seconds: float,
        connect_seconds: float,
    ) -> None:
        self.phase: Phase = "resolving"
        self.remote_ip: str | None = None
        self.allowance = HEAD_BYTES
        self.is_hung_up = False
        self._resolve = resolve
        self._addresses = addresses
        self._resolve_seconds = resolve_seconds
        self._connect_seconds = connect_seconds
        self._deadline = 0.0
        self._network = httpcore.AnyIOBackend()
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's signature; the bounds are ours.
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first checked address that takes one; LineFault."""
        addresses = await self._checked(host)
        self.phase = "connecting"
        self._deadline = time.monotonic() + self._connect_seconds
        fault = LineFault("dns_not_found", "no address")
        for index, address in enumerate(addresses):
            self.remote_ip = address
            share = self.left_to_connect() / (len(addresses) - index)
            try:
                stream = await self._network.connect_tcp(address, port, share, local_address, socket_options)
            except httpcore.ConnectTimeout:
                fault = LineFault("connect_timeout", "the server took no connection in time")
            except httpcore.ConnectError as error:
                fault = LineFault("connect_refused", str(error.__cause__ and error.__cause__.__cause__))
            else:
                self._stream = stream
                return Counted(stream, self)
        raise fault

    async def sleep(self, seconds: float) -> None:
        """Part of httpcore's protocol."""
        await asyncio.sleep(seconds)

    def left_to_connect(self) -> float:
        """Seconds until the connection, with its TLS handshake, must stand."""
        return max(self._deadline - time.monotonic(), 0.001)

    def hang_up(self) -> None:
        """Let the next read raise HungUp."""
        self.is_hung_up = True

    async def aclose(self) -> None:
        """Close the socket, in whatever state it is."""
        if self._stream is not None:
            await self._stream.aclose()

    async def _checked(self, host: str) -> list[str]:
        """The addresses of a host; one that is denied denies them all, because any may be dialled."""
        if parse_address(host) is not None:
            found = [host]
        else:
            try:
                async with asyncio.timeout(self._resolve_seconds):
                    found = list(await self._resolve(host))
            except TimeoutError:
                raise LineFault("dns_timeout", "no answer in time") from None
            except socket.gaierror as error:
                is_passing = error.errno == socket.EAI_AGAIN
                raise LineFault("dns_timeout" if is_passing else "dns_not_found", str(error)) from None
            except (OSError, UnicodeError) as error:
                raise LineFault("dns_not_found", type(error).__name__) from None
        if self._addresses is not None and not all(self._addresses.allows(address) for address in found):
            raise LineFault("blocked_address", "the name leads to an address that is not public")
        return found[:MOST_DIALLED]


class Counted(httpcore.AsyncNetworkStream):
    """A stream of a line: reads no more than the line's allowance, and tells faults in our words."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, line: Line) -> None:
        self._stream = stream
        self._line = line

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's.
        """The next bytes; LineFault `too_large` when the allowance is used up; HungUp when we have enough."""
        if self._line.is_hung_up:
            raise HungUp
        if self._line.allowance <= 0:
            raise LineFault("too_large", "the answer has no end")
        self._line.phase = "talking"
        part = await self._stream.read(min(max_bytes, self._line.allowance), timeout)
        self._line.allowance -= len(part)
        return part

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's.
        """Send bytes."""
        self._line.phase = "talking"
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's signature; the bound is ours.
    ) -> httpcore.AsyncNetworkStream:
        """The stream under TLS; LineFault."""
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, self._line.left_to_connect())
        except httpcore.ConnectTimeout:
            raise LineFault("connect_timeout", "no TLS handshake in time") from None
        except httpcore.ConnectError as error:
            if isinstance(error.__cause__, ssl.SSLError):
                raise tls_fault(error.__cause__) from None
            raise LineFault("connection_reset", "broken during the TLS handshake") from None
        return Counted(stream, self._line)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks of a stream."""
        return self._stream.get_extra_info(info)
