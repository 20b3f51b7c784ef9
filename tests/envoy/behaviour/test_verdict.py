"""A row that expects something else than what happened fails, whichever part of it is wrong."""

import pytest

from tests.support.behaviour import spans
from tests.support.behaviour.asking import Answer
from tests.support.behaviour.spans import Span
from tests.support.behaviour.tables import Counted, Feature, Row, Spanned, Table, features
from tests.support.behaviour.verdict import Outcome, judge, samples, total
from tests.support.behaviour.wire import Seen

OUTCOME = Outcome(
    answers=[
        Answer(
            status=200,
            headers={"x-by": "web-v1", "x-more": "1"},
            body='{"path": "/"}',
            grpc=0,
            names=("spiffe://cluster.local/ns/shop/sa/web",),
        )
    ],
    seen=[
        Seen(
            workload="web-v1",
            method="GET",
            path="/",
            authority="web",
            protocol="HTTP/1.1",
            headers={"x-forwarded-client-cert": "By=a;URI=spiffe://cluster.local/ns/shop/sa/c"},
        )
    ],
    seconds=0.1,
    log={"flags": "-", "code": 200},
    server_log={"flags": "-", "code": 200},
    silence={"web-v1": 0.5},
)
RIGHT = Row(
    what="all as it was",
    answer=200,
    grpc=0,
    by="web-v1",
    sticky=True,
    share={"web-v1": (100, 100)},
    seen={":path": "/", "x-none": None},
    peer="spiffe://cluster.local/ns/shop/sa/c",
    got={"x-more": "~^[0-9]$"},
    text="path",
    certificate="sa/web$",
    reached={"web-v1": 1, "web-v2": 0},
    connections={"web-v1": 1},
    ended={"web-v1": 0.5},
    flags="-",
    server_flags="-",
    logged={"code": "200"},
    server_logged={"code": "200"},
    seconds=0.1,
)


def test_what_was_expected_is_right() -> None:
    assert judge(RIGHT, OUTCOME) == []


@pytest.mark.parametrize(
    "row",
    [
        Row(what="", answer=403),
        Row(what="", answer={403: (0, 1)}),
        Row(what="", answer={200: 2}),
        Row(what="", grpc=14),
        Row(what="", by="web-v2"),
        Row(what="", by=("web-v1", "web-v2")),
        Row(what="", share={"web-v1": (0, 50)}),
        Row(what="", seen={":path": "/other"}),
        Row(what="", seen={"x-forwarded-client-cert": None}),
        Row(what="", seen={"x-none": "~"}),
        Row(what="", peer=""),
        Row(what="", got={"x-more": "2"}),
        Row(what="", got={"x-more": None}),
        Row(what="", text="nowhere"),
        Row(what="", certificate="sa/web2$"),
        Row(what="", reached={"web-v1": 2}),
        Row(what="", reached={"web-v2": (1, 2)}),
        Row(what="", connections={"web-v1": 2}),
        Row(what="", connections={"web-v2": 1}),
        Row(what="", ended={"web-v1": 0.6}),
        Row(what="", ended={"web-v2": 0.1}),
        Row(what="", flags="UF"),
        Row(what="", server_flags="UF"),
        Row(what="", logged={"code": "403"}),
        Row(what="", server_logged={"code": "403"}),
        Row(what="", seconds=0.2),
    ],
)
def test_what_was_not_is_said(row: Row) -> None:
    assert len(judge(row, OUTCOME)) == 1


def test_nobody_got_the_request() -> None:
    assert judge(Row(what="", seen={"x-none": None}), Outcome(answers=[], seen=[], seconds=0))


def span(service: str, own: str, parent: str = "", **tags: str) -> Span:
    return Span(
        over="otlp",
        service=service,
        name="it",
        kind="client",
        trace="1",
        own=own,
        parent=parent,
        tags=tags,
    )


SPANS = [
    span("client.shop", "a", url="http://web/asked", team="red"),
    span("web.shop", "b", "a"),
    span("web.shop", "c", "b"),
]


def test_spans_that_were_expected_are_right() -> None:
    chain = [
        Spanned(of="client.shop", over="otlp", kind="client", name="it", place="root"),
        Spanned(of="web.shop", place="child", tags={"team": None}),
        Spanned(of="web.shop", place="child"),
    ]
    assert spans.judge(chain, SPANS, "/asked") == []
    assert spans.judge([Spanned(of="client.shop", tags={"team": "~^r"})], SPANS, "/asked") == []


@pytest.mark.parametrize(
    "wanted",
    [
        Spanned(of="books.other"),
        Spanned(of="client.shop", over="zipkin"),
        Spanned(of="client.shop", kind="server"),
        Spanned(of="client.shop", name="other"),
        Spanned(of="web.shop", place="root"),
        Spanned(of="web.shop", place="child"),
        Spanned(of="client.shop", tags={"team": "blue"}),
        Spanned(of="client.shop", tags={"team": None}),
        Spanned(of="client.shop", tags={"crew": "~"}),
    ],
)
def test_spans_that_were_not_are_said(wanted: Spanned) -> None:
    assert len(spans.judge([wanted], SPANS, "/asked")) == 1


def test_spans_of_other_requests_do_not_count() -> None:
    assert len(spans.judge([Spanned(of="client.shop")], SPANS, "/other")) == 1


def test_a_grandchild_is_no_child() -> None:
    chain = [Spanned(of="client.shop"), Spanned(of="web.shop", place="child", tags={"team": "red"})]
    found = [*SPANS[:2], span("web.shop", "c", "b", team="red")]
    assert len(spans.judge(chain, found, "/asked")) == 1


def test_series_count_that_carry_all_of_the_labels() -> None:
    page = samples(['envoy_a{x="1",y="2"} 3', 'envoy_a{x="1",y="3"} 4', "envoy_b{} 5"])
    assert total(page, Counted(at="", metric="a", labels={"x": "1"})) == 7
    assert total(page, Counted(at="", metric="a", labels={"x": "1", "y": "3"})) == 4
    assert total(page, Counted(at="", metric="a", labels={"z": "1"})) == 0


@pytest.mark.parametrize(("name", "feature"), list(features()))
def test_every_row_expects_something_and_says_what_it_is(name: str, feature: Feature) -> None:
    nothing = Row(what="")
    outcomes = [it for it in Row.__struct_fields__ if it not in _REQUEST]
    for table in feature.tables:
        for row in table.rows:
            expects = any(getattr(row, it) != getattr(nothing, it) for it in outcomes)
            assert expects, f"{name}: {table.name}: {row.what}"
            assert bool(row.ask) != bool(row.send), f"{name}: {table.name}: {row.what}"
        _names_are_unique(table)


_REQUEST = {
    *("what", "source", "ask", "send", "over", "headers", "body", "preface", "to", "dial"),
    *("proving", "server_name", "alpn", "tls_version", "token", "times", "together", "cut"),
    *("pause", "kept"),
}


def _names_are_unique(table: Table) -> None:
    names = [row.what for row in table.rows]
    assert len(names) == len(set(names)), f"{table.name} says the same of two rows"
