"""The wire: what is understood, what is answered, and that no bytes do harm."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.agent.dns import messages
from services.agent.dns.messages import MessageError
from tests.support import dns

NAME = "web.shop.svc.cluster.local"


def test_a_query_is_read() -> None:
    query = messages.parse(dns.query("WeB.Shop", dns.AAAA, number=513))
    assert (query.number, query.name, query.kind) == (513, "web.shop", dns.AAAA)
    assert query.ordinary
    assert query.room == 512


@pytest.mark.parametrize(("said", "room"), [(100, 512), (600, 600), (4096, 1232)])
def test_datagrams_are_as_large_as_the_client_says_within_reason(said: int, room: int) -> None:
    assert messages.parse(dns.query(NAME, edns=said)).room == room


def test_an_answer_has_the_question_and_its_addresses() -> None:
    query = messages.parse(dns.query("WEB", number=9))
    read = dns.read(messages.answer(query, ["10.0.0.1", "10.0.0.2"]))
    assert (read.number, read.code, read.truncated) == (9, 0, False)
    assert read.answers == (("WEB", 1, 30, "10.0.0.1"), ("WEB", 1, 30, "10.0.0.2"))


def test_an_alias_comes_first_and_owns_the_addresses() -> None:
    query = messages.parse(dns.query("db.data.shop.svc.cluster.local", dns.AAAA))
    read = dns.read(messages.answer(query, ["fd00::1"], alias="db.data"))
    assert read.answers == (
        ("db.data.shop.svc.cluster.local", 5, 30, "db.data"),
        ("db.data", 28, 30, "fd00::1"),
    )


def test_what_does_not_fit_is_cut_and_says_so() -> None:
    query = messages.parse(dns.query(NAME))
    whole = messages.answer(query, ["10.0.0.1"] * 5000)
    assert len(whole) <= messages.MAX_MESSAGE
    cut = dns.read(messages.fitted(whole, query))
    assert (cut.truncated, cut.answers) == (True, ())
    small = messages.answer(query, ["10.0.0.1"])
    assert messages.fitted(small, query) == small


def test_only_the_response_to_the_very_query_counts() -> None:
    raw = dns.query(NAME)
    query = messages.parse(raw)
    good = dns.response(raw, ["10.0.0.1"])
    assert messages.responds(good, query, 7)
    assert not messages.responds(good, query, 8)
    assert not messages.responds(raw, query, 7)
    assert not messages.responds(dns.response(dns.query("evil.example"), []), query, 7)
    assert not messages.responds(b"", query, 7)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 11,
        dns.query(NAME)[:-1],
        dns.query(NAME)[:20],
        dns.response(dns.query(NAME), []),
        dns.query(NAME)[:4] + b"\0\0" + dns.query(NAME)[6:],  # no question
        dns.query(NAME)[:4] + b"\0\2" + dns.query(NAME)[6:],  # two
        dns.query(NAME)[:12] + b"\xc0\x0c" + b"\0\1\0\1",  # a pointer to itself
        dns.query(".".join(["a" * 60] * 5)),  # longer than names are
        dns.query("a")[:12] + b"\3a.b\0" + b"\0\1\0\1",
        b"\0" * 70_000,
    ],
)
def test_what_is_no_query_is_refused(raw: bytes) -> None:
    with pytest.raises(MessageError):
        messages.parse(raw)
    messages.malformed(raw)


def test_responses_are_never_answered() -> None:
    assert messages.malformed(dns.response(dns.query(NAME), [])) == b""
    assert messages.malformed(b"short") == b""
    assert dns.read(messages.malformed(dns.query(NAME)[:-1])).code == 1


def survives(raw: bytes) -> None:
    messages.malformed(raw)
    with contextlib.suppress(MessageError):
        query = messages.parse(raw)
        messages.responds(raw, query, query.number)
        assert dns.read(messages.failure(query, 2)).number == query.number
        whole = messages.answer(query, ["10.0.0.1"], alias="db.data")
        assert len(messages.fitted(whole, query)) <= query.room


@given(st.binary(max_size=600))
def test_no_bytes_do_harm(raw: bytes) -> None:
    survives(raw)


@given(st.binary(max_size=300), st.integers(0, 65535), st.sampled_from([0, 1]))
def test_no_question_does_harm(rest: bytes, number: int, extra: int) -> None:
    head = number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0" + bytes([extra])
    survives(head + rest)


@given(st.data())
def test_no_damaged_query_does_harm(data: st.DataObject) -> None:
    raw = bytearray(dns.query(NAME, edns=1232))
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
