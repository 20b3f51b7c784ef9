"""What validation accepts, Envoy accepts: odd values in every field that a golden case sets.

An ordinary run tries the first accepted value of each field, `--explore N` the first N; where in
the list of odd values a field begins depends on its name. Whether a cluster is there that a
resource names is judged only roughly, as the changes of many cases stand before one Envoy.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from zlib import crc32

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster

from libs.api.check import check_raw
from libs.xds.types import CLUSTER, resource
from tests.golden.mutants import Spot, at, changed
from tests.golden.odd_values import odd
from tests.golden.proofs import Bench, benches
from tests.support.trial import JUDGED, Change, refused

_TOGETHER = 80
"""Changes that one Envoy judges."""

ONLY_ENVOY_KNOWS: Mapping[tuple[str, str], str] = {
    ("TrafficExtension", "spec.lua.inlineCode"): "what compiles may still fail when it is run",
    ("MeshConfig", "accessLogFile"): "Envoy would make the file",
    ("MeshConfig", "extensionProviders[].envoyFileAccessLog.path"): "Envoy would make the file",
}
"""Fields that are not tried, and why."""


@pytest.mark.timeout(600)
def test_what_validation_accepts_envoy_accepts(pytestconfig: pytest.Config) -> None:
    tries = pytestconfig.getoption("--explore")
    changes, found = _changes(tries), dict[str, str]()
    while batch := list(islice(changes, _TOGETHER)):
        found |= {name: why[-300:] for name, why in refused(batch)}
    assert not found


def test_a_value_that_envoy_refuses_is_found_among_others() -> None:
    changes = [_of_cluster(f"fine {number}", Cluster()) for number in range(5)]
    wrong = Cluster(lb_policy=Cluster.LbPolicy.CLUSTER_PROVIDED)
    changes.insert(3, _of_cluster("wrong", wrong))
    assert [name for name, _ in refused(changes)] == ["wrong"]


def test_odd_values_reach_most_fields() -> None:
    fields = {change.name.split(" = ")[0] for change in islice(_changes(1), 100)}
    assert len(fields) == 100


def _of_cluster(name: str, cluster: Cluster) -> Change:
    made = resource("a", CLUSTER, body=cluster.SerializeToString())
    return Change(name, (made,), frozenset())


def _changes(tries: int) -> Iterator[Change]:
    """Yield changes of what proxies get, by odd values that validation accepts."""
    seen = set[tuple[str, str]]()
    for bench in benches():
        if bench.moved:
            continue
        for number, spot in bench.spots():
            field = spot.kind, spot.path
            if field not in seen and field not in ONLY_ENVOY_KNOWS:
                seen.add(field)
                yield from islice(_of_field(bench, number, spot), tries)


def _of_field(bench: Bench, number: int, spot: Spot) -> Iterator[Change]:
    """Yield the changes that odd values at a spot make, one value after the other."""
    document = bench.documents[number]
    values = odd(spot.annotation, at(document, spot))
    start = crc32(f"{spot.kind} {spot.path}".encode()) % (len(values) or 1)
    for value in (*values[start:], *values[:start]):
        instead, _ = check_raw(changed(document, spot, value))
        if instead is None:
            continue
        name = f"{bench.case.name}: {spot.kind} {spot.path} = {value!r:.80}"
        try:
            found = list(bench.rendered(number, instead))
        except ValueError as error:  # what protobuf says to a number that does not fit
            error.add_note(name)
            raise
        made = tuple(
            one
            for proxy, one in found
            if one.type_url in JUDGED
            and bench.outcome.get((proxy, one.type_url, one.name)) != one.body
        )
        clusters = frozenset(one.name for _, one in found if one.type_url == CLUSTER)
        yield Change(name, made, clusters)
