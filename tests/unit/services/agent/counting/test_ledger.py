from hypothesis import given
from hypothesis import strategies as st

from services.agent.counting.counters import Counters
from services.agent.counting.entries import Entry
from services.agent.counting.ledger import STALE_SECONDS, Ledger

LABELS = (("source_app", "web"),)


def entry(number: int, total: int, *, ended: bool = False, began: int = 1) -> Entry:
    return Entry((began, number), ended, (("sent", total), ("received", total * 2)), LABELS)


class Counted:
    """A ledger, its counters and what they come to."""

    def __init__(self, limit: int = 100) -> None:
        self.counters = Counters()
        self.ledger = Ledger(self.counters, limit)

    def note(self, *entries: Entry, now: float = 0.0) -> None:
        for one in entries:
            self.ledger.note(one, now)

    @property
    def sent(self) -> int:
        lines = [it for it in self.counters.text().splitlines() if it.startswith("istio_sent{")]
        return sum(int(it.rpartition(" ")[2]) for it in lines)


def test_only_what_is_new_is_added() -> None:
    it = Counted()
    it.note(entry(1, 10), entry(1, 10), entry(1, 25), entry(2, 5), entry(1, 30, ended=True))
    assert it.sent == 35
    assert len(it.ledger) == 1


def test_a_report_that_was_lost_is_made_good() -> None:
    it = Counted()
    it.note(entry(1, 10), entry(1, 1000, ended=True))
    assert it.sent == 1000


def test_a_connection_that_has_the_number_of_another_is_another() -> None:
    it = Counted()
    it.note(entry(1, 1000), entry(1, 10, began=2), entry(1, 20, began=2, ended=True))
    assert it.sent == 1020


def test_what_the_connections_of_an_envoy_that_ended_had_stays_counted() -> None:
    it = Counted()
    it.note(entry(1, 10))
    it.ledger.forget()
    assert (it.sent, len(it.ledger)) == (10, 0)


def test_without_room_a_connection_is_counted_once_when_it_ends() -> None:
    it = Counted(limit=1)
    it.note(entry(1, 10), entry(2, 5), entry(2, 7), entry(2, 9, ended=True))
    assert it.sent == 19
    it.note(entry(1, 11, ended=True), entry(3, 1))
    assert it.sent == 21


def test_a_record_that_nobody_speaks_of_gives_way() -> None:
    it = Counted(limit=1)
    it.note(entry(1, 10))
    it.note(entry(2, 5), now=STALE_SECONDS)
    assert it.sent == 15


def test_metrics_with_labels_of_their_own_have_records_of_their_own() -> None:
    it = Counted()
    it.note(Entry((1, 1), False, (("sent", 4),), LABELS))
    it.note(Entry((1, 1), False, (("received", 9),), ()))
    it.note(Entry((1, 1), True, (("sent", 6),), LABELS))
    assert it.sent == 6
    assert "istio_received{} 9" in it.counters.text()


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 50), st.booleans()), max_size=60),
    st.integers(1, 3),
)
def test_all_bytes_are_counted_once_whatever_reports_are_lost(
    steps: list[tuple[int, int, bool]], limit: int
) -> None:
    """Each step: a connection gets so many bytes more, and its report arrives or is lost."""
    it, totals = Counted(limit), dict.fromkeys(range(5), 0)
    for number, more, arrives in steps:
        totals[number] += more
        if arrives:
            it.note(entry(number, totals[number]))
        assert it.sent <= sum(totals.values())
    it.note(*(entry(number, total, ended=True) for number, total in totals.items()))
    assert it.sent == sum(totals.values())
    assert not len(it.ledger)
