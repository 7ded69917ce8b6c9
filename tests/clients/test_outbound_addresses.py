"""Addresses that are never dialled, given as URLs and as what a name leads to."""

from ipaddress import ip_network

import pytest

from app.clients.outbound import OutboundFailure, UrlNotAllowed, check_url
from app.clients.outbound.addresses import AddressRules
from tests.support.outbound import Names, outbound, url_rules
from tests.support.receivers import receiving, reply

HOSTILE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "10.255.255.255",
    "169.254.169.254",
    "169.254.170.2",
    "100.64.0.1",
    "100.100.100.200",
    "0.0.0.0",  # noqa: S104 - never listened on
    "0.1.2.3",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.0.9",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.175.48.1",
    "198.18.0.1",
    "198.19.255.255",
    "192.0.2.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:20::1",
    "fec0::1",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "fdff::1",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "100::1",
    "2620:4f:8000::1",
    "4000::1",
]
ZONED = ["fe80::1%eth0", "::1%lo", "::ffff:127.0.0.1%lo", "127.0.0.1%lo", "8.8.8.8%lo"]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.216.34",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "223.255.255.255",
    "192.0.1.0",
    "198.17.255.255",
    "198.20.0.0",
    "::ffff:8.8.8.8",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4007::1",
    "2001:200::1",
    "2003::1",
    "3ffe::1",
]
NOTHING_OPENED = AddressRules()


def test_hostile_addresses_when_counted() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 41


@pytest.mark.parametrize("address", HOSTILE)
def test_url_of_hostile_address_when_saved(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(UrlNotAllowed) as refusal:
        check_url(f"https://{host}/hook", url_rules(443, addresses=NOTHING_OPENED))
    assert refusal.value.reason == "host_is_address"


@pytest.mark.parametrize("address", [*HOSTILE, *ZONED])
async def test_name_of_hostile_address_when_sent(address: str) -> None:
    async with receiving(reply()) as receiver:
        client = outbound(receiver.port, NOTHING_OPENED, resolve=Names([address]))
        with pytest.raises(OutboundFailure) as failure:
            await client.send("POST", receiver.url())
    assert failure.value.code == "blocked_address"
    assert failure.value.remote_ip is None
    assert address not in str(failure.value), "what an inner name stands for is nobody's business"
    assert receiver.accepted_count == 0


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_when_judged(address: str) -> None:
    assert NOTHING_OPENED.allows(address)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0177.0.0.1", "2130706433", "1.2.3.4.5", "::g"])
def test_no_address_when_judged(text: str) -> None:
    assert not NOTHING_OPENED.allows(text)
    assert not AddressRules(opened=(ip_network("0.0.0.0/0"), ip_network("::/0"))).allows(text)


def test_networks_when_operator_opens_and_closes_them() -> None:
    rules = AddressRules(
        opened=(ip_network("10.1.0.0/16"), ip_network("fd00::/8")),
        closed=(ip_network("10.1.2.0/24"), ip_network("8.8.8.0/24")),
    )
    assert rules.allows("10.1.9.9")
    assert rules.allows("::ffff:10.1.9.9")
    assert rules.allows("fd00::1")
    assert not rules.allows("10.2.0.1")
    assert not rules.allows("10.1.2.3"), "what is closed stays closed inside of what is opened"
    assert not rules.allows("8.8.8.8")
    assert not rules.allows("::ffff:8.8.8.8")
    assert rules.opens("10.1.9.9")
    assert not rules.opens("1.1.1.1"), "public, but nobody has opened it"
