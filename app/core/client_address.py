"""Owns the answer to "from which address does this request come", also behind trusted proxies."""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

UNKNOWN = "unknown"
"""The address of a caller without one: a Unix socket's peer, or a test client's."""

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# `[2001:db8::1]:443`, `[2001:db8::1]` and `192.0.2.1:443`: how proxies write an address with a port.
_BRACKETED = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?", re.ASCII)
_IPV4_WITH_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}", re.ASCII)


def client_address(scope: Mapping[str, Any], trusted_proxies: Sequence[str]) -> str:
    """Return the caller's IP address in its canonical spelling, or `unknown`.

    It is the socket's peer. When that is in `trusted_proxies` (addresses or networks), it is the last hop of
    `X-Forwarded-For` that is not; what stands further left was written by strangers and is not read. A hop
    that is no address ends the walk at the proxy that reported it.
    """
    peer = scope.get("client")
    address = parse_ip(peer[0]) if peer else None
    if address is None:
        return UNKNOWN
    networks = _networks(tuple(trusted_proxies))
    if not _is_in(address, networks):
        return str(address)
    for hop in reversed(list(_forwarded_for(scope.get("headers", ())))):
        reported = parse_ip(hop)
        if reported is None:
            break
        address = reported
        if not _is_in(address, networks):
            break
    return str(address)


def address_key(address: str) -> str:
    """Return what limits count an address by: IPv4 by itself, IPv6 by its /64, anything else as `unknown`."""
    parsed = parse_ip(address)
    if parsed is None:
        return UNKNOWN
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    # Whoever has one IPv6 address usually has the whole /64 and could take a new one for every request.
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


def parse_ip(text: str) -> IPAddress | None:
    """Read an IP address, with brackets, port or zone if need be; an IPv4 address in IPv6 becomes IPv4."""
    text = text.strip()
    if (match := _BRACKETED.fullmatch(text) or _IPV4_WITH_PORT.fullmatch(text)) is not None:
        text = match[1]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        # The zone (`fe80::1%eth0`) means something only on the machine that wrote it.
        return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    return address


def _forwarded_for(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[str]:
    """Return the hops of all `X-Forwarded-For` headers from left to right, as if they were one header."""
    for name, value in headers:
        if name == b"x-forwarded-for":
            yield from value.decode("latin-1").split(",")


@lru_cache(maxsize=32)
def _networks(texts: tuple[str, ...]) -> tuple[IPNetwork, ...]:
    """Read addresses and networks; ValueError for anything else, so that a typo is noticed."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def _is_in(address: IPAddress, networks: tuple[IPNetwork, ...]) -> bool:
    return any(address in network for network in networks)
