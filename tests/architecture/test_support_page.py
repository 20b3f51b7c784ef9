"""The page of support tells what the code does, seen at fields whose fate is known."""

import pytest

from libs.api.registry import BY_NAME, NETWORKING
from tests.tools import support

ROWS = {
    name: {row.path: row for row in support._rows(BY_NAME[NETWORKING, name], support._covered())}
    for name in ("DestinationRule", "VirtualService", "ProxyConfig")
}


@pytest.mark.parametrize(
    ("kind", "path", "state", "note"),
    [
        ("DestinationRule", "spec.subsets[].labels", "supported", "golden `"),
        (
            "DestinationRule",
            "spec.trafficPolicy.retryBudget.budgetInterval",
            "flagged",
            "no effect",
        ),
        ("VirtualService", "spec.http[].fault.abort.http2Error", "refused", "UnsupportedField"),
        ("VirtualService", "spec.http[].mirrorPercent", "flagged", "Deprecated"),
        ("ProxyConfig", "spec.concurrency", "supported", "test_proxy_settings"),
    ],
)
def test_fields_of_which_it_is_known(kind: str, path: str, state: str, note: str) -> None:
    row = ROWS[kind][path]
    assert row.state == state
    assert note in row.note


def test_what_only_needs_company_is_not_flagged() -> None:
    row = ROWS["DestinationRule"]["spec.trafficPolicy.tls.caCrl"]
    assert row.state in {"supported", "untested"}  # it does nothing in mode DISABLE, the first


def test_a_type_is_listed_once_besides_where_tests_set_it() -> None:
    rows = ROWS["DestinationRule"].values()
    assert any(row.state == "shared" and row.note == "as `spec.trafficPolicy`" for row in rows)
    assert not any(row.path.startswith("spec.subsets") and row.state == "untested" for row in rows)
