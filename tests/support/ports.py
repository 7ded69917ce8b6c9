"""Ports for servers that must be told theirs."""

import secrets
import socket

PORTS = range(20_000, 32_000)
"""Below those that the system gives to clients, who might sit on a port that was free a moment ago."""


def free_port() -> int:
    """A port of loopback that nobody uses."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
