"""URLs of customers: what is refused when they are saved, and the one form in which they are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clients.outbound import CheckedUrl, UrlNotAllowed, check_url
from app.clients.outbound.urls import UrlRules
from app.core.config import Settings
from tests.support.outbound import url_rules

RULES = UrlRules.of(Settings(_env_file=None))

KEPT = {
    "https://hooks.example.com": "https://hooks.example.com/",
    "https://hooks.example.com/": "https://hooks.example.com/",
    "HTTPS://Hooks.Example.COM/Path?Q=1": "https://hooks.example.com/Path?Q=1",
    "https://hooks.example.com:443/a": "https://hooks.example.com/a",
    "https://hooks.example.com:8443/a": "https://hooks.example.com:8443/a",
    "https://hooks.example.com:80/a": "https://hooks.example.com:80/a",
    "https://hooks.example.com./a": "https://hooks.example.com/a",
    "https://hooks.example.com?x=1": "https://hooks.example.com/?x=1",
    "https://münchen.example/é?q=ü": "https://xn--mnchen-3ya.example/%C3%A9?q=%C3%BC",
    "https://FASS.example/": "https://fass.example/",
    "https://faß.example/": "https://xn--fa-hia.example/",
    "https://ｈｏｏｋｓ.example。com/": "https://hooks.example.com/",
    "https://hooks.example.com/a%2Fb%20c?d=%41": "https://hooks.example.com/a%2Fb%20c?d=%41",
    'https://hooks.example.com/{a}"<b>|^`': "https://hooks.example.com/%7Ba%7D%22%3Cb%3E%7C%5E%60",
    "https://hooks.example.com/a@b:c/../d": "https://hooks.example.com/a@b:c/../d",
    "https://127.example.com/": "https://127.example.com/",
    "https://mylocalhost.example/": "https://mylocalhost.example/",
    "https://internal.example/": "https://internal.example/",
}

REFUSED = {
    "": "not_a_url",
    "hooks.example.com": "not_a_url",
    "//hooks.example.com/": "not_a_url",
    "https:/hooks.example.com": "not_a_url",
    "https:hooks.example.com": "not_a_url",
    "javascript:alert(1)": "not_a_url",
    "ftp://hooks.example.com/": "scheme_not_allowed",
    "file:///etc/passwd": "scheme_not_allowed",
    "gopher://hooks.example.com/": "scheme_not_allowed",
    "http://hooks.example.com/": "scheme_not_allowed",
    "https+unix://hooks.example.com/": "scheme_not_allowed",
    "ſhttps://hooks.example.com/": "not_a_url",
    "https://user@hooks.example.com/": "user_info",
    "https://user:pass@hooks.example.com/": "user_info",
    "https://hooks.example.com@127.0.0.1/": "user_info",
    "https://hooks.example.com%40127.0.0.1/": "host_not_valid",
    "https://hooks.example.com/#part": "fragment",
    "https://hooks.example.com#@127.0.0.1/": "fragment",
    "https://hooks.example.com\\@127.0.0.1/": "bad_character",
    "https:\\\\hooks.example.com\\": "bad_character",
    " https://hooks.example.com/": "bad_character",
    "https://hooks.example.com/ ": "bad_character",
    "https://hooks.example.com/a b": "bad_character",
    "https://hooks.example.com/\r\nX: y": "bad_character",
    "https://hooks.example.com/\x00": "bad_character",
    "https://hooks.example.com/\u00a0": "bad_character",
    "https://hooks.example.com/\u2028": "bad_character",
    "https://hooks.example.com/\ud800": "bad_character",
    "https:///path": "host_not_valid",
    "https://:443/": "host_not_valid",
    "https://./": "host_not_valid",
    "https://example/": "host_not_valid",
    "https://a..example.com/": "host_not_valid",
    "https://.example.com/": "host_not_valid",
    "https://example.com../": "host_not_valid",
    "https://-a.example.com/": "host_not_valid",
    "https://a-.example.com/": "host_not_valid",
    "https://a_b.example.com/": "host_not_valid",
    "https://exa%6dple.com/": "host_not_valid",
    "https://☃.example/": "host_not_valid",
    "https://xn--a.example/": "host_not_valid",
    "https://\ud800.example/": "host_not_valid",
    "https://hooks.example.com:/": "host_not_valid",
    "https://hooks.example.com:x/": "host_not_valid",
    "https://hooks.example.com:443:443/": "host_not_valid",
    "https://hooks.example.com:１２/": "host_not_valid",
    "https://[::1/": "host_not_valid",
    "https://[hooks.example.com]/": "host_not_valid",
    "https://[127.0.0.1]/": "host_not_valid",
    "https://[fe80::1%25eth0]/": "host_not_valid",
    "https://::1/": "host_not_valid",
    f"https://{'a' * 64}.example/": "host_not_valid",
    f"https://{'a.' * 126}example/": "host_not_valid",
    "https://hooks.example.com:0/": "port_not_allowed",
    "https://hooks.example.com:22/": "port_not_allowed",
    "https://hooks.example.com:25/": "port_not_allowed",
    "https://hooks.example.com:6379/": "port_not_allowed",
    "https://hooks.example.com:65536/": "port_not_allowed",
    "https://hooks.example.com:99999/": "port_not_allowed",
    "https://localhost/": "host_is_local",
    "https://localhost./": "host_is_local",
    "https://LOCALHOST/": "host_is_local",
    "https://app.localhost/": "host_is_local",
    "https://printer.local/": "host_is_local",
    "https://printer.local./": "host_is_local",
    "https://metadata.google.internal/": "host_is_local",
    "https://metadata.google.internal./": "host_is_local",
    "https://router.home.arpa/": "host_is_local",
    "https://ｌｏｃａｌｈｏｓｔ/": "host_is_local",
    "https://127.0.0.1/": "host_is_address",
    "https://8.8.8.8/": "host_is_address",
    "https://127.0.0.1./": "host_is_address",
    "https://127.1/": "host_is_address",
    "https://127.0.1/": "host_is_address",
    "https://2130706433/": "host_is_address",
    "https://017700000001/": "host_is_address",
    "https://0177.0.0.1/": "host_is_address",
    "https://0x7f000001/": "host_is_address",
    "https://0x7f.0.0.1/": "host_is_address",
    "https://0x7f.1/": "host_is_address",
    "https://0X7F.0X1/": "host_is_address",
    "https://example.0x/": "host_is_address",
    "https://example.123/": "host_is_address",
    "https://127。0。0。1/": "host_is_address",
    "https://１２７.0.0.1/": "host_is_address",
    "https://①②⑦.0.0.1/": "host_is_address",
    "https://[::1]/": "host_is_address",
    "https://[::ffff:127.0.0.1]/": "host_is_address",
    "https://[2606:4700:4700::1111]/": "host_is_address",
    f"https://hooks.example.com/{'a' * 2048}": "too_long",
    f"https://hooks.example.com/{'é' * 1000}": "too_long",
}


@pytest.mark.parametrize("number", range(len(KEPT)), ids=lambda number: f"kept{number}")
def test_url_when_kept(number: int) -> None:
    given_url, kept = list(KEPT.items())[number]
    assert check_url(given_url, RULES).url == kept
    assert check_url(kept, RULES).url == kept, "the kept form is its own kept form"


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=lambda number: f"refused{number}")
def test_url_when_refused(number: int) -> None:
    url, reason = list(REFUSED.items())[number]
    with pytest.raises(UrlNotAllowed) as refusal:
        check_url(url, RULES)
    assert refusal.value.reason == reason
    assert str(refusal.value).endswith("."), "a sentence that says what to do"


def test_url_when_it_is_as_long_as_it_may_be() -> None:
    url = "https://hooks.example.com/".ljust(2048, "a")
    assert check_url(url, RULES).url == url


def test_url_when_settings_hold() -> None:
    assert check_url("https://hooks.example.com/x").host == "hooks.example.com"
    with pytest.raises(UrlNotAllowed):
        check_url("http://hooks.example.com/x")


def test_plain_http_when_operator_allows_it() -> None:
    checked = check_url("http://hooks.example.com/x", url_rules(80))
    assert checked == CheckedUrl("http", "hooks.example.com", 80, "/x")
    assert checked.url == "http://hooks.example.com/x"


def test_address_when_operator_has_opened_its_network() -> None:
    assert check_url("https://127.0.0.1:8443/x", url_rules(8443)).netloc == "127.0.0.1:8443"
    for other in ("127.0.0.2", "127.1", "2130706433", "0x7f000001", "[::1]", "8.8.8.8"):
        with pytest.raises(UrlNotAllowed):
            check_url(f"https://{other}:8443/x", url_rules(8443))


@given(st.text(max_size=60) | st.text(alphabet="htps:/.[]@#?%\\ex0127-_。", max_size=60))
def test_url_when_it_is_anything(text: str) -> None:
    for url in (text, f"https://{text}", f"https://example.com{text}"):
        try:
            checked = check_url(url, RULES)
        except UrlNotAllowed:
            continue
        assert checked.url.isascii()
        assert checked.url.isprintable()
        assert checked.port in RULES.ports
        assert check_url(checked.url, RULES) == checked
