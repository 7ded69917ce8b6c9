"""Clients that may dial receivers on loopback, and names that lead where a test wants them to."""

import ssl
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from app.clients.outbound import OutboundClient
from app.clients.outbound.addresses import AddressRules
from app.clients.outbound.urls import UrlRules

LOOPBACK = AddressRules(opened=(ip_network("127.0.0.1/32"),))


class Names:
    """A resolver that gives one answer after the other, the last for ever, and keeps what it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[str] = []
        self._answers = list(answers) or [["127.0.0.1"]]

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        return self._answers[min(len(self.asked), len(self._answers)) - 1]


def url_rules(*ports: int, addresses: AddressRules = LOOPBACK, is_http_allowed: bool = True) -> UrlRules:
    return UrlRules(is_http_allowed=is_http_allowed, ports=frozenset(ports), addresses=addresses)


def outbound(port: int, addresses: AddressRules = LOOPBACK, **given: Any) -> OutboundClient:
    """A client that may dial a receiver on 127.0.0.1, whose names all lead there, and that trusts nobody."""
    ours = {"resolve": Names(), "tls": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}
    return OutboundClient(url_rules(port, addresses=addresses), **{**ours, **given})
