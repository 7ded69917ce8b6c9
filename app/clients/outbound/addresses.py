"""Owns which IP addresses may be dialled: the public ones, and what the operator opens or closes."""

from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Self

from app.core.config import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The predicates of `ipaddress` are not used: `is_global` is true of multicast, of 168.63.129.16 (Azure's
# metadata), and of NAT64 addresses that lead to 169.254.169.254.
DENIED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, and Alibaba's metadata
        "127.0.0.0/8",  # this machine
        "169.254.0.0/16",  # link local, and metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "168.63.129.16/32",  # Azure's metadata
    )
)

GLOBAL_UNICAST = IPv6Network("2000::/3")

DENIED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID and others
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries any v4 address
        "3fff::/20",  # documentation
        "2620:4f:8000::/48",  # AS112
    )
)
"""Special parts of what is otherwise global unicast; all that is not global unicast is denied as well."""


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What may be dialled: `closed` wins over `opened`, and `opened` over what is denied to all."""

    opened: tuple[Network, ...] = ()
    closed: tuple[Network, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """OUTBOUND_ALLOW opens, OUTBOUND_DENY closes."""
        return cls(
            opened=tuple(ip_network(text) for text in settings.outbound_allow),
            closed=tuple(ip_network(text) for text in settings.outbound_deny),
        )

    def allows(self, text: str) -> bool:
        """Whether the address may be dialled; what is no address is not."""
        address = parse_address(text)
        if address is None or _is_in(address, self.closed):
            return False
        return _is_in(address, self.opened) or _is_public(address)

    def opens(self, text: str) -> bool:
        """Whether the operator has opened a network that the address is in."""
        address = parse_address(text)
        return address is not None and _is_in(address, self.opened) and not _is_in(address, self.closed)


def parse_address(text: str) -> Address | None:
    """The address, a mapped v4 address unmapped; None for what is no address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not _is_in(address, DENIED_V4)
    return address in GLOBAL_UNICAST and not _is_in(address, DENIED_V6)


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)
