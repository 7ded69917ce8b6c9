"""Two hundred bad servers at once: what they cost is bounded, and given back."""

import asyncio
import gc
import socket
import threading
from collections import Counter

import psutil
import pytest

from app.clients.outbound import OutboundClient, OutboundFailure, names
from app.jobs.worker import WAITING_CONCURRENCY
from tests.support import receivers
from tests.support.outbound import outbound
from tests.support.receivers import Behaviour, receiving, reply

CROWD = 200
PER_EXCHANGE = 400_000
"""Bytes that one exchange may hold: what a read brings, and the server's side of it in this process."""

BAD: dict[str, Behaviour] = {
    "/hang": receivers.hang,
    "/drip": receivers.drip_head,
    "/endless": receivers.endless_body,
    "/head": receivers.endless_head,
    "/bomb": receivers.bomb,
}

SLOW = {"/hang", "/drip"}


async def outcome(client: OutboundClient, url: str, timeout_seconds: float = 120.0) -> str:
    try:
        answer = await client.send("POST", url, content=b"{}", timeout_seconds=timeout_seconds)
    except OutboundFailure as failure:
        return failure.code
    return f"{answer.status} {answer.is_truncated}"


def resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


@pytest.mark.fault
async def test_bad_servers_when_two_hundred_are_asked_at_once() -> None:
    process = psutil.Process()
    async with receiving(BAD) as receiver, receiving(reply()) as healthy:
        client, good = outbound(receiver.port), outbound(healthy.port)
        paths = [list(BAD)[number % len(BAD)] for number in range(CROWD)]
        sizes = []
        files, threads = process.num_fds(), process.num_threads()
        for _ in range(3):
            crowd = asyncio.gather(
                *(outcome(client, receiver.url(path), 0.8 if path in SLOW else 120.0) for path in paths)
            )
            await asyncio.sleep(0)
            answer = await good.send("GET", healthy.url(), timeout_seconds=120.0)
            assert answer.status == 200
            # On a busy machine the time of some is over before they are connected.
            codes = Counter(code.removeprefix("connect_") for code in await crowd)
            await receiver.all_closed()
            sizes.append(resident())
            assert codes == {"timeout": 80, "200 True": 40, "too_large": 40, "200 False": 40}
        async with asyncio.timeout(60):
            while process.num_fds() > files:  # noqa: ASYNC110 - the receivers close their side in a moment.
                await asyncio.sleep(0.01)
        assert process.num_threads() <= threads
    assert min(sizes[1:]) - sizes[0] < CROWD * PER_EXCHANGE / 10, "nothing stays behind"


@pytest.mark.fault
async def test_memory_when_two_hundred_servers_send_without_end() -> None:
    async with receiving(receivers.endless_body) as receiver:
        client = outbound(receiver.port)
        before = resident()
        most = 0
        crowd = asyncio.gather(*(outcome(client, receiver.url()) for _ in range(CROWD)))
        while not crowd.done():
            await asyncio.sleep(0.01)
            most = max(most, int(psutil.Process().memory_info().rss) - before)
        assert set(await crowd) == {"200 True"}
    assert most < CROWD * PER_EXCHANGE


async def test_lookups_when_two_hundred_names_are_asked_for_at_once() -> None:
    found = await asyncio.gather(*(names.look_up("127.0.0.1") for _ in range(CROWD)))
    assert found == [["127.0.0.1"]] * CROWD


async def test_lookup_when_every_sender_has_asked_for_a_dead_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their threads wait on, longer than anybody waits for them; a good name is found all the same."""
    let_go = threading.Event()

    def answer(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if name == "dead.example.com":
            let_go.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    waiting = [asyncio.create_task(names.look_up("dead.example.com")) for _ in range(WAITING_CONCURRENCY)]
    try:
        async with asyncio.timeout(30):
            await asyncio.sleep(0)
            assert await names.look_up("good.example.com") == ["192.0.2.1"]
    finally:
        let_go.set()
        failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(failure) for failure in failures} == {socket.gaierror}
