"""Owns which URLs customers may give us: read strictly, by one parser, before anything is saved or sent."""

import re
from dataclasses import dataclass
from typing import Literal, Self, get_args
from urllib.parse import quote

import idna

from app.clients.outbound.addresses import AddressRules, parse_address
from app.core.config import Settings, get_settings

LONGEST_URL = 2048
LONGEST_HOST = 253
LONGEST_LABEL = 63
DEFAULT_PORTS = {"http": 80, "https": 443}
LOCAL_NAMES = ("local", "localhost", "internal", "home.arpa")
"""Names under these lead into the network of whoever asks (RFC 6761, 6762, 8375; `internal` by ICANN)."""

UrlReason = Literal[
    "too_long",
    "not_a_url",
    "bad_character",
    "user_info",
    "fragment",
    "scheme_not_allowed",
    "port_not_allowed",
    "host_not_valid",
    "host_is_local",
    "host_is_address",
]
"""Why a URL is refused: a closed list, which callers see."""

SENTENCES: dict[UrlReason, str] = {
    "too_long": f"A URL has at most {LONGEST_URL} characters; use a shorter one.",
    "not_a_url": "This is no URL; write it like https://example.com/path.",
    "bad_character": "A URL has no spaces, backslashes or control characters; encode or remove them.",
    "user_info": "The URL bears a user name or a password; leave them out.",
    "fragment": "The URL has a fragment, which is never sent; leave out what begins with #.",
    "scheme_not_allowed": "The URL has a scheme that is not allowed here; use https.",
    "port_not_allowed": "The URL has a port that is not allowed here; use 443 or 8443.",
    "host_not_valid": "The URL's host is no valid name; use one with a domain, like hooks.example.com.",
    "host_is_local": "The URL's host is a name of a local network; use one that the public net knows.",
    "host_is_address": "The URL's host is an IP address; use a name.",
}
assert set(SENTENCES) == set(get_args(UrlReason))  # noqa: S101 - both are literals of this file.

_SHAPE = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<target>[/?].*)?", re.I | re.A)
_BAD = re.compile(r"[\x00-\x20\x7f-\xa0\\\s]")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?", re.I | re.A)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.A)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.A)


class UrlNotAllowed(ValueError):
    """The URL is refused. `reason` is of the closed list; the text is a sentence that says what to do."""

    def __init__(self, reason: UrlReason) -> None:
        super().__init__(SENTENCES[reason])
        self.reason: UrlReason = reason


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """A URL in its one normal form: lower-case ASCII host, no default port, ASCII path and query.

    `host` has no brackets, `target` is path and query as they are sent.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def netloc(self) -> str:
        """Host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.netloc}{self.target}"


@dataclass(frozen=True, slots=True)
class UrlRules:
    """What the operator lets customers' URLs be."""

    is_http_allowed: bool
    ports: frozenset[int]
    addresses: AddressRules

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """OUTBOUND_ALLOW_HTTP, OUTBOUND_PORTS, OUTBOUND_ALLOW and OUTBOUND_DENY."""
        return cls(
            is_http_allowed=settings.outbound_allow_http,
            ports=frozenset(int(port) for port in settings.outbound_ports),
            addresses=AddressRules.of(settings),
        )


def check_url(url: str, rules: UrlRules | None = None) -> CheckedUrl:
    """The URL in its normal form, if a customer may give it; else UrlNotAllowed. Asks nobody.

    Without `rules` those of the settings hold. Where the name leads is checked at every request, not here.
    """
    rules = rules or UrlRules.of(get_settings())
    read = read_url(url)
    if read.scheme == "http" and not rules.is_http_allowed:
        raise UrlNotAllowed("scheme_not_allowed")
    if parse_address(read.host) is not None:
        if not rules.addresses.opens(read.host):
            raise UrlNotAllowed("host_is_address")
    else:
        _check_name(read.host)
    if read.port not in rules.ports:
        raise UrlNotAllowed("port_not_allowed")
    return read


def read_url(url: str) -> CheckedUrl:
    """The URL in its normal form, whatever host and port it names; UrlNotAllowed when it is none of ours.

    For addresses that stand in the code or in the operator's settings.
    """
    if len(url) > LONGEST_URL:
        raise UrlNotAllowed("too_long")
    if _BAD.search(url) is not None:
        raise UrlNotAllowed("bad_character")
    if "#" in url:
        raise UrlNotAllowed("fragment")
    shape = _SHAPE.fullmatch(url)
    if shape is None:
        raise UrlNotAllowed("not_a_url")
    scheme = shape["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise UrlNotAllowed("scheme_not_allowed")
    if "@" in shape["authority"]:
        raise UrlNotAllowed("user_info")
    authority = _AUTHORITY.fullmatch(shape["authority"])
    if authority is None:
        raise UrlNotAllowed("host_not_valid")
    port = int(authority["port"] or DEFAULT_PORTS[scheme])
    if not 0 < port < 65536:
        raise UrlNotAllowed("port_not_allowed")
    read = CheckedUrl(scheme, _host_of(authority["host"]), port, _target_of(shape["target"] or "/"))
    if len(read.url) > LONGEST_URL:  # Encoding makes it longer.
        raise UrlNotAllowed("too_long")
    return read


def _host_of(text: str) -> str:
    """The host in lower-case ASCII: an address without brackets, or a name by IDNA 2008 (UTS 46 mapping)."""
    if text.startswith("["):
        address = text[1:-1]
        if ":" not in address or parse_address(address) is None:
            raise UrlNotAllowed("host_not_valid")
        return address.lower()
    try:
        # Full-width dots and digits become plain ones here, so all that follows sees what DNS would see.
        host = idna.encode(text, uts46=True).decode("ascii").lower().removesuffix(".")
    except (UnicodeError, IndexError):
        raise UrlNotAllowed("host_not_valid") from None
    labels = host.split(".")
    if len(host) > LONGEST_HOST or not all(
        len(label) <= LONGEST_LABEL and _LABEL.fullmatch(label) for label in labels
    ):
        raise UrlNotAllowed("host_not_valid")
    # What ends in a number is read as an IPv4 address by libraries, in any of a dozen spellings.
    if _NUMBER.fullmatch(labels[-1]) is not None and parse_address(host) is None:
        raise UrlNotAllowed("host_is_address")
    return host


def _check_name(host: str) -> None:
    if any(host == name or host.endswith(f".{name}") for name in LOCAL_NAMES):
        raise UrlNotAllowed("host_is_local")
    if "." not in host:
        raise UrlNotAllowed("host_not_valid")


def _target_of(text: str) -> str:
    """Path and query in ASCII; what is encoded already stays as it is."""
    path = text if text.startswith("/") else f"/{text}"
    try:
        return quote(path, safe="%/:=&?~+!$,;'()*@[]")
    except UnicodeError:
        raise UrlNotAllowed("bad_character") from None
