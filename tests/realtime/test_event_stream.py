"""The answer that keeps sending: it ends with its reader, its source, or a write that nobody takes."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from app.core import event_stream
from app.core.event_stream import EventStream, frame


class Words:
    """A source that says some words, and then waits until its reader leaves."""

    def __init__(self, *words: bytes, error: Exception | None = None) -> None:
        self.words = words
        self.error = error
        self.left = asyncio.Event()
        self.is_slow = asyncio.Event()
        self.closed = 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for word in self.words:
            yield word
        if self.error is not None:
            raise self.error
        await self.left.wait()

    def leave(self) -> None:
        self.left.set()

    def too_slow(self) -> bytes:
        self.is_slow.set()
        return b"too slow"

    async def close(self) -> None:
        self.closed += 1


class Reader:
    """The other side: takes what is sent until it is blocked, and may go away."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.gone = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.takes.wait()
        self.sent.append(message)
        if message.get("body") == b"block":
            self.takes.clear()

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent[1:]]


async def answer(source: Words, reader: Reader) -> None:
    async with asyncio.timeout(60):
        await EventStream(source)({"type": "http"}, reader.receive, reader.send)


def test_frame_is_one_block_when_its_data_has_lines() -> None:
    assert (
        frame("a.b", {"x": "é\n\r"}, cursor="e.1") == b'id: e.1\nevent: a.b\ndata: {"x":"\xc3\xa9\\n\\r"}\n\n'
    )
    assert frame("a.b", "{}") == b"event: a.b\ndata: {}\n\n"


async def test_source_is_closed_when_the_reader_goes() -> None:
    source, reader = Words(b"one", b"two"), Reader()
    task = asyncio.create_task(answer(source, reader))
    while len(reader.sent) < 3:  # noqa: ASYNC110 - a list tells nobody
        await asyncio.sleep(0.01)
    assert not task.done()
    reader.gone.set()
    await task
    assert reader.bodies == [b"one", b"two", b""]
    assert source.closed == 1


async def test_answer_ends_when_the_source_does() -> None:
    source, reader = Words(b"one"), Reader()
    source.leave()
    await answer(source, reader)
    assert reader.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert source.closed == 1


@pytest.mark.parametrize("takes_again", [True, False])
async def test_answer_ends_when_a_write_is_blocked(
    monkeypatch: pytest.MonkeyPatch, takes_again: bool
) -> None:
    monkeypatch.setattr(event_stream, "WRITE_SECONDS", 0.05)
    monkeypatch.setattr(event_stream, "FAREWELL_SECONDS", 60 if takes_again else 0.1)
    source, reader = Words(b"block", b"never read"), Reader()
    task = asyncio.create_task(answer(source, reader))
    await source.is_slow.wait()
    if takes_again:
        reader.takes.set()
    await task
    assert reader.bodies == ([b"block", b"too slow"] if takes_again else [b"block"])
    assert source.closed == 1


async def test_source_is_closed_when_it_fails_or_the_server_stops() -> None:
    source, reader = Words(error=ZeroDivisionError()), Reader()
    with pytest.raises(ExceptionGroup) as raised:
        await answer(source, reader)
    assert isinstance(raised.value.exceptions[0], ZeroDivisionError)
    stopped = Words(b"one")
    reader = Reader()
    task = asyncio.create_task(answer(stopped, reader))
    while len(reader.sent) < 2:  # noqa: ASYNC110 - a list tells nobody
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (source.closed, stopped.closed) == (1, 1)
