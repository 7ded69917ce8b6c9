"""The caller's address: the socket's peer, or the last hop that no trusted proxy stands for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.client_address import UNKNOWN, address_key, client_address

PROXIES = ["10.0.0.0/8", "192.0.2.7", "2001:db8:ffff::/48"]


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"host", b"api.luneo.test")]
    headers += [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"type": "http", "client": None if peer is None else (peer, 40000), "headers": headers}


def test_the_peer_counts_when_it_is_no_trusted_proxy():
    assert client_address(scope("203.0.113.5", "198.51.100.1"), PROXIES) == "203.0.113.5"
    assert client_address(scope("127.0.0.1", "198.51.100.1"), []) == "127.0.0.1"


def test_the_last_untrusted_hop_counts_when_the_peer_is_trusted():
    assert client_address(scope("10.1.2.3", "198.51.100.1"), PROXIES) == "198.51.100.1"
    assert client_address(scope("192.0.2.7", "6.6.6.6, 198.51.100.1, 10.9.9.9"), PROXIES) == "198.51.100.1"
    assert client_address(scope("2001:db8:ffff::1", "2001:db8:1::5"), PROXIES) == "2001:db8:1::5"


def test_several_headers_count_as_one_when_a_proxy_adds_its_own():
    request = scope("10.1.2.3", "6.6.6.6", "198.51.100.1", "10.9.9.9,10.9.9.8")
    assert client_address(request, PROXIES) == "198.51.100.1"


def test_a_forged_left_part_is_not_read_when_an_untrusted_hop_follows():
    assert client_address(scope("10.1.2.3", "10.0.0.5, 198.51.100.1"), PROXIES) == "198.51.100.1"


def test_the_first_hop_counts_when_every_hop_is_trusted():
    assert client_address(scope("10.1.2.3", "10.0.0.5, 10.0.0.6"), PROXIES) == "10.0.0.5"


def test_the_peer_counts_when_the_trusted_proxy_sends_no_header():
    assert client_address(scope("10.1.2.3"), PROXIES) == "10.1.2.3"
    assert client_address({"type": "http", "client": ("10.1.2.3", 1)}, PROXIES) == "10.1.2.3"


@pytest.mark.parametrize(
    "garbage", ["", "unknown", "_hidden", "999.1.1.1", "1.2.3", "a,b", "é\xff", "01.2.3.4", "::1]"]
)
def test_the_reporting_proxy_counts_when_a_hop_is_garbage(garbage):
    assert client_address(scope("10.1.2.3", f"6.6.6.6,{garbage}"), PROXIES) == "10.1.2.3"
    assert client_address(scope("10.1.2.3", f"6.6.6.6,{garbage}, 10.0.0.9"), PROXIES) == "10.0.0.9"


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("198.51.100.1:5678", "198.51.100.1"),
        ("[2001:db8:1::5]:443", "2001:db8:1::5"),
        ("[2001:db8:1::5]", "2001:db8:1::5"),
        ("2001:DB8:1:0:0:0:0:5", "2001:db8:1::5"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("[::ffff:198.51.100.1]:80", "198.51.100.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("  198.51.100.1\t", "198.51.100.1"),
    ],
)
def test_a_hop_is_read_when_written_with_port_brackets_zone_or_mapped(hop, address):
    assert client_address(scope("10.1.2.3", hop), PROXIES) == address


def test_a_mapped_peer_is_trusted_when_its_ipv4_address_is():
    assert client_address(scope("::ffff:10.1.2.3", "198.51.100.1"), PROXIES) == "198.51.100.1"
    assert client_address(scope("::ffff:203.0.113.5", "198.51.100.1"), PROXIES) == "203.0.113.5"


@pytest.mark.parametrize("peer", [None, "", "testclient", "/run/luneo.sock"])
def test_the_address_is_unknown_when_the_peer_has_none(peer):
    assert client_address(scope(peer, "198.51.100.1"), PROXIES) == UNKNOWN


def test_a_proxy_list_with_a_typo_is_refused_when_read():
    with pytest.raises(ValueError, match="network"):
        client_address(scope("10.1.2.3"), ["10.0.0.0/33"])


@given(st.lists(st.text(st.characters(max_codepoint=255)), max_size=4))
def test_any_header_gives_an_address_when_the_peer_is_trusted(values):
    assert address_key(client_address(scope("10.1.2.3", *values), PROXIES)) != UNKNOWN


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        (UNKNOWN, UNKNOWN),
        ("garbage", UNKNOWN),
    ],
)
def test_address_key_groups_ipv6_by_64_bits_when_given_an_address(address, key):
    assert address_key(address) == key
