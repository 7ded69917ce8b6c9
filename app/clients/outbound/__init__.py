"""The outbound client: requests to addresses that customers chose, which reach nothing but the public net."""

from app.clients.outbound.answers import OutboundAnswer
from app.clients.outbound.client import OutboundClient
from app.clients.outbound.failures import NETWORK_CODES, OutboundFailure, code_of, hint_for
from app.clients.outbound.opening import get_outbound
from app.clients.outbound.urls import CheckedUrl, UrlNotAllowed, check_url

__all__ = [
    "NETWORK_CODES",
    "CheckedUrl",
    "OutboundAnswer",
    "OutboundClient",
    "OutboundFailure",
    "UrlNotAllowed",
    "check_url",
    "code_of",
    "get_outbound",
    "hint_for",
]
