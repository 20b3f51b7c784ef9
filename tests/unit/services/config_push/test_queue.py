import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.model.mesh import Table
from services.config_push.queue import Entry, Lane, PushQueue

SERVICES = frozenset({Table.SERVICE})
MOVED = frozenset({Table.ENDPOINTS})


def _entry(number: int, lane: Lane, since: float = 0.0, tables: frozenset[Table] = MOVED) -> Entry:
    return Entry(number, lane, since, tables)


def _order(queue: PushQueue) -> list[tuple[int, Lane]]:
    taken: list[Entry] = []
    while entries := queue.take(1):
        taken += entries
    return [(entry.connection, entry.lane) for entry in taken]


def test_new_proxies_go_first_then_endpoints_then_configuration() -> None:
    queue = PushQueue()
    queue.add(_entry(1, Lane.CONFIGURATION))
    queue.add(_entry(2, Lane.ENDPOINTS))
    queue.add(_entry(3, Lane.NEW))
    queue.add(_entry(4, Lane.ENDPOINTS))

    assert _order(queue) == [
        (3, Lane.NEW),
        (2, Lane.ENDPOINTS),
        (4, Lane.ENDPOINTS),
        (1, Lane.CONFIGURATION),
    ]


def test_what_arrives_while_a_proxy_waits_is_merged_and_keeps_its_place() -> None:
    queue = PushQueue()
    queue.add(_entry(1, Lane.CONFIGURATION, 1.0, MOVED))
    queue.add(_entry(2, Lane.CONFIGURATION, 2.0))
    queue.add(_entry(1, Lane.CONFIGURATION, 3.0, SERVICES))

    (first,) = queue.take(1)
    assert first == _entry(1, Lane.CONFIGURATION, 1.0, MOVED | SERVICES)
    assert len(queue) == 1


def test_a_proxy_without_anything_gets_everything_at_once() -> None:
    queue = PushQueue()
    queue.add(_entry(1, Lane.NEW))
    queue.add(_entry(1, Lane.CONFIGURATION))
    queue.add(_entry(1, Lane.ENDPOINTS))

    assert _order(queue) == [(1, Lane.NEW)]


def test_endpoints_overtake_configuration_of_the_same_proxy() -> None:
    queue = PushQueue()
    queue.add(_entry(1, Lane.CONFIGURATION, 1.0, SERVICES))
    queue.add(_entry(1, Lane.ENDPOINTS, 2.0, MOVED))

    assert _order(queue) == [(1, Lane.ENDPOINTS), (1, Lane.CONFIGURATION)]


def test_what_is_put_back_stands_in_front() -> None:
    queue = PushQueue()
    for number in (1, 2, 3):
        queue.add(_entry(number, Lane.CONFIGURATION, number))
    taken = queue.take(2)
    queue.add(_entry(1, Lane.CONFIGURATION, 9.0, SERVICES))
    queue.put_back(taken)

    first, second, third = queue.take(9)
    assert [first.connection, second.connection, third.connection] == [1, 2, 3]
    assert (first.since, first.tables) == (1, MOVED | SERVICES)


def test_a_proxy_that_has_gone_waits_nowhere() -> None:
    queue = PushQueue()
    queue.add(_entry(1, Lane.CONFIGURATION))
    queue.add(_entry(1, Lane.ENDPOINTS))
    queue.remove(1)

    assert not len(queue)
    assert queue.take(1) == []


@pytest.mark.parametrize("limit", [1, 3])
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(Lane)), max_size=30), st.integers(0, 5)
)
def test_everyone_who_waits_is_taken_once_in_a_lane(
    limit: int, added: list[tuple[int, Lane]], gone: int
) -> None:
    queue = PushQueue()
    for number, lane in added:
        queue.add(_entry(number, lane))
    queue.remove(gone)
    seen: list[int] = []
    lanes: list[Lane] = []
    while entries := queue.take(limit):
        assert len({entry.lane for entry in entries}) == 1
        lanes += [entry.lane for entry in entries]
        seen += [entry.connection for entry in entries]

    assert set(seen) == {number for number, _ in added} - {gone}
    assert lanes == sorted(lanes)
