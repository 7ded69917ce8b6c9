"""Owns what a request says about the device it comes from: address, browser, system, place and device key."""

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from fastapi import Depends, Header, Request
from ua_parser import parse

from app.core.client_address import IPAddress, client_address, parse_ip
from app.core.config import Settings, get_settings

DeviceType = Literal["desktop", "mobile", "tablet", "bot", "unknown"]

LONGEST_USER_AGENT = 512

_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
_DESKTOPS = frozenset({"Windows", "Mac OS X", "Linux", "Ubuntu", "Chrome OS", "Fedora", "Debian", "FreeBSD"})


@dataclass(frozen=True, slots=True)
class Device:
    """The device of a request, as far as it tells. `key_hash` is the SHA-256 of `X-Device-Key`."""

    ip_address: IPAddress | None
    user_agent: str | None
    name: str | None
    type: DeviceType
    browser: str | None
    os: str | None
    location: dict[str, str] | None
    key_hash: bytes | None


@dataclass(frozen=True, slots=True)
class _Program:
    """What a User-Agent header says."""

    name: str | None
    type: DeviceType
    browser: str | None
    os: str | None


def calling_device(
    request: Request,
    x_device_key: Annotated[
        str | None,
        Header(
            pattern=r"^[A-Za-z0-9_-]{22,64}$",
            description="A random value that the app makes once per browser profile and keeps there."
            " It tells this browser's sign-ins and refreshes from those of strangers.",
        ),
    ] = None,
) -> Device:
    """The device of a request; 422 when its `X-Device-Key` is malformed."""
    settings = get_settings()
    header = user_agent_of(request)
    program = _read_user_agent(header or "")
    return Device(
        ip_address=parse_ip(client_address(request.scope, settings.trusted_proxies)),
        user_agent=header,
        name=program.name,
        type=program.type,
        browser=program.browser,
        os=program.os,
        location=location_of(request, settings),
        key_hash=hashlib.sha256(x_device_key.encode()).digest() if x_device_key else None,
    )


CallingDevice = Annotated[Device, Depends(calling_device)]


def user_agent_of(request: Request) -> str | None:
    """The `User-Agent` of a request, cut to LONGEST_USER_AGENT; None without one."""
    return request.headers.get("user-agent", "").replace("\x00", "").strip()[:LONGEST_USER_AGENT] or None


def device_name(user_agent: str | None) -> str | None:
    """Browser and system, as people know them, of a `User-Agent`; None when it says nothing."""
    return _read_user_agent(user_agent or "").name


@lru_cache(maxsize=1024)
def _read_user_agent(header: str) -> _Program:
    found = parse(header)
    browser = _named(found.user_agent.family, found.user_agent.major) if found.user_agent else None
    system = _named(found.os.family, found.os.major) if found.os else None
    model = found.device.family if found.device else None
    brand = found.device.brand if found.device else None
    kind = _kind(header, brand, model, found.os.family if found.os else None)
    if kind == "bot":
        return _Program(browser, kind, browser, system)
    parts = [part for part in (browser, model or system) if part]
    return _Program(", ".join(parts) or None, kind, browser, system)


def _named(family: str, major: str | None) -> str:
    return f"{family} {major}" if major else family


def _kind(header: str, brand: str | None, model: str | None, system: str | None) -> DeviceType:
    if brand == "Spider":
        return "bot"
    if model == "iPad" or (brand and "Tablet" in brand) or "Tablet" in header:
        return "tablet"
    if "Mobile" in header or model == "iPhone":
        return "mobile"
    if system == "Android":
        # Android browsers say "Mobile" on telephones only.
        return "tablet"
    return "desktop" if system in _DESKTOPS else "unknown"


def location_of(request: Request, settings: Settings) -> dict[str, str] | None:
    """The country that a trusted proxy names; nobody else's word counts."""
    if settings.geo_country_header is None or not _is_from_proxy(request, settings):
        return None
    country = request.headers.get(settings.geo_country_header, "")
    return {"country": country} if _COUNTRY.fullmatch(country) else None


def _is_from_proxy(request: Request, settings: Settings) -> bool:
    peer = parse_ip(request.client.host) if request.client else None
    networks = (ipaddress.ip_network(text, strict=False) for text in settings.trusted_proxies)
    return peer is not None and any(peer in network for network in networks)
