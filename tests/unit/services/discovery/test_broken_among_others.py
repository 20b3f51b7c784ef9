"""One broken object of each kind in a mesh where it matters: the golden case that is about it.

Without the object some proxy of the case would get something else; broken, it changes nothing for
anyone, and whoever asks for its status is told. `test_broken_objects` has the rest of the mesh,
which moves on meanwhile.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

import pytest

from libs.api import registry
from libs.api.registry import Kind
from libs.model.ids import Ref, ref
from libs.model.mesh import Mesh
from libs.proxy.scoper import Scoper
from libs.xds import generate
from services.ctl.render import find as proxy_of
from services.discovery.status.conditions import conditions
from services.discovery.status.progress import Progress
from services.discovery.status.subjects import Subjects
from tests.golden.cases import Case
from tests.golden.mutants import Raw
from tests.golden.proofs import benches
from tests.support.broken import Fault, about, faulty, read_kinds
from tests.support.clock import VirtualClock
from tests.support.ingested import (
    change,
    in_a_folder,
    in_one_file,
    of_files,
    of_objects,
    placed,
    steps,
)

ELSEWHERE = {
    "ServiceAccount": "which Secrets its pods may name, told to the injector",
    "Secret": "proxies are sent what is in it under other names, see test_credentials",
    "WorkloadGroup": "what machines that register become, and they are WorkloadEntries then",
    "ProxyConfig": "what pods are injected with, see test_proxy_settings",
}
"""Kinds that change nothing for a proxy that is there, and what they change."""
POSITIONS = [
    (in_one_file, "first"),
    (in_one_file, "middle"),
    (in_one_file, "last"),
    (in_a_folder, "middle"),
]
Snapshot = Mapping[tuple[str, str, str], str]


class Sample(NamedTuple):
    """An object that matters in a case, and the same with a fault."""

    kind: Kind
    fault: Fault
    case: Case
    rest: Sequence[Raw]
    good: Raw
    bad: Raw

    @property
    def ref(self) -> Ref:
        """The object."""
        metadata = self.good["metadata"]
        namespace = metadata.get("namespace", "default") if self.kind.namespaced else ""
        return ref(self.kind.name, namespace, metadata["name"])


@cache
def _samples() -> Mapping[tuple[str, Fault], Sample]:
    found: dict[tuple[str, Fault], Sample] = {}
    for bench in benches():
        for number, good in () if bench.moved else enumerate(bench.documents):
            kind = registry.find(str(good.get("apiVersion")), str(good.get("kind")))
            if not isinstance(kind, Kind) or kind.struct is None or _is_proxy(bench.case, good):
                continue
            rest = [*bench.documents[:number], *bench.documents[number + 1 :]]
            for fault in Fault:
                if (kind.name, fault) not in found and (bad := faulty(kind, fault, good)):
                    if not bench.needs(number):
                        break
                    found[kind.name, fault] = Sample(kind, fault, bench.case, rest, good, bad)
    return found


def _is_proxy(case: Case, document: Raw) -> bool:
    metadata = document.get("metadata", {})
    return f"{metadata.get('name')}.{metadata.get('namespace')}" in case.proxies


def _snapshot(case: Case, mesh: Mesh) -> Snapshot:
    scoper = Scoper()
    return {
        (proxy, type_url, name): one.version
        for proxy, metadata in case.proxies.items()
        for type_url, whole in generate.snapshot(
            scoper.scope(mesh, proxy_of(mesh, proxy, metadata))
        ).sets.items()
        for name, one in whole.resources.items()
    }


SAMPLES = [pytest.param(one, id=f"{name}-{fault}") for (name, fault), one in _samples().items()]


@pytest.mark.parametrize(("layout", "where"), POSITIONS)
@pytest.mark.parametrize("sample", SAMPLES)
async def test_what_matters_and_breaks_stays_as_it_was(
    sample: Sample,
    layout: Any,  # noqa: ANN401
    where: str,
) -> None:
    before = of_files(layout(placed(sample.rest, sample.good, where)))
    broken = of_files(layout(placed(sample.rest, sample.bad, where)))
    first, then = await steps(before, broken)
    (without,) = await steps(of_files(layout(sample.rest)))
    good = _snapshot(sample.case, first.state.mesh)
    assert good != _snapshot(sample.case, without.state.mesh), "the object does not matter"
    assert _snapshot(sample.case, then.state.mesh) == good
    assert about(then.problems, sample.ref)


@pytest.mark.parametrize("sample", SAMPLES)
async def test_what_matters_and_was_never_good_is_as_if_it_were_not_there(sample: Sample) -> None:
    (broken,) = await steps(of_files(in_one_file([*sample.rest, sample.bad])))
    (without,) = await steps(of_files(in_one_file(sample.rest)))
    expected = _snapshot(sample.case, without.state.mesh)
    assert _snapshot(sample.case, broken.state.mesh) == expected


@pytest.mark.parametrize("sample", SAMPLES)
async def test_what_breaks_in_the_cluster_has_a_condition_if_its_kind_has_any(
    sample: Sample,
) -> None:
    first, then = await steps(
        of_objects([*sample.rest, sample.good]), of_objects([*sample.rest, sample.bad])
    )
    assert _snapshot(sample.case, then.state.mesh) == _snapshot(sample.case, first.state.mesh)
    wrong = about(then.problems, sample.ref)
    new = [it for it in wrong if it not in about(first.problems, sample.ref)]
    assert new
    subjects = Subjects(VirtualClock(), lambda _: None)
    kind, moved = change(sample.bad)
    subjects.take(kind, [moved])
    subject = subjects.get(sample.ref)
    assert (subject is not None) == kind.group.endswith(".istio.io")
    if subject is not None:
        said = {it["type"]: it for it in conditions(subject, wrong, Progress(), now=0.0)}
        assert said["Accepted"]["status"] == "False"
        assert said["Accepted"]["reason"] in {it.reason for it in new}
        assert any(it.text in said["Accepted"]["message"] for it in new)


def test_every_kind_is_broken_where_it_matters() -> None:
    found = {name for name, _ in _samples()}
    assert {kind.name for kind in read_kinds()} - found == ELSEWHERE.keys()
    faults = {
        name: len(list(group)) for name, group in groupby(sorted(_samples()), lambda it: it[0])
    }
    assert {name for name, count in faults.items() if count < 2} == {"Namespace", "Node"}
