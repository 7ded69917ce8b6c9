"""Owns the closed list of what goes wrong with a request to somebody's server, and what people are told."""

import ssl
from typing import Literal, get_args

from app.clients.outbound.answers import OutboundAnswer

NetworkCode = Literal[
    "dns_not_found",
    "dns_timeout",
    "blocked_address",
    "connect_refused",
    "connect_timeout",
    "tls_expired",
    "tls_name_mismatch",
    "tls_untrusted",
    "timeout",
    "too_large",
    "connection_reset",
]
"""No answer came."""

AnswerCode = Literal["redirect", "http_4xx", "http_5xx", "gone", "rate_limited"]
"""An answer came, and it is no success."""

NETWORK_CODES: frozenset[str] = frozenset(get_args(NetworkCode))

HINTS: dict[str, str] = {
    "dns_not_found": "The host's name is not known; check its spelling and its DNS records.",
    "dns_timeout": "The name servers of the host did not answer in time; check its DNS records.",
    "blocked_address": "The host's name leads to an address that is not public; use a public one.",
    "connect_refused": "No connection could be made; check that the server runs and that its port is open.",
    "connect_timeout": "The server did not take the connection in time; check its firewall.",
    "tls_expired": "The server's certificate is out of date; renew it.",
    "tls_name_mismatch": "The server's certificate is for another name; get one for this host.",
    "tls_untrusted": "The server's certificate is not trusted; send one of a public authority and its chain.",
    "timeout": "The server did not finish its answer in time; answer first and do the work afterwards.",
    "too_large": "The answer was too large; answer with a short body and few headers.",
    "connection_reset": "The server broke the connection before its answer was complete; look into its log.",
    "http_4xx": "The server refused the request; check that the address takes it.",
    "http_5xx": "The server failed; look into its log.",
    "gone": "410: the address is gone for good; store another one, or delete it.",
    "rate_limited": "429: the server wants fewer requests; allow more of them.",
}

# Verification errors of OpenSSL (x509_vfy.h).
_OUT_OF_DATE = frozenset({9, 10})
_ANOTHER_NAME = frozenset({62, 63, 64})


class OutboundFailure(Exception):
    """No usable answer came. `code` is of the closed list; the rest is for logs and for the owner.

    `remote_ip` is the address that was dialled; None when none was, also where it was denied, because it
    would tell what names of an inner network stand for.
    """

    def __init__(
        self, code: NetworkCode, detail: str, *, remote_ip: str | None = None, duration_ms: int = 0
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: NetworkCode = code
        self.detail = detail
        self.remote_ip = remote_ip
        self.duration_ms = duration_ms


class LineFault(Exception):
    """What the line to a server met, before the client knows how long it took."""

    def __init__(self, code: NetworkCode, detail: str) -> None:
        super().__init__(detail)
        self.code: NetworkCode = code
        self.detail = detail


def code_of(answer: OutboundAnswer) -> AnswerCode | None:
    """The code of an answer that is no success; None for 2xx."""
    if answer.is_success:
        return None
    if answer.status < 400:
        return "redirect"
    if answer.status == 410:
        return "gone"
    if answer.status == 429:
        return "rate_limited"
    return "http_4xx" if answer.status < 500 else "http_5xx"


def hint_for(code: str, answer: OutboundAnswer | None = None) -> str:
    """One sentence for people on what to do about a code, of the network or of an answer."""
    if code == "redirect" and answer is not None and answer.redirect_target is not None:
        return f"{answer.status} to {answer.redirect_target}; store that address."
    if code == "redirect":
        return "The server redirects, which is never followed; store the address that it points to."
    if code in {"http_4xx", "http_5xx"} and answer is not None:
        return f"{answer.status}: {HINTS[code][0].lower()}{HINTS[code][1:]}"
    return HINTS[code]


def tls_fault(error: ssl.SSLError) -> LineFault:
    """What a failed handshake is called."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OUT_OF_DATE:
            return LineFault("tls_expired", error.verify_message)
        if error.verify_code in _ANOTHER_NAME:
            return LineFault("tls_name_mismatch", error.verify_message)
        return LineFault("tls_untrusted", error.verify_message)
    return LineFault("tls_untrusted", error.reason or "no handshake")
