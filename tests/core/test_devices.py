"""What a request says about its device."""

import pytest
from fastapi import Request

from app.core.config import get_settings
from app.core.devices import Device, calling_device

SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1"
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"


def asking(*headers: tuple[str, str], peer: str | None = "192.0.2.7") -> Device:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    client = (peer, 1234) if peer else None
    return calling_device(Request({"type": "http", "headers": raw, "client": client}))


@pytest.mark.parametrize(
    ("agent", "kind", "name"),
    [
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36",
            "desktop",
            "Chrome 131, Windows 10",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
            "desktop",
            "Firefox 130, Linux",
        ),
        (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) {SAFARI}",
            "mobile",
            "Mobile Safari 17, iPhone",
        ),
        (f"Mozilla/5.0 (iPad; CPU OS 17_1 like Mac OS X) {SAFARI}", "tablet", "Mobile Safari 17, iPad"),
        (
            f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {CHROME} Mobile Safari/537.36",
            "mobile",
            "Chrome Mobile 131, Pixel 8",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 14; SM-X910) {CHROME} Safari/537.36",
            "tablet",
            "Chrome 131, SM-X910",
        ),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "bot",
            "Googlebot 2",
        ),
        ("curl/8.1", "unknown", "curl 8"),
        ("nothing that anybody knows", "unknown", None),
        ("", "unknown", None),
    ],
)
def test_device_when_its_user_agent_is_read(agent: str, kind: str, name: str | None) -> None:
    device = asking(("User-Agent", agent))
    assert (device.type, device.name) == (kind, name)


def test_user_agent_when_it_is_very_long() -> None:
    assert asking(("User-Agent", "x" * 9000)).user_agent == "x" * 512


def test_user_agent_when_it_holds_nul() -> None:
    assert asking(("User-Agent", "curl\x00/8.1")).user_agent == "curl/8.1"


def test_address_when_the_peer_is_unknown() -> None:
    assert asking(peer=None).ip_address is None
    assert str(asking(peer="192.0.2.7").ip_address) == "192.0.2.7"


@pytest.mark.parametrize(
    ("peer", "country", "expected"),
    [
        ("10.0.0.1", "FR", {"country": "FR"}),
        ("192.0.2.7", "FR", None),
        ("10.0.0.1", "fr", None),
        ("10.0.0.1", "FRANCE", None),
        ("10.0.0.1", "", None),
        (None, "FR", None),
    ],
)
def test_location_when_a_header_names_it(
    monkeypatch: pytest.MonkeyPatch, peer: str | None, country: str, expected: dict[str, str] | None
) -> None:
    monkeypatch.setattr(get_settings(), "geo_country_header", "CF-IPCountry")
    monkeypatch.setattr(get_settings(), "trusted_proxies", ["10.0.0.0/8"])
    headers = [("CF-IPCountry", country), ("X-Forwarded-For", "198.51.100.4")]
    assert asking(*headers, peer=peer).location == expected


def test_location_when_no_header_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "trusted_proxies", ["10.0.0.0/8"])
    assert asking(("CF-IPCountry", "FR"), peer="10.0.0.1").location is None
