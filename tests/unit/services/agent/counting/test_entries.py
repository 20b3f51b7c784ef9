import pytest

from libs.protos.tally.v1 import tally_pb2
from services.agent.counting.entries import MAX_TEXT, Entry, EntryError, read
from tests.support.tally_messages import message, record


def test_an_entry_has_the_labels_of_its_message_and_its_own() -> None:
    sent = record("7", "TcpPeriodic", "sent", "10", "received", "3", began=5, source_app="web")
    [entry] = read(message(sent, reporter="source"))
    assert entry == Entry(
        connection=(5, 7),
        ended=False,
        totals=(("sent", 10), ("received", 3)),
        labels=(("reporter", "source"), ("source_app", "web")),
    )


def test_the_last_entry_says_so() -> None:
    [entry] = read(message(record("7", "TcpConnectionEnd", "sent", "10")))
    assert entry.ended


def test_what_has_no_value_is_empty_as_on_envoys_page() -> None:
    [entry] = read(message(record("7", "TcpPeriodic", "sent", "1", port="-", response_flags="-")))
    assert dict(entry.labels) == {"port": "", "response_flags": "-"}


def test_what_strangers_sent_is_no_mistake_and_has_an_end() -> None:
    odd = record("7", "TcpPeriodic", "sent", "1", sni="x" * 2 * MAX_TEXT)
    odd.attributes.add(key=b"raw").value.string_value = b"\xff\xfe"
    [entry] = read(message(odd))
    labels = dict(entry.labels)
    assert len(labels["sni"]) == MAX_TEXT
    assert labels["raw"] == "\ufffd\ufffd"


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xff",
        message(record("x", "TcpPeriodic", "sent", "1")),
        message(record("7", "TcpPeriodic", "sent", "-")),
        message(record("7", "TcpPeriodic", "sent")),
        message(tally_pb2.Record()),
    ],
)
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(EntryError):
        list(read(body))
