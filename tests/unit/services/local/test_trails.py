import json

from services.local import trails


def _line(**call: object) -> str:
    return json.dumps({"instance": "visitors-v1", "call": call})


def test_each_call_inside_a_trail_is_made_by_whoever_answered_the_outer_one() -> None:
    line = _line(
        service="storefront",
        port=9080,
        protocol="HTTP",
        request="GET /books/1",
        outcome="ok",
        trail={
            "instance": "storefront-v1",
            "version": "v1",
            "caller": "spiffe://cluster.local/ns/bookshop/sa/visitors",
            "calls": [
                {
                    "service": "reviews",
                    "port": 9080,
                    "protocol": "HTTP",
                    "request": "GET /reviews/1",
                    "outcome": "ok",
                    "trail": {"instance": "reviews-v2", "version": "v2", "calls": []},
                }
            ],
        },
    )
    outer, inner = trails.calls(line)
    assert (outer.caller, outer.service, outer.ok) == ("visitors-v1", "storefront", True)
    assert outer.proof == "spiffe://cluster.local/ns/bookshop/sa/visitors"
    assert (inner.caller, inner.instance, inner.version) == ("storefront-v1", "reviews-v2", "v2")
    assert (inner.method, inner.path) == ("GET", "/reviews/1")


def test_a_call_that_nobody_answered_has_no_instance() -> None:
    (seen,) = trails.calls(_line(service="reviews", port=1, protocol="TCP", outcome="closed"))
    assert not seen.ok
    assert not seen.instance


def test_lines_that_are_no_visits_are_passed_over() -> None:
    for line in ("", "hello", "{", "{}", '{"instance": 3}', "[" * 100_000, "{" * 100_000):
        assert list(trails.calls(line)) == []
