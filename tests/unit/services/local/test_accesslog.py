import json

from services.local import accesslog
from services.local.accesslog import Entry

STOREFRONT = "spiffe://cluster.local/ns/bookshop/sa/storefront"


def _line(**fields: object) -> str:
    return json.dumps(fields)


def test_a_served_call_tells_the_port_and_who_was_proved() -> None:
    line = _line(upstream_cluster="inbound|7000||", downstream_peer_uri_san=STOREFRONT)
    assert accesslog.parse(line) == Entry(7000, STOREFRONT)


def test_a_denied_request_tells_the_rule() -> None:
    rule = "ns[bookshop]-policy[reviews-read-only]-rule[0]"
    line = _line(
        upstream_cluster="inbound|9080||",
        response_code_details=f"rbac_access_denied_matched_policy[{rule}]",
        downstream_peer_uri_san=STOREFRONT,
    )
    assert accesslog.parse(line) == Entry(9080, STOREFRONT, rule=rule)


def test_a_denied_connection_tells_that_no_rule_allowed_it() -> None:
    line = _line(
        upstream_cluster=None,
        downstream_local_address="10.0.0.7:7001",
        connection_termination_details="rbac_access_denied_matched_policy[none]",
        downstream_peer_uri_san=None,
    )
    assert accesslog.parse(line) == Entry(7001, "", rule="none")


def test_plain_text_under_strict_is_a_connection_that_no_chain_takes() -> None:
    entry = accesslog.parse(_line(response_code_details="filter_chain_not_found"))
    assert entry == Entry(refused=True)


def test_outgoing_calls_and_other_lines_are_passed_over() -> None:
    outgoing = _line(upstream_cluster="outbound|9080|v1|reviews.bookshop.svc.cluster.local")
    for line in (outgoing, "", "[2026-01-01] text", "{", '{"upstream_cluster": 3}', "{" * 100_000):
        assert accesslog.parse(line) is None
