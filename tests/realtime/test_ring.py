"""The ring: the newest events in order, by topic, and how far it reaches back."""

from typing import Any

from app.core.permissions import Permission
from app.services.realtime.ring import Ring
from tests.realtime.made import log_event


def positions(ring: Ring, after: int, *topics: str) -> list[int]:
    return [event.pos for event in ring.after(after, topics, lambda _: True)]


def test_event_is_written_once_and_keeps_its_envelope_when_it_is_loaded() -> None:
    event = log_event(7, body='{"id":"x","data":{"name":"é\\n"}}')
    assert (
        event.frame.decode()
        == 'id: epoch777.7\nevent: test.seen\ndata: {"id":"x","data":{"name":"é\\n"}}\n\n'
    )
    assert event.envelope.decode() == '{"id":"x","data":{"name":"é\\n"}}'
    assert event.data == {"name": "é\n"}


def test_permission_is_that_of_the_class_when_it_is_known(ordered: Any) -> None:
    assert log_event(1, kind="test.ordered").permission == Permission.orders_read
    assert log_event(1, kind="test.of_a_newer_process").permission is None


def test_ring_gives_each_event_once_in_order_when_topics_overlap() -> None:
    ring = Ring()
    for event in (
        log_event(2, "user:a"),
        log_event(3, "org:o", extra="user:a"),
        log_event(5, "user:b"),
        log_event(8, "user:a", extra="user:a"),
    ):
        ring.add(event)
    assert positions(ring, 0, "user:a", "org:o") == [2, 3, 8]
    assert positions(ring, 2, "user:a") == [3, 8]
    assert positions(ring, 8, "user:a") == []
    assert positions(ring, 0, "user:nobody") == []


def test_ring_asks_who_wants_when_it_gives() -> None:
    ring = Ring()
    for pos in range(1, 5):
        ring.add(log_event(pos, "user:a"))
    assert [event.pos for event in ring.after(0, ["user:a"], lambda event: event.pos % 2 == 0)] == [2, 4]


def test_ring_forgets_the_oldest_when_it_is_full() -> None:
    ring = Ring(size=3)
    ring.clear(10)
    for pos in (12, 13, 15, 16, 20):
        ring.add(log_event(pos, "user:a" if pos % 2 else "user:b"))
    assert ring.begin == 13
    assert positions(ring, 13, "user:a", "user:b") == [15, 16, 20]
    ring.clear(30)
    assert (ring.begin, positions(ring, 0, "user:a", "user:b")) == (30, [])
