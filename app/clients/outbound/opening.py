"""The outbound client of this process, as the settings ask for it."""

import logging
from functools import lru_cache

from app.clients.outbound.client import OutboundClient
from app.clients.outbound.urls import UrlRules
from app.core.config import Settings, get_settings

log = logging.getLogger(__name__)


def get_outbound() -> OutboundClient:
    """The client of this process, which keeps no connection; also a dependency of routes."""
    return _client(UrlRules.of(get_settings()))


def announce_opened_networks(settings: Settings) -> None:
    """Say at the start which private networks customers' addresses may lead to."""
    if settings.outbound_allow:
        log.warning("OUTBOUND_ALLOW opens %s to customers' addresses", ", ".join(settings.outbound_allow))


@lru_cache(maxsize=4)
def _client(rules: UrlRules) -> OutboundClient:
    # Reading the authorities takes some 20 ms.
    return OutboundClient(rules)
