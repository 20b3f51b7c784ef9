"""One broken object of each kind, in every position: the rest of the mesh is served.

The broken one keeps its last good state, and a problem says what is wrong with it. What proxies get
is compared with what they get from a mesh in which nothing is broken.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from typing import Any

import pytest
import yaml
from msgspec import Raw as Bytes

from libs.api.registry import Kind, find
from libs.kube.follow import Change
from libs.kube.list import Name
from libs.model.ids import ref
from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.proxy.scoper import Scoper
from libs.runtime.clock import SystemClock
from libs.translate.apply import Step
from libs.xds import generate
from services.ctl.render import find as proxy_of
from services.discovery.files import Batch, FileText
from services.discovery.ingest import Ingest
from services.discovery.objects import Objects
from tests.golden.mutants import Raw
from tests.support.broken import Fault, about, read_kinds, sample

WORLD = """
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {serviceAccountName: client, containers: [{name: app}]}
status:
  phase: Running
  podIP: 10.244.77.9
  podIPs: [{ip: 10.244.77.9}]
  conditions: [{type: Ready, status: "True"}]
---
apiVersion: v1
kind: Service
metadata: {name: neighbour, namespace: shop}
spec: {clusterIP: 10.96.77.10, selector: {app: neighbour}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: neighbour, namespace: shop}
spec:
  hosts: [neighbour.shop.svc.cluster.local]
  http: [{timeout: 1s, route: [{destination: {host: neighbour.shop.svc.cluster.local}}]}]
"""
Files = Mapping[str, str]
Snapshot = Mapping[str, Mapping[str, str]]
CASES = [
    (kind, fault) for kind in read_kinds() for fault in Fault if sample(kind, fault) is not None
]
_IDS = [f"{kind.name}-{fault}" for kind, fault in CASES]


@cache
def _world() -> list[Raw]:
    return list(yaml.safe_load_all(WORLD))


def _moved() -> list[Raw]:
    """The world after its neighbour was changed."""
    pod, service, routing = yaml.safe_load_all(WORLD)
    routing["spec"]["http"][0]["timeout"] = "2s"
    return [pod, service, routing]


def _placed(documents: Sequence[Raw], one: Raw, where: str) -> list[Raw]:
    at = {"first": 0, "middle": len(documents) // 2, "last": len(documents)}[where]
    return [*documents[:at], one, *documents[at:]]


def _file(documents: Sequence[Raw]) -> Files:
    return {"all.yaml": yaml.safe_dump_all(documents)}


def _folder(documents: Sequence[Raw]) -> Files:
    return {f"{at}.yaml": yaml.safe_dump(one) for at, one in enumerate(documents)}


async def _steps(*batches: Batch) -> list[Step]:
    found: list[Step] = []

    async def feed() -> AsyncIterator[Batch]:
        for batch in batches:
            yield batch

    await Ingest(MeshSettings(), found.append, SystemClock()).run(feed())
    return found


def _batch(files: Files) -> Batch:
    return Batch(tuple(FileText(name, text) for name, text in sorted(files.items())), 1.0)


def _snapshot(mesh: Mesh) -> Snapshot:
    scope = Scoper().scope(mesh, proxy_of(mesh, "client.shop", {}))
    return {
        type_url: {name: one.version for name, one in whole.resources.items()}
        for type_url, whole in generate.snapshot(scope).sets.items()
    }


def _reference(document: Raw, kind: Kind) -> str:
    metadata: dict[str, Any] = document["metadata"]
    namespace = metadata.get("namespace", "default") if kind.namespaced else ""
    return ref(kind.name, namespace, metadata["name"])


def _said(step: Step, reference: str) -> set[tuple[str, str, str]]:
    return {(it.path, it.reason, it.text) for it in about(step.problems, reference)}


def _found(kind: Kind, fault: Fault) -> tuple[Raw, Raw]:
    found = sample(kind, fault)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("layout", "where"),
    [(_file, "first"), (_file, "middle"), (_file, "last"), (_folder, "middle")],
)
@pytest.mark.parametrize(("kind", "fault"), CASES, ids=_IDS)
async def test_what_breaks_later_keeps_its_last_good_state_and_the_rest_moves_on(
    kind: Kind,
    fault: Fault,
    layout: Any,  # noqa: ANN401
    where: str,
) -> None:
    good, bad = _found(kind, fault)
    before = _batch(layout(_placed(_world(), good, where)))
    broken = _batch(layout(_placed(_moved(), bad, where)))
    healthy = _batch(layout(_placed(_moved(), good, where)))
    first, then = await _steps(before, broken)
    (wanted,) = await _steps(healthy)
    reference = _reference(good, kind)
    assert _said(then, reference) - _said(first, reference)
    assert then.state.resources.keys() == wanted.state.resources.keys()
    assert _snapshot(then.state.mesh) == _snapshot(wanted.state.mesh)
    assert _snapshot(then.state.mesh) != _snapshot(first.state.mesh)


@pytest.mark.parametrize("where", ["first", "last"])
@pytest.mark.parametrize(("kind", "fault"), CASES, ids=_IDS)
async def test_what_was_never_good_is_as_if_it_were_not_there(
    kind: Kind, fault: Fault, where: str
) -> None:
    _, bad = _found(kind, fault)
    (broken,) = await _steps(_batch(_file(_placed(_world(), bad, where))))
    (without,) = await _steps(_batch(_file(_world())))
    assert about(broken.problems, _reference(bad, kind))
    assert _snapshot(broken.state.mesh) == _snapshot(without.state.mesh)


@pytest.mark.parametrize(("kind", "fault"), CASES, ids=_IDS)
async def test_an_object_that_breaks_in_the_cluster_keeps_its_last_good_state(
    kind: Kind, fault: Fault
) -> None:
    good, bad = _found(kind, fault)
    before = _objects([*_world(), good])
    broken = _objects([bad, *_moved()])
    first, then = await _steps(before, broken)
    (wanted,) = await _steps(_objects([*_moved(), good]))
    reference = _reference(good, kind)
    assert _said(then, reference) - _said(first, reference)
    assert _snapshot(then.state.mesh) == _snapshot(wanted.state.mesh)


def _objects(documents: Sequence[Raw]) -> Batch:
    """A batch as the API server's events make it."""
    objects, events, problems = Objects(), [], {}
    for document in documents:
        kind = find(document["apiVersion"], document["kind"])
        assert isinstance(kind, Kind)
        metadata = document["metadata"]
        name = Name(metadata.get("namespace", "") if kind.namespaced else "", metadata["name"])
        change = Change(name, Bytes(json.dumps(document).encode()))
        (found,) = objects.read(kind, [change], 1.0)
        problems[found.ref] = found.problems
        if found.event is not None:
            events.append(found.event)
    return Batch((), 1.0, tuple(events), problems)


def test_every_kind_is_broken_in_some_way() -> None:
    assert {kind.name for kind, _ in CASES} == {kind.name for kind in read_kinds()}
    judged = {kind.name for kind, fault in CASES if fault is Fault.VALIDATE}
    free = {"Namespace", "Node", "ServiceAccount", "Secret", "IngressClass"}
    assert {kind.name for kind in read_kinds()} - judged == free
