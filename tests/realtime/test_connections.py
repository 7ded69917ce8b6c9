"""Connections: what is queued for whom, how much, and what happens to those who fall behind."""

from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY

from app.core import clock
from app.core.ids import uuid7
from app.core.permissions import Permission
from app.services.realtime.connections import MOST_BYTES, MOST_EVENTS, Bye, Connection, Registry, Rights
from tests.realtime.made import connection, log_event

LATER = clock.now() + timedelta(hours=1)


def live(**options: Any) -> Connection:
    made = connection(**options)
    made.go_live(0)
    return made


def mine(made: Connection, pos: int, **options: Any) -> Any:
    return log_event(pos, f"user:{made.user_id}", **options)


def lagging() -> float:
    return REGISTRY.get_sample_value("luneo_streams_lagging") or 0.0


def test_events_wait_in_order_when_they_are_offered() -> None:
    made = live()
    for pos in (3, 4, 9):
        made.offer(mine(made, pos))
    assert made.wake.is_set()
    assert made.reached(20) == 0
    assert [event.pos for event in made.take()] == [3, 4, 9]
    assert (made.position, made.queued, made.reached(20)) == (9, (0, 0), 20)


def test_event_is_not_queued_twice_when_it_was_handed_out() -> None:
    made = live()
    made.go_live(5)
    for pos in (4, 5, 6):
        made.offer(mine(made, pos))
    assert [event.pos for event in made.take()] == [6]


def test_event_is_not_queued_when_the_connection_reads_the_log_itself() -> None:
    made = connection()
    made.offer(mine(made, 1))
    assert made.queued == (0, 0)


def test_queue_is_dropped_when_too_many_events_wait() -> None:
    before = lagging()
    made = live()
    for pos in range(1, MOST_EVENTS + 1):
        made.offer(mine(made, pos))
    assert made.queued[0] == MOST_EVENTS
    assert made.is_live
    made.offer(mine(made, 1000))
    assert (made.queued, made.is_live, made.position) == ((0, 0), False, 0)
    assert lagging() == before + 1
    made.go_live(1000)
    assert lagging() == before


def test_queue_is_dropped_when_too_many_bytes_wait() -> None:
    made = live()
    body = "x" * 40_000
    most = 0
    for pos in range(1, 100):
        made.offer(mine(made, pos, body=body))
        most = max(most, made.queued[1])
    assert MOST_BYTES - 50_000 < most <= MOST_BYTES
    assert not made.is_live
    made.leave()


def test_lagging_ends_when_the_client_goes() -> None:
    before = lagging()
    made = live()
    for pos in range(1, MOST_EVENTS + 2):
        made.offer(mine(made, pos))
    made.leave()
    assert (lagging(), made.is_gone, made.wake.is_set()) == (before, True, True)


def test_wish_is_cut_by_permission_and_type(ordered: Any) -> None:
    organization_id = uuid7()
    made = live(types=frozenset({"test.ordered", "test.met"}))
    theirs = log_event(1, f"org:{organization_id}", kind="test.ordered")
    assert not made.wants(theirs)
    made.apply(Rights(None, LATER, organization_id, frozenset({Permission.products_read})), 1)
    assert not made.wants(theirs)
    made.apply(Rights(None, LATER, organization_id, frozenset({Permission.orders_read})), 2)
    assert made.wants(theirs)
    assert not made.wants(log_event(1, f"org:{uuid7()}", kind="test.ordered"))
    assert not made.wants(log_event(1, f"org:{organization_id}", kind="test.of_a_newer_process"))
    assert made.wants(mine(made, 1, kind="test.met"))
    assert not made.wants(mine(made, 1, kind="test.other"))
    assert made.wants(log_event(1, "salon:s", extra=f"user:{made.user_id}", kind="test.met"))


def test_rights_stay_when_an_older_check_speaks_later() -> None:
    made = live()
    organization_id = uuid7()
    assert made.apply(Rights(None, LATER), 5)
    assert not made.apply(Rights(None, LATER, organization_id), 4)
    assert made.organization_id is None


def test_queue_is_cleaned_when_rights_are_gone(ordered: Any) -> None:
    made = live()
    organization_id = uuid7()
    made.apply(Rights(None, LATER, organization_id, frozenset({Permission.orders_read})), 1)
    made.offer(log_event(1, f"org:{organization_id}", kind="test.ordered"))
    made.offer(mine(made, 2))
    made.apply(Rights(None, LATER), 2)
    made.drop_unwanted()
    assert [event.pos for event in made.take()] == [2]
    assert made.queued == (0, 0)


def test_nothing_is_queued_when_there_was_a_bye() -> None:
    made = live()
    made.offer(mine(made, 1))
    made.end(Bye("session_revoked"))
    made.end(Bye("draining"))
    made.offer(mine(made, 2))
    assert made.bye is not None
    assert made.bye.code == "session_revoked"
    assert [event.pos for event in made.take()] == [1]


def test_byes_say_whether_to_come_back() -> None:
    codes = ("session_revoked", "session_expired", "slow_reader", "draining")
    assert [Bye(code).has_return for code in codes] == [False, False, True, True]  # type: ignore[arg-type]


def test_end_is_announced_once_when_it_is_near() -> None:
    made, now = live(), clock.now()
    made.apply(Rights(None, now + timedelta(seconds=61)), 1)
    assert not made.is_due(now)
    made.apply(Rights(None, now + timedelta(seconds=59)), 2)
    assert made.is_due(now)
    made.warn_if_due(now)
    assert made.has_warning
    assert not made.is_due(now)
    assert made.is_due(now + timedelta(seconds=59))
    made.has_warning = False
    made.warn_if_due(now)
    assert not made.has_warning
    made.apply(Rights(None, now + timedelta(hours=1)), 3)
    made.warn_if_due(now)
    assert (made.is_warned, made.has_warning) == (False, False)


def test_registry_brings_an_event_once_when_two_topics_lead_to_it() -> None:
    registry, organization_id = Registry(), uuid7()
    both, one, other = live(), live(), live()
    for made in (both, one, other):
        registry.enter(made)
    registry.apply(both, Rights(None, LATER, organization_id), 1)
    registry.offer(log_event(1, f"user:{both.user_id}", extra=f"user:{one.user_id}"))
    registry.offer(log_event(2, "salon:s", extra=f"org:{organization_id}"))
    assert [event.pos for event in both.take()] == [1, 2]
    assert [event.pos for event in one.take()] == [1]
    assert other.take() == []


def test_registry_forgets_topics_when_nobody_is_left() -> None:
    registry = Registry()
    made = live()
    registry.enter(made)
    registry.apply(made, Rights(None, LATER, uuid7()), 1)
    registry.apply(made, Rights(None, LATER), 2)
    registry.leave(made)
    registry.leave(made)
    registry.apply(made, Rights(None, LATER, uuid7()), 3)
    assert (registry.all, registry._by_topic) == (set(), {})
    assert REGISTRY.get_sample_value("luneo_streams_open") == 0
