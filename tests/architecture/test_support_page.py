"""The page of support tells what the code does, seen at fields whose fate is known."""

from functools import cache

import pytest

from libs.api.networking.sidecar import Sidecar
from tests.golden import proofs
from tests.golden.mutants import spots
from tests.tools import support

pytestmark = pytest.mark.timeout(600)  # the first to ask for proofs has all of them looked for


@cache
def _rows(title: str) -> dict[str, support.Row]:
    about = next(one for one in support.subjects() if one.title == title)
    return {row.path: row for row in support.rows(about)}


@pytest.mark.parametrize(
    ("title", "path", "state", "note"),
    [
        ("DestinationRule", "spec.subsets[].labels", "supported", "golden `"),
        ("VirtualService", "spec.http[].fault.abort.http2Error", "refused", "UnsupportedField"),
        ("VirtualService", "spec.http[].mirrorPercent", "flagged", "Deprecated"),
        ("ProxyConfig", "spec.concurrency", "supported", "test_proxy_settings"),
        ("MeshConfig", "outboundTrafficPolicy.mode", "supported", "golden `"),
        (
            "DestinationRule",
            "spec.subsets[].trafficPolicy.connectionPool.http.maxRetries",
            "supported",
            "moved",
        ),
    ],
)
def test_fields_of_which_it_is_known(title: str, path: str, state: str, note: str) -> None:
    row = _rows(title)[path]
    assert row.state == state
    assert note in row.note


def test_what_only_needs_company_is_not_flagged() -> None:
    row = _rows("DestinationRule")["spec.trafficPolicy.tls.caCrl"]
    assert row.state in {"supported", "untested"}  # it does nothing in mode DISABLE, the first


def test_a_field_without_effect_proves_nothing() -> None:
    bench = next(one for one in proofs.benches() if one.case.name == "ingress" and not one.moved)

    def proved(path: str) -> bool:
        return any(
            bench.proves(number, spot) for number, spot in bench.spots() if spot.path == path
        )

    assert not proved("spec.defaultBackend.service.name")  # Istio does not read it either
    assert proved("spec.rules[].host")


def test_a_change_that_makes_a_bad_document_proves_nothing() -> None:
    document = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": {"name": "a", "namespace": "shop"},
        "spec": {"egress": [{"hosts": ["./*", "istio-system/*"]}]},
    }
    (spot,) = spots(document)
    kept = list(proofs.good(document, spot))
    assert kept
    assert all(isinstance(one, Sidecar) and one.spec.egress[0].hosts for one in kept)


def test_no_field_is_untested() -> None:
    found = {
        about.title: [row.path for row in support.rows(about) if row.state == support.UNTESTED]
        for about in support.subjects()
    }
    assert {title: paths for title, paths in found.items() if paths} == {}
