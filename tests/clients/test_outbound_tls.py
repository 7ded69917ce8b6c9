"""The outbound client and the certificates of servers."""

import asyncio
import ssl
from typing import Any

import pytest

from app.clients.outbound import OutboundAnswer, OutboundClient, OutboundFailure
from tests.support.certificates import Authority
from tests.support.outbound import LOOPBACK, Names, outbound, url_rules
from tests.support.receivers import hang, receiving, reply, say

HOST = "hooks.example.test"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


async def ask(authority: Authority, tls: ssl.SSLContext, host: str = HOST) -> OutboundAnswer:
    async with receiving(reply(), tls) as receiver:
        client = outbound(receiver.port, tls=authority.trusting())
        answer = await client.send("POST", receiver.url(scheme="https", host=host), content=b"{}")
        await receiver.all_closed()
    assert receiver.server_names == [host], "the handshake names the host, not the address"
    assert f"host: {host}:{receiver.port}\r\n" in receiver.requests[0][0]
    return answer


async def failure_of(authority: Authority, tls: ssl.SSLContext) -> OutboundFailure:
    async with receiving(reply(), tls) as receiver:
        with pytest.raises(OutboundFailure) as failure:
            await outbound(receiver.port, tls=authority.trusting()).send(
                "POST", receiver.url(scheme="https"), content=b"a secret"
            )
        await receiver.all_closed()
        assert receiver.requests == [], "nothing is sent before the certificate is good"
    assert failure.value.remote_ip == "127.0.0.1"
    return failure.value


@pytest.mark.parametrize("host", [HOST, "xn--mnchen-3ya.example"])
async def test_certificate_when_it_is_good(authority: Authority, host: str) -> None:
    answer = await ask(authority, authority.server(host), host)
    assert (answer.status, answer.remote_ip) == (200, "127.0.0.1")


async def test_certificate_when_it_is_out_of_date(authority: Authority) -> None:
    assert (
        await failure_of(authority, authority.server(HOST, from_days=-9, to_days=-1))
    ).code == "tls_expired"
    assert (await failure_of(authority, authority.server(HOST, from_days=1, to_days=9))).code == "tls_expired"


async def test_certificate_when_it_is_for_another_name(authority: Authority) -> None:
    assert (await failure_of(authority, authority.server("other.example.test"))).code == "tls_name_mismatch"


async def test_certificate_when_nobody_trusted_signed_it(authority: Authority) -> None:
    self_signed = authority.server(HOST, is_self_signed=True)
    assert (await failure_of(authority, self_signed)).code == "tls_untrusted"


async def test_authorities_when_environment_names_others(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    async with receiving(reply(), authority.server(HOST)) as receiver:
        client = OutboundClient(url_rules(receiver.port, addresses=LOOPBACK), resolve=Names())
        with pytest.raises(OutboundFailure) as failure:
            await client.send("POST", receiver.url(scheme="https"))
    assert failure.value.code == "tls_untrusted"


async def test_handshake_when_server_is_too_old(authority: Authority) -> None:
    client_tls = authority.trusting()
    client_tls.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    OutboundClient(url_rules(443), tls=client_tls)
    assert client_tls.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_handshake_when_server_speaks_plain_http(authority: Authority) -> None:
    async with receiving(say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), is_blind=True) as receiver:
        with pytest.raises(OutboundFailure) as failure:
            await outbound(receiver.port, tls=authority.trusting()).send("GET", receiver.url(scheme="https"))
    assert failure.value.code == "tls_untrusted"


async def test_handshake_when_server_hangs(authority: Authority) -> None:
    async with receiving(hang, is_blind=True) as receiver:
        either: list[tuple[dict[str, Any], float]] = [({"connect_seconds": 0.2}, 60.0), ({}, 0.3)]
        for bounds, whole in either:
            client = outbound(receiver.port, tls=authority.trusting(), **bounds)
            with pytest.raises(OutboundFailure) as failure:
                await client.send("GET", receiver.url(scheme="https"), timeout_seconds=whole)
            assert failure.value.code == "connect_timeout"
            assert failure.value.duration_ms < 60_000
            await receiver.all_closed()


async def test_handshake_when_server_breaks_off(authority: Authority) -> None:
    async def leave(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(10)

    async with receiving(leave, is_blind=True) as receiver:
        with pytest.raises(OutboundFailure) as failure:
            await outbound(receiver.port, tls=authority.trusting()).send("GET", receiver.url(scheme="https"))
    assert failure.value.code == "connection_reset"
